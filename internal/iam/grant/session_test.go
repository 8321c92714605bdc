package grant_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Purge remembers the applications of a session that may still be ended, once each. It remembers
// none of an ended session, and forgets all with the session.
func TestPurgeRemembersTheApplicationsOfASession(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for range 3 {
			w.family(false)
		}
		w.Clock.Advance(49 * time.Hour)
		w.family(false)
		w.purge()
		if n := w.rows("grants"); n != 1 {
			t.Errorf("%d grants are left, want the one that has not expired", n)
		}
		if n := w.rows("session_applications"); n != 1 {
			t.Errorf("%d notes of one application and session", n)
		}
		apps, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) ([]id.ID, error) {
			return db.List(context.Background(), tx, db.Column[id.ID],
				`SELECT DISTINCT p.application_id FROM `+grant.OfSessions("s.id = $2")+` p WHERE $1 = $1`, w.session)
		})
		if err != nil || len(apps) != 1 || apps[0] != w.app {
			t.Errorf("the session's applications: %v, %v", apps, err)
		}
		w.update(func(ctx context.Context, tx *db.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM session_applications WHERE tenant_id = $1`)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE sessions SET ended_at = $2 WHERE tenant_id = $1`, tx.Now())
			return err
		})
		w.Clock.Advance(49 * time.Hour)
		w.purge()
		if g, n := w.rows("grants"), w.rows("session_applications"); g+n != 0 {
			t.Errorf("%d grants and %d notes of an ended session", g, n)
		}
	})
}
