package db_test

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A replica sweeps the rows of a tenant once a second, however many requests ask for it.
func TestASweepRunsOnceASecondForEachTenant(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		sweep := func(c caller.Caller, sql string) int64 {
			t.Helper()
			var left int64
			if err := d.Update(t.Context(), c, func(tx *db.Tx) error {
				tx.Later(insertJob, id.New(), "k", nil, []byte{}, tx.Now())
				tx.Sweep(sql)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			err := d.View(t.Context(), c, func(tx *db.Tx) error {
				var err error
				left, err = db.One(t.Context(), tx, db.Column[int64], `SELECT count(*) FROM jobs WHERE tenant_id = $1`)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return left
		}
		const all = `DELETE FROM jobs WHERE tenant_id = $1`
		const other = all + ` AND kind = 'k'`
		for i, step := range []struct {
			by   caller.Caller
			sql  string
			wait time.Duration
			left int64
		}{
			{by: acme, sql: all, left: 0},
			{by: acme, sql: all, left: 1},
			{by: globex, sql: all, left: 0},
			{by: acme, sql: all, wait: 999 * time.Millisecond, left: 2},
			{by: acme, sql: other, left: 0},
			{by: acme, sql: all, wait: time.Millisecond, left: 0},
			{by: globex, sql: all, left: 0},
		} {
			d.Clock.Advance(step.wait)
			if left := sweep(step.by, step.sql); left != step.left {
				t.Errorf("step %d: %d rows are left, want %d", i, left, step.left)
			}
		}
	})
}
