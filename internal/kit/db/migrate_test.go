package db_test

import (
	"context"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// withStep returns the Postgres migrations and one more.
func withStep(t *testing.T, sql string) fs.FS {
	t.Helper()
	return withStepIn(t, migrations.Postgres, "postgres", sql)
}

// withStepIn returns the migrations of a directory and one more.
func withStepIn(t *testing.T, files fs.FS, dir, sql string) fs.FS {
	t.Helper()
	out := fstest.MapFS{dir + "/99999_step.sql": {Data: []byte("-- +goose Up\n" + sql)}}
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := dir + "/" + e.Name()
		b, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: b}
	}
	return out
}

// A back-fill runs as an owner that row-level security binds. It changes the rows of every tenant,
// or fails: it never changes none in silence.
func TestBackfillChangesAllRowsOrFails(t *testing.T) {
	ctx := context.Background()
	d := testkit.Open(t, testkit.Postgres(t))
	for _, slug := range []string{"acme", "globex"} {
		c := d.Tenant(t, slug)
		if err := d.Update(ctx, c, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO owner_locks (tenant_id, taken_at) VALUES ($1, 1)`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	migrate := func(sql string) error {
		cfg := d.Config
		cfg.Postgres = withStep(t, sql)
		_, err := db.Migrate(ctx, cfg)
		return err
	}
	const fill = `UPDATE owner_locks SET taken_at = 2;`
	for name, sql := range map[string]string{
		"a plain back-fill": fill,
		"with a tenant bound": `SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);` +
			fill,
		"of what another read": `CREATE TABLE copied AS SELECT * FROM owner_locks;`,
	} {
		if err := migrate(sql); err == nil || !strings.Contains(err.Error(), "row-level security") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if err := migrate(`ALTER TABLE owner_locks NO FORCE ROW LEVEL SECURITY;` + fill +
		`ALTER TABLE owner_locks FORCE ROW LEVEL SECURITY;`); err != nil {
		t.Fatal(err)
	}
	var filled int
	if err := query(t, testkit.AdminDSN(t, d.Config.DSN), `SELECT count(*) FROM owner_locks WHERE taken_at = 2`,
		&filled); err != nil || filled != 2 {
		t.Errorf("%d rows were filled, want 2: %v", filled, err)
	}
}

// query reads one row past every lock.
func query(t *testing.T, dsn, sql string, dest ...any) error {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	return conn.QueryRow(context.Background(), sql).Scan(dest...)
}

// A replica of this release runs on while the next one migrates, and starts on its schema, unless
// that took away what this release uses.
func TestTheNextReleaseMigrates(t *testing.T) {
	ctx := context.Background()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		next := func(sql string) {
			t.Helper()
			cfg := d.Config
			cfg.Postgres = withStepIn(t, migrations.Postgres, "postgres", sql)
			cfg.SQLite = withStepIn(t, migrations.SQLite, "sqlite", sql)
			if n, err := db.Migrate(ctx, cfg); err != nil || n != 1 {
				t.Fatalf("%d steps: %v", n, err)
			}
		}
		d.Tenant(t, "before")
		next(`CREATE TABLE later (id integer PRIMARY KEY); ALTER TABLE tenants ADD COLUMN later integer;`)
		d.Tenant(t, "running")
		state, err := db.Inspect(ctx, d.Config)
		if err != nil || !state.Newer() || state.Err() != nil {
			t.Fatalf("%+v %v, %v", state, err, state.Err())
		}
		if n, err := db.Migrate(ctx, d.Config); err != nil || n != 0 {
			t.Errorf("%d steps: %v", n, err)
		}
		started, err := db.Open(ctx, d.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer started.Close()
		(&testkit.Database{DB: started, Clock: d.Clock}).Tenant(t, "started")
	})
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		cfg := d.Config
		const contract = `UPDATE schema_support SET oldest = 99999; ALTER TABLE tenants DROP COLUMN name;`
		cfg.Postgres = withStepIn(t, migrations.Postgres, "postgres", contract)
		cfg.SQLite = withStepIn(t, migrations.SQLite, "sqlite", contract)
		if _, err := db.Migrate(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		state, err := db.Inspect(ctx, d.Config)
		if err != nil || state.Err() == nil || !strings.Contains(state.Err().Error(), "newer than this binary") {
			t.Errorf("%+v %v, %v", state, err, state.Err())
		}
	})
}

// An index on a partitioned table is built on each partition first, while writes go on. One that a
// crash left half built is built again.
func TestPartitionsAreIndexedBeforeTheStep(t *testing.T) {
	ctx := context.Background()
	d := testkit.Open(t, testkit.Postgres(t))
	admin, err := pgx.Connect(ctx, testkit.AdminDSN(t, d.Config.DSN))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(ctx) }()
	if _, err := admin.Exec(ctx, `CREATE INDEX audit_events_default__later ON audit_events_default (tenant_id, agent);
		UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit_events_default__later'::regclass`); err != nil {
		t.Fatal(err)
	}
	cfg := d.Config
	cfg.Postgres = withStep(t, "-- Partitions first.\nCREATE INDEX later ON audit_events (tenant_id, agent);")
	if n, err := db.Migrate(ctx, cfg); err != nil || n != 1 {
		t.Fatalf("%d steps: %v", n, err)
	}
	var partitions, ahead int
	var valid bool
	if err := admin.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass),
		count(*) FILTER (WHERE c.relname LIKE 'audit_events%\_\_later'), bool_and(x.indisvalid)
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_index x ON x.indexrelid = c.oid
		WHERE i.inhparent = 'later'::regclass`).Scan(&partitions, &ahead, &valid); err != nil {
		t.Fatal(err)
	}
	if partitions < 2 || ahead != partitions || !valid {
		t.Errorf("%d of %d partitions were indexed ahead of the step, valid %v", ahead, partitions, valid)
	}
}

var (
	madeRE        = regexp.MustCompile(`(?m)^CREATE TABLE (\w+) `)
	partitionedRE = regexp.MustCompile(`(?ms)^CREATE TABLE (\w+) \([^;]*PARTITION BY`)
	indexedRE     = regexp.MustCompile(`(?m)^CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(\w+) ON (\w+) `)
)

// No step after the 23rd holds up writes to a table of an earlier step by building an index.
func TestStepsBuildIndexesWhileWritesGoOn(t *testing.T) {
	names, err := fs.Glob(migrations.Postgres, "postgres/*.sql")
	if err != nil || len(names) < 30 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	partitioned := map[string]bool{}
	for _, name := range names {
		b, err := fs.ReadFile(migrations.Postgres, name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, m := range partitionedRE.FindAllStringSubmatch(text, -1) {
			partitioned[m[1]] = true
		}
		made := map[string]bool{}
		for _, m := range madeRE.FindAllStringSubmatch(text, -1) {
			made[m[1]] = true
		}
		for _, m := range indexedRE.FindAllStringSubmatch(text, -1) {
			concurrently, index, table := m[1] != "", m[2], m[3]
			if made[table] || path.Base(name) < "00024" ||
				partitioned[table] && strings.Contains(text, "-- Partitions first.\n") {
				continue
			}
			again := strings.Contains(text, "DROP INDEX CONCURRENTLY IF EXISTS "+index+";")
			if !concurrently || !again || !strings.HasPrefix(text, "-- +goose NO TRANSACTION") {
				t.Errorf("%s: the index %s on %s holds up writes, or cannot be built again: see migrations.go",
					name, index, table)
			}
		}
	}
	if !partitioned["audit_events"] {
		t.Error("audit_events is not seen to be partitioned")
	}
}

// takesAway finds what a binary of the release before may use.
var takesAway = regexp.MustCompile(
	`(?i)\b(DROP (TABLE|COLUMN|FUNCTION|VIEW)|RENAME|SET NOT NULL|ADD CONSTRAINT|REVOKE|` +
		`ALTER COLUMN \w+ (SET DATA )?TYPE)\b`)

// Every step after the first that says so tells older binaries when it takes away what they use.
func TestStepsThatTakeAwaySaySo(t *testing.T) {
	for dir, files := range map[string]fs.FS{"postgres": migrations.Postgres, "sqlite": migrations.SQLite} {
		names, err := fs.Glob(files, dir+"/*.sql")
		if err != nil || len(names) < 18 {
			t.Fatalf("%d files: %v", len(names), err)
		}
		for _, name := range names {
			b, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Contains(string(b), "UPDATE schema_support SET oldest")
			if taken := takesAway.FindString(string(b)); taken != "" && !said && path.Base(name) > "00018" {
				t.Errorf("%s: %s without UPDATE schema_support SET oldest: see migrations.go", name, taken)
			}
		}
	}
}
