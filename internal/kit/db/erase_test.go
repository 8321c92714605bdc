package db_test

import (
	"context"
	"slices"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func TestTablesStandChildrenFirst(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		tables, err := d.Tables(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		place := func(name string) int {
			return slices.IndexFunc(tables, func(t db.Table) bool { return t.Name == name })
		}
		counts, err := d.CountRows(context.Background(), d.Tenant(t, "acme"))
		if err != nil || len(tables) != len(counts) {
			t.Errorf("%d of %d tables (%v)", len(tables), len(counts), err)
		}
		if place("role_grants") > place("users") || place("passwords") > place("users") ||
			place("role_grants") > place("applications") {
			t.Errorf("order: %v", tables)
		}
		if k := tables[place("users")].Key; !slices.Equal(k, []string{"id"}) {
			t.Errorf("key of users: %v", k)
		}
		if k := tables[place("audit_events")].Key; !slices.Equal(k, []string{"at", "id"}) {
			t.Errorf("key of audit_events: %v", k)
		}
	})
}

func TestEraseSomeIsBoundedAndOfOneTenant(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		for _, c := range []caller.Caller{acme, globex} {
			if err := d.Update(ctx, c, func(tx *db.Tx) error {
				for range 5 {
					tx.Later(insertJob, id.New(), "k", nil, []byte("p"), tx.Now())
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		tables, err := d.Tables(ctx)
		if err != nil {
			t.Fatal(err)
		}
		jobs := tables[slices.IndexFunc(tables, func(t db.Table) bool { return t.Name == "jobs" })]
		for _, want := range []int64{3, 2, 0} {
			var n int64
			if err := d.Update(ctx, acme, func(tx *db.Tx) error {
				var err error
				n, err = db.EraseSome(ctx, tx, jobs, 3)
				return err
			}); err != nil || n != want {
				t.Errorf("erased %d, want %d: %v", n, want, err)
			}
		}
		if c, err := d.CountRows(ctx, globex); err != nil || c["jobs"] != 5 {
			t.Errorf("the neighbour has %d: %v", c["jobs"], err)
		}
		// Every table can be erased from.
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE tenants SET status = 'deleting' WHERE id = $1`); err != nil {
				return err
			}
			for _, table := range tables {
				if _, err := db.EraseSome(ctx, tx, table, 3); err != nil {
					t.Errorf("%s: %v", table.Name, err)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestSystemViewCannotWrite(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		_ = d.SystemView(ctx, acme, "test", func(st *db.SystemTx) error {
			if _, err := st.Exec(ctx, `UPDATE tenants SET name = 'x'`); err == nil {
				t.Error("a SystemView wrote")
			}
			if _, err := st.For(acme.Tenant).Exec(ctx, `DELETE FROM jobs WHERE tenant_id = $1`); err == nil {
				t.Error("a SystemView wrote through For")
			}
			n, err := db.SystemOne(ctx, st, db.Column[int64], `SELECT count(*) FROM tenants WHERE name = $1`, "acme")
			if err != nil || n != 1 {
				t.Errorf("%d %v", n, err)
			}
			return nil
		})
	})
}
