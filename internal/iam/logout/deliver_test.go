package logout

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A call for which no place was free says nothing about the application, so it does not count. The
// notice is given up after an hour all the same.
func TestABusyServerIsNoAttempt(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx, acme := t.Context(), d.Tenant(t, "acme")
		p := pending{session: id.New(), user: id.New()}
		do := func(fn func(tx *db.Tx) error) {
			t.Helper()
			if err := d.Update(ctx, acme, fn); err != nil {
				t.Fatal(err)
			}
		}
		do(func(tx *db.Tx) error {
			var err error
			p.app, _, err = application.Create(ctx, tx, application.New{Name: "App", Type: application.Web,
				RedirectURIs: []string{"https://app.example.com/"}})
			p.created = tx.Now()
			return err
		})
		do(func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO logout_notices
				(tenant_id, session_id, application_id, user_id, issuer, created_at, due_at)
				VALUES ($1, $2, $3, $4, '', $5, $5)`, p.session, p.app.ID, p.user, tx.Now())
			return err
		})
		state := func() (int64, time.Time) {
			t.Helper()
			type row struct{ attempts, due int64 }
			rows, err := db.Read(ctx, d.DB, acme, func(tx *db.Tx) ([]row, error) {
				return db.List(ctx, tx, func(r db.Row) (row, error) {
					var v row
					err := r.Scan(&v.attempts, &v.due)
					return v, err
				}, `SELECT attempts, due_at FROM logout_notices WHERE tenant_id = $1`)
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) == 0 {
				return -1, time.Time{}
			}
			return rows[0].attempts, time.UnixMicro(rows[0].due)
		}
		busy := func() {
			do(func(tx *db.Tx) error { return p.settle(ctx, tx, answer{result: "busy", reason: "busy"}) })
		}
		busy()
		if n, due := state(); n != 0 || due.Sub(d.Clock.Now()) != delays[0] {
			t.Errorf("%d attempts, due in %s", n, due.Sub(d.Clock.Now()))
		}
		d.Clock.Advance(maxAge)
		busy()
		if n, _ := state(); n != -1 {
			t.Error("the notice is kept after an hour")
		}
	})
}
