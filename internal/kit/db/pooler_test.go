package db_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// PgBouncer in transaction mode gives each transaction any of its connections. More clients than
// connections read and write through it, and none meets a statement that another one prepared.
func TestPgBouncerInTransactionMode(t *testing.T) {
	_, cfg := separate(t)
	cfg.DSN, cfg.MaxConns = testkit.PgBouncer(t, cfg.DSN, 3), 12
	opened, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	d := &testkit.Database{DB: opened}
	acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			c := acme
			if i%2 == 1 {
				c = globex
			}
			for range 20 {
				if err := d.Update(t.Context(), c, func(tx *db.Tx) error {
					tx.Later(`INSERT INTO owner_locks (tenant_id, taken_at) VALUES ($1, $2)
						ON CONFLICT (tenant_id) DO UPDATE SET taken_at = excluded.taken_at`, tx.Now())
					return nil
				}); err != nil {
					t.Error(err)
				}
				n, err := db.Read(t.Context(), opened, c, func(tx *db.Tx) (int64, error) {
					return db.One(t.Context(), tx, db.Column[int64],
						`SELECT count(*) FROM owner_locks WHERE tenant_id = $1 AND taken_at > $2`, 0)
				})
				if err != nil || n != 1 {
					t.Errorf("%d rows: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}

// What cannot work through a pooler is refused at the start, with the setting to change.
func TestPoolerRefusals(t *testing.T) {
	owner := testkit.Postgres(t)
	cfg := testkit.Open(t, owner).Config
	cfg.DSN = testkit.PgBouncer(t, owner, 3)
	if d, err := db.Open(t.Context(), cfg); err == nil {
		d.Close()
		t.Error("served as the owner through a pooler")
	} else if !strings.Contains(err.Error(), "--migrate-database") {
		t.Error(err)
	}
	if _, err := db.Migrate(t.Context(), cfg); err != nil { // nothing to do
		t.Error(err)
	}
	cfg.Postgres = withStep(t, `CREATE TABLE more (id int);`)
	if _, err := db.Migrate(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--migrate-database") {
		t.Errorf("migrated through a pooler: %v", err)
	}
}
