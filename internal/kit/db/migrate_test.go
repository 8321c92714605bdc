package db_test

import (
	"context"
	"io/fs"
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
	out := fstest.MapFS{"postgres/99999_step.sql": {Data: []byte("-- +goose Up\n" + sql)}}
	entries, err := fs.ReadDir(migrations.Postgres, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := "postgres/" + e.Name()
		b, err := fs.ReadFile(migrations.Postgres, name)
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
