package db_test

import (
	"context"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// login creates a login role and returns dsn for it. attributes follow CREATE ROLE … LOGIN.
func login(t *testing.T, dsn, attributes string) string {
	t.Helper()
	name := "gh_login_" + strings.ReplaceAll(id.New().String(), "-", "")
	testkit.Execute(t, dsn, "CREATE ROLE "+name+" LOGIN PASSWORD 'gatehouse' "+attributes)
	t.Cleanup(func() { testkit.Execute(t, dsn, "DROP OWNED BY "+name, "DROP ROLE "+name) })
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "gatehouse")
	return u.String()
}

// separate migrates the database with one role and opens it with another, as production does.
func separate(t *testing.T) (*db.DB, db.Config) {
	t.Helper()
	cfg := db.Config{OwnerDSN: testkit.EmptyPostgres(t), SystemTables: migrations.SystemTables,
		Postgres: migrations.Postgres, SQLite: migrations.SQLite}
	cfg.DSN = login(t, cfg.OwnerDSN, "")
	if _, err := db.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	for _, a := range d.Advice() {
		if !a.Superuser {
			t.Errorf("left open: %s", a.What)
		}
	}
	return d, cfg
}

// tryAll runs the statements in one session, one after the other, and returns the first error.
func tryAll(t *testing.T, dsn string, statements ...string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, q := range statements {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			return err
		}
	}
	return nil
}

