package app_test

import (
	"context"
	"slices"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/app"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// Housekeeping deletes records older than each tenant's retention, and no younger ones.
func TestHousekeepingKeepsEachTenantsRetention(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		ctx := context.Background()
		operator := w.Operator()
		tokens := map[string]string{}
		for slug, days := range map[string]int{"acme": 7, "globex": 90} {
			w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": slug, "name": slug})
			client, secret := w.Machine(slug, role.Owner, "jwt")
			tokens[slug] = w.Token(slug, client, secret)
			w.Must(tokens[slug], "PUT", slug, "/decision-settings",
				map[string]any{"retention_days": days, "redaction": []any{}})
			by := w.By(slug)
			for _, age := range []int{1, 6, 8, 60, 100} {
				at := w.Clock.Now().Add(-time.Duration(age) * 24 * time.Hour)
				w.App.Decisions.Record(by, decision.Decision{ID: id.At(at), Kind: decision.Check,
					Inputs: []*enginev1.CheckInput{{Principal: &enginev1.Principal{Id: "ada"},
						Resource: &enginev1.Resource{Kind: "document", Id: "d1"}, Actions: []string{"read"}}}})
				if err := w.Update(ctx, by, func(tx *db.Tx) error {
					tx.Later(`INSERT INTO access_records (tenant_id, at, id, action, actor_kind)
						VALUES ($1, $2, $3, 'token.issue', 'system')`, at, id.At(at))
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		// The management calls of this test leave records of their own.
		checks := func(slug string) int {
			t.Helper()
			return len(itemsOf(t, w.Must(tokens[slug], "GET", slug, "/decisions?kind=check&limit=200", nil), "id"))
		}
		testkit.Eventually(t, "the records are written", func() bool {
			return checks("acme") == 5 && checks("globex") == 5
		})
		rests := 0 // one after each tenant, so that a round over thousands leaves the processors to requests
		err := w.App.Housekeep(ctx, func(_ context.Context, d time.Duration) error {
			rests++
			if d <= 0 || d > time.Second {
				t.Errorf("housekeeping rests for %s", d)
			}
			return nil
		})
		if err == nil || err.Error() != job.Again(app.HousekeepingEvery).Error() {
			t.Fatalf("a round ended with %v", err)
		}
		if rests != 3 {
			t.Errorf("housekeeping rested %d times at the platform and two tenants, want 3", rests)
		}
		for slug, want := range map[string]int64{"acme": 2, "globex": 4} {
			if got := checks(slug); int64(got) != want {
				t.Errorf("%s has %d decision records, want %d", slug, got, want)
			}
			if got := rows(w, slug)["access_records"]; got < want || got > want+1 { // the token of above is one more
				t.Errorf("%s has %d access records, want %d and that of the token", slug, got, want)
			}
		}
	})
}

// A run that has no time left stops between two batches, whatever they delete. The next one goes on
// at the same tenant.
func TestHousekeepingStopsWithinATenant(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		ctx, acme := context.Background(), w.Tenant("acme", nil)
		w.Do(acme, func(tx *db.Tx) error {
			for range 1100 {
				tx.Later(`INSERT INTO used_jtis (tenant_id, issuer, jti, expires_at) VALUES ($1, 'issuer', $2, $3)`,
					id.New().String(), tx.Now().Add(-time.Hour))
			}
			return nil
		})
		run := w.App.Housekeeper(-time.Second, func(context.Context, time.Duration) error { return nil })
		var left []int64
		for {
			err := run(ctx)
			if err == nil || len(left) > 10 {
				t.Fatalf("the runs %v ended with %v", left, err)
			}
			left = append(left, rowsOf(w, acme)["used_jtis"])
			if err.Error() == job.Again(app.HousekeepingEvery).Error() {
				break
			}
			if err.Error() != job.Again(0).Error() {
				t.Fatal(err)
			}
		}
		if want := []int64{1100, 600, 100, 0}; !slices.Equal(slices.Compact(left), want) {
			t.Errorf("after each run %v rows are left, want %v", left, want)
		}
	})
}

// Months of records are dropped even though one tenant's retention cannot be read: none keeps
// records for longer than the longest retention.
func TestAFailedTenantKeepsNoPartition(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		if w.Name() != "postgres" {
			return // SQLite has no partitions
		}
		ctx, acme := context.Background(), w.Tenant("acme", nil)
		long := w.Clock.Now().Add(-decision.MaxRetention - 90*24*time.Hour)
		old := func() int64 {
			t.Helper()
			n, err := db.SystemRead(ctx, w.DB, acme, "partitions", func(st *db.SystemTx) (int64, error) {
				return db.SystemOne(ctx, st, db.Column[int64], `SELECT count(*) FROM pg_inherits i
					JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relname = $1`,
					"decisions_"+long.UTC().Format("2006_01"))
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if err := w.DB.System(ctx, acme, "partitions", func(st *db.SystemTx) error {
			_, err := st.Exec(ctx, `SELECT gatehouse_make_partitions($1, 1)`, long)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		w.Do(acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO decision_settings (tenant_id, settings, updated_at)
				VALUES ($1, '{"retention_days":"unknown"}', $2)`, tx.Now())
			return err
		})
		if n := old(); n != 1 {
			t.Fatalf("%d partitions of %s", n, long)
		}
		if err := w.App.Housekeep(ctx, func(context.Context, time.Duration) error { return nil }); err == nil ||
			err.Error() != job.Again(app.HousekeepingEvery).Error() {
			t.Fatal(err)
		}
		if n := old(); n != 0 {
			t.Error("the partition is still there")
		}
	})
}
