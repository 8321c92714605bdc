package db_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func TestWatchHearsOfCommitsOnly(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		var heard []id.ID
		d.Watch(func(tenant id.ID) { heard = append(heard, tenant) })
		for _, fails := range []bool{true, false} {
			_ = d.Update(ctx, acme, func(tx *db.Tx) error {
				tx.Changed()
				if fails {
					return errors.New("boom")
				}
				return nil
			})
		}
		if err := d.System(ctx, acme, "test",
			func(st *db.SystemTx) error { st.For(globex.Tenant).Changed(); return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]id.ID{acme.Tenant, globex.Tenant}, heard); diff != "" {
			t.Error(diff)
		}
	})
}