// What a stranger can do with the serving role's password, against what this program refuses.
func TestServingRoleCannotBecomeOwnerNorEraseTheLog(t *testing.T) {
	d, cfg := separate(t)
	acme := (&testkit.Database{DB: d}).Tenant(t, "acme")
	if err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
		audit.Write(tx, audit.Event{Action: "tenant.create"})
		_, err := tx.Exec(t.Context(), `INSERT INTO owner_locks (tenant_id, taken_at) VALUES ($1, 1)`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	tenant, unknown := acme.Tenant.String(), id.New().String()
	bind := `SELECT set_config('app.tenant_id', '` + tenant + `', false)`
	mark := `UPDATE tenants SET status = 'deleting' WHERE slug = 'acme'`
	erase := `SELECT gatehouse_erase('` + tenant + `', 'audit_events', 100)`
	for name, statements := range map[string][]string{
		"a function of its own": {
			`CREATE FUNCTION gatehouse_make_partitions() RETURNS int LANGUAGE sql AS 'SELECT 1'`},
		"a temporary table":             {`CREATE TEMP TABLE audit_events (at bigint)`},
		"a temporary function":          {`CREATE FUNCTION pg_temp.x() RETURNS int LANGUAGE sql AS 'SELECT 1'`},
		"a schema":                      {`CREATE SCHEMA x`},
		"the policy lifted":             {`ALTER TABLE users NO FORCE ROW LEVEL SECURITY`},
		"the policy off":                {`SET row_security = off`, bind, `SELECT count(*) FROM users`},
		"the owner's function":          {`SELECT gatehouse_protect('tenants')`},
		"a role":                        {`CREATE ROLE x`},
		"more rights":                   {`ALTER ROLE CURRENT_USER BYPASSRLS`},
		"the log deleted":               {bind, `DELETE FROM audit_events`},
		"the log changed":               {bind, `UPDATE audit_events SET action = 'x'`},
		"the log emptied":               {`TRUNCATE audit_events`},
		"a partition of it":             {`DELETE FROM audit_events_default`},
		"its trigger off":               {`ALTER TABLE tenants DISABLE TRIGGER ALL`},
		"triggers skipped":              {`SET session_replication_role = replica`},
		"the log of a living tenant":    {bind, erase},
		"the log of a tenant with rows": {bind, `BEGIN`, mark, erase},
		"another tenant's log":          {`SELECT set_config('app.tenant_id', '` + unknown + `', false)`, erase},
		"another table": {bind, `BEGIN`, mark, `DELETE FROM owner_locks`,
			`SELECT gatehouse_erase('` + tenant + `', 'tenants', 100)`},
		"a tenant back from deletion": {`BEGIN`, mark, `UPDATE tenants SET status = 'active' WHERE slug = 'acme'`},
		"its id moved":                {`BEGIN`, mark, `UPDATE tenants SET id = '` + unknown + `' WHERE slug = 'acme'`},
		"a retired name freed":        {`DELETE FROM retired_names`},
		"a retired name changed":      {`UPDATE retired_names SET name = 'x'`},
		"its row deleted":             {`BEGIN`, mark, `DELETE FROM tenants WHERE slug = 'acme'`},
	} {
		if err := tryAll(t, cfg.DSN, statements...); err == nil {
			t.Errorf("%s: the serving role may", name)
		}
	}
	// The one way: every other row of the tenant is gone, and it stays marked.
	if err := tryAll(t, cfg.DSN, bind, mark, `DELETE FROM owner_locks`, erase); err != nil {
		t.Errorf("the job could not erase: %v", err)
	}
}

// Neither an old nor a future month of records can be created without end, and no month goes while
// a tenant may keep its rows.
func TestPartitionsHaveFloors(t *testing.T) {
	d, cfg := separate(t)
	acme := (&testkit.Database{DB: d}).Tenant(t, "acme")
	tables := func() int {
		var n int
		if err := query(t, cfg.OwnerDSN, `SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE c.relkind = 'r'`, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	call := func(sql string) {
		if err := tryAll(t, cfg.DSN, sql); err != nil {
			t.Error(err)
		}
	}
	before := tables()
	for _, at := range []string{"0", "extract(epoch FROM timestamptz '1999-01-01')::bigint * 1000000",
		"extract(epoch FROM now() + interval '2 years')::bigint * 1000000"} {
		call(`SELECT gatehouse_make_partitions(` + at + `, 24)`)
	}
	if n := tables(); n != before {
		t.Errorf("%d partitions became %d", before, n)
	}
	if err := tryAll(t, cfg.DSN, `SELECT gatehouse_make_partitions(0, 1000)`); err == nil {
		t.Error("made partitions of a thousand months")
	}
	call(`SELECT gatehouse_make_partitions((extract(epoch FROM now() - interval '3 months') * 1000000)::bigint, 2)`)
	if n := tables(); n == before {
		t.Fatal("made no partitions of recent months")
	}
	testkit.Execute(t, cfg.OwnerDSN, `INSERT INTO access_records (tenant_id, at, id, action, actor_kind)
		VALUES ('`+acme.Tenant.String()+`', (extract(epoch FROM now() - interval '3 months') * 1000000)::bigint,
			gen_random_uuid(), 'x', 'system')`)
	call(`SELECT gatehouse_drop_partitions(9223372036854775807)`)
	var records int
	err := query(t, testkit.AdminDSN(t, cfg.OwnerDSN), `SELECT count(*) FROM access_records`, &records)
	if err != nil || records != 1 {
		t.Errorf("%d records are left: %v", records, err)
	}
	if n := tables(); n != before+3 { // two of audit events, and the month with a record
		t.Errorf("%d partitions, want %d", n, before+3)
	}
}

// A serving role of one database is nothing in another of the same server.
func TestServingRoleIsOfOneDatabase(t *testing.T) {
	_, a := separate(t)
	_, b := separate(t)
	u, _ := url.Parse(a.DSN)
	v, _ := url.Parse(b.DSN)
	u.Path = v.Path
	conn, err := pgx.Connect(t.Context(), u.String())
	if err == nil {
		_ = conn.Close(t.Context())
		t.Error("connected to another installation's database")
	}
	if err := tryAll(t, testkit.AdminDSN(t, b.DSN), `SET ROLE gatehouse_app`, `SELECT slug FROM tenants`); err == nil {
		t.Error("the role that all databases shared reads a new one")
	}
}

// A replica that knows only the serving role serves a current schema, and does not migrate.
func TestServingRoleServesAlone(t *testing.T) {
	_, cfg := separate(t)
	owner := cfg.OwnerDSN
	cfg.OwnerDSN = ""
	if n, err := db.Migrate(t.Context(), cfg); n != 0 || err != nil {
		t.Fatalf("%d steps: %v", n, err)
	}
	d, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	cfg.Postgres = withStep(t, `CREATE TABLE more (id int);`)
	if _, err := db.Migrate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--migrate-database") {
		t.Errorf("err = %v", err)
	}
	if err := tryAll(t, owner, `SELECT * FROM more`); err == nil {
		t.Error("the serving role migrated")
	}
}

// A database of the version before, in use: its tenants stay, the login of its replicas may serve
// at once, and replicas that still run find their tables.
func TestRolesOfAnExistingDatabase(t *testing.T) {
	cfg := db.Config{OwnerDSN: testkit.EmptyPostgres(t), SystemTables: migrations.SystemTables,
		Postgres: stepsBefore(t, "00011"), SQLite: migrations.SQLite}
	cfg.DSN = cfg.OwnerDSN
	if _, err := db.Migrate(t.Context(), cfg); err == nil {
		t.Fatal("step 11 was not left out")
	}
	cfg.DSN = login(t, cfg.OwnerDSN, "IN ROLE gatehouse_app")
	tenant := id.New()
	testkit.Execute(t, cfg.OwnerDSN, `INSERT INTO tenants (id, slug, name, status, created_at, updated_at)
		VALUES ('`+tenant.String()+`', 'acme', 'Acme', 'active', 1, 1)`)
	old, err := pgx.Connect(t.Context(), cfg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close(context.Background()) }()
	cfg.Postgres = migrations.Postgres
	if _, err := db.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec(t.Context(), `UPDATE tenants SET name = 'Acme again'`); err != nil {
		t.Errorf("a replica of the version before: %v", err)
	}
	d, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if counts, err := d.CountRows(t.Context(), caller.Caller{Tenant: tenant}); err != nil || len(counts) < 20 {
		t.Errorf("%d tables: %v", len(counts), err)
	}
}

// stepsBefore returns the Postgres migrations before one.
func stepsBefore(t *testing.T, number string) fs.FS {
	t.Helper()
	all := withStep(t, "").(fstest.MapFS)
	for name := range all {
		if strings.TrimPrefix(name, "postgres/") >= number {
			delete(all, name)
		}
	}
	return all
}

// Beside the tables a role can keep data in large objects, hold locks and flood listeners. A
// superuser takes that from it, and a superuser that migrates does so by itself.
func TestNothingIsLeftBesideTheTables(t *testing.T) {
	tries := map[string]string{
		"a large object":           `SELECT lo_create(0)`,
		"one with content":         `SELECT lo_from_bytea(0, 'x')`,
		"an imported one":          `SELECT lo_import('/etc/passwd')`,
		"an advisory lock":         `SELECT pg_advisory_lock(1)`,
		"one of a transaction":     `SELECT pg_try_advisory_xact_lock_shared(1, 2)`,
		"a notification":           `SELECT pg_notify('x', 'y')`,
		"a message to replication": `SELECT pg_logical_emit_message(false, 'x', 'y')`,
		"a program":                `COPY (SELECT 1) TO PROGRAM 'cat'`,
		"a file":                   `COPY (SELECT 1) TO '/tmp/x'`,
		"a file of the server":     `SELECT pg_read_file('/etc/passwd')`,
		"a temporary table":        `CREATE TEMP TABLE x (y int)`,
		"a temporary view":         `CREATE TEMP VIEW x AS SELECT 1`,
		"a table":                  `CREATE TABLE x AS SELECT 1`,
		"a sequence":               `CREATE SEQUENCE x`,
		"a type":                   `CREATE TYPE x AS (y int)`,
		"an extension":             `CREATE EXTENSION dblink`,
		"a publication":            `CREATE PUBLICATION x`,
		"a slot":                   `SELECT pg_create_physical_replication_slot('x')`,
		"a comment":                `COMMENT ON TABLE users IS 'x'`,
		"a setting of the database": `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 1024',
			current_database()); END $$`,
	}
	check := func(dsn string) {
		t.Helper()
		for name, statement := range tries {
			if err := tryAll(t, dsn, statement); err == nil {
				t.Errorf("%s: the serving role may", name)
			}
		}
	}
	open := func(cfg db.Config) *db.DB {
		t.Helper()
		d, err := db.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	}
	// A plain owner cannot, and says so.
	d, plain := separate(t)
	if a := d.Advice(); len(a) != 1 || !a[0].Superuser {
		t.Errorf("advice: %+v", a)
	}
	testkit.Execute(t, testkit.AdminDSN(t, plain.OwnerDSN), db.CloseBeside)
	if a := open(plain).Advice(); len(a) != 0 {
		t.Errorf("after the statement: %+v", a)
	}
	check(plain.DSN)
	// A superuser that migrates does.
	_, super := separate(t)
	super.OwnerDSN = testkit.AdminDSN(t, super.OwnerDSN)
	if _, err := db.Migrate(t.Context(), super); err != nil {
		t.Fatal(err)
	}
	if a := open(super).Advice(); len(a) != 0 {
		t.Errorf("migrated by a superuser: %+v", a)
	}
	check(super.DSN)
	// A role that reaches files does not serve.
	u, _ := url.Parse(super.DSN)
	testkit.Execute(t, super.OwnerDSN, `GRANT pg_read_server_files TO `+u.User.Username())
	if _, err := db.Open(t.Context(), super); err == nil || !strings.Contains(err.Error(), "pg_read_server_files") {
		t.Errorf("a role that reads the server's files serves: %v", err)
	}
}

// The guide has the statement that the doctor refers to.
func TestTheGuideHasTheStatement(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/guides/postgres.md")
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if err != nil || !strings.Contains(words(string(guide)), words(db.CloseBeside)) {
		t.Errorf("docs/guides/postgres.md lacks the statement (%v):\n%s", err, db.CloseBeside)
	}
}
