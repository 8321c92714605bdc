package testkit

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/migrations"
)

// Database is a migrated, empty database of one test.
type Database struct {
	*db.DB
	Config db.Config   // of testkit.Open; zero in a World
	Clock  *clock.Fake // starts at 2026-01-01 and moves only when told
}

// Both runs fn once on SQLite and once on Postgres, each with a database of its own and in
// parallel.
//
// A fast run skips Postgres: see SkipFast.
func Both(t *testing.T, fn func(t *testing.T, d *Database)) {
	t.Helper()
	BothDSN(t, func(t *testing.T, dsn string) { fn(t, Open(t, dsn)) })
}

// BothDSN is Both for tests that open the database themselves: fn gets the DSN of a migrated one.
func BothDSN(t *testing.T, fn func(t *testing.T, dsn string)) {
	t.Helper()
	// Each run owns its database, so that the two share nothing.
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); fn(t, Postgres(t)) })
}

// SQLite returns the path of a new, migrated SQLite file.
func SQLite(t testing.TB) string {
	t.Helper()
	file, err := migratedSQLite()
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	if err == nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// migratedSQLite returns a migrated SQLite file. A test process migrates once, and each test copies
// the file.
var migratedSQLite = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "gatehouse-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "gatehouse.db")
	if _, err := db.Migrate(context.Background(), config(path)); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// Open opens a migrated database by its DSN and closes it with the test.
func Open(t testing.TB, dsn string) *Database {
	t.Helper()
	cfg := config(dsn)
	clk := &clock.Fake{}
	cfg.Clock = clk
	d, err := db.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &Database{DB: d, Config: cfg, Clock: clk}
}

func config(dsn string) db.Config {
	return db.Config{DSN: dsn, SystemTables: migrations.SystemTables, Postgres: migrations.Postgres,
		SQLite: migrations.SQLite}
}

// Tenant inserts an active tenant with the given slug and returns a system caller for it.
func (d *Database) Tenant(t testing.TB, slug string) caller.Caller {
	t.Helper()
	c := caller.Caller{Tenant: id.New(), Actor: caller.Actor{Kind: caller.System, Name: "test"}}
	err := d.System(context.Background(), c, "test fixture", func(st *db.SystemTx) error {
		_, err := st.Exec(context.Background(),
			`INSERT INTO tenants (id, slug, name, status, created_at, updated_at)
			VALUES ($1, $2, $2, 'active', $3, $3)`,
			c.Tenant, slug, st.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Race runs fn(0) … fn(n-1) at once. Every connection that they need is open before the first
// begins: opening connections would make them take turns.
func (d *Database) Race(t testing.TB, n int, fn func(i int)) {
	t.Helper()
	c := d.Tenant(t, "race-"+id.New().String())
	var open, run sync.WaitGroup
	open.Add(n)
	for range n {
		go func() {
			once := sync.OnceFunc(open.Done)
			defer once()
			_ = d.View(context.Background(), c, func(tx *db.Tx) error {
				_, err := db.List(context.Background(), tx, func(r db.Row) (string, error) {
					var s string
					return s, r.Scan(&s)
				}, `SELECT slug FROM tenants WHERE id = $1`)
				if err != nil {
					t.Error(err)
				}
				once()
				open.Wait() // hold the connection until all are open
				return nil
			})
		}()
	}
	open.Wait()
	start := make(chan struct{})
	for i := range n {
		run.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	run.Wait()
}
