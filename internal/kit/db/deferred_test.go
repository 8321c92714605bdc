package db_test

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// Writes that were all deferred are one transaction of the tenants that they name. The counts and
// rows that they ask for are there once it has ended.
func TestWritesThatWereAllDeferred(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		job := id.New()
		if err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
			tx.Later(insertJob, job, "k", nil, []byte{}, tx.Now())
			tx.Later(insertJob, job, "k", nil, []byte{}, tx.Now())
			return nil
		}); err == nil {
			t.Error("the second of two equal rows was stored")
		}
		var updated int64
		var kinds []string
		if err := d.System(t.Context(), acme, "test", func(st *db.SystemTx) error {
			st.For(acme.Tenant).Later(insertJob, job, "acme", nil, []byte{}, st.Now())
			st.For(globex.Tenant).Later(insertJob, job, "globex", nil, []byte{}, st.Now())
			db.LaterList(st.For(acme.Tenant), db.Column[string], &kinds, `SELECT kind FROM jobs WHERE tenant_id = $1`)
			st.For(globex.Tenant).LaterCount(&updated, `UPDATE jobs SET attempts = 1 WHERE tenant_id = $1`)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if updated != 1 || len(kinds) != 1 || kinds[0] != "acme" {
			t.Errorf("%d rows were updated and %v read", updated, kinds)
		}
	})
}
