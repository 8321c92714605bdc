package oidc_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// waiting are the notices of an application, and how many of them are as they were written.
func (w *scene) waiting(c *client) (int64, int64) {
	w.T.Helper()
	var all, untouched int64
	w.Do(w.c, func(tx *db.Tx) error {
		for to, which := range map[*int64]string{&all: "", &untouched: " AND due_at = created_at AND attempts = 0"} {
			var err error
			if *to, err = db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM logout_notices
				WHERE tenant_id = $1 AND application_id = $2`+which, c.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return all, untouched
}

// flood writes n notices of an application about each user. They are due since a second, and
// before all others.
func (w *scene) flood(c *client, n int, users ...id.ID) {
	w.T.Helper()
	w.Do(w.c, func(tx *db.Tx) error {
		for i := range n * len(users) {
			tx.Later(`INSERT INTO logout_notices (tenant_id, session_id, application_id, user_id, issuer, created_at,
				due_at) VALUES ($1, $2, $3, $4, '', $5, $5)`, id.New(), c.ID, users[i%len(users)], tx.Now().UnixMicro()-1e6)
		}
		return nil
	})
}

// Many notices of an application that fails wait as they are, and delay no other application.
func TestWaitingNoticesDelayNoOther(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		failing, told := newLogoutReceiver(t), newLogoutReceiver(t)
		many := w.client(application.New{Name: "Many", BackchannelLogoutURI: failing.URL})
		other := w.client(application.New{Name: "Other", BackchannelLogoutURI: told.URL})
		failing.answer(http.StatusServiceUnavailable)
		told.answer(http.StatusServiceUnavailable)
		w.flood(many, 60, w.user.ID)
		_, s, _ := other.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		w.Work()
		if f, o := len(failing.take()), len(told.take()); f != 1 || o != 1 {
			t.Errorf("%d and %d calls in the first run, want one each", f, o)
		}
		if _, same := w.waiting(many); same != 59 {
			t.Errorf("%d notices wait as they were, want 59", same)
		}
		// Held back for 5 seconds, then for 15. Another end meanwhile changes nothing about that.
		told.answer(http.StatusOK)
		w.Clock.Advance(6e9)
		w.Work()
		if f, o := len(failing.take()), len(told.take()); f != 1 || o != 1 {
			t.Errorf("%d and %d calls after 6 seconds, want one each", f, o)
		}
		_, s, _ = other.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		w.Clock.Advance(6e9)
		w.Work()
		if f, o := len(failing.take()), len(told.take()); f != 0 || o != 1 {
			t.Errorf("%d and %d calls after 12 seconds, want none and one", f, o)
		}
		failing.answer(http.StatusOK)
		w.Clock.Advance(15e9)
		w.Work()
		if all, _ := w.waiting(many); all > 2 { // those that failed have their own delays
			t.Errorf("%d notices wait after the application recovered", all)
		}
	})
}

// A notice that waited for too long is given up, also while its application is held back.
func TestNoticesThatWaitAreGivenUp(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		failing := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: failing.URL})
		failing.answer(http.StatusServiceUnavailable)
		w.flood(c, 30, w.user.ID)
		_, s, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		w.Work()
		w.Clock.Advance(3600e9)
		w.Work()
		if all, _ := w.waiting(c); all > 1 {
			t.Errorf("%d notices wait for more than an hour", all)
		}
	})
}

// The notices of several applications take turns.
func TestNoticesTakeTurns(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		many := w.client(application.New{Name: "Many", BackchannelLogoutURI: told.URL})
		few := w.client(application.New{Name: "Few", BackchannelLogoutURI: told.URL})
		w.flood(many, 60, w.user.ID)
		_, s, _ := few.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		w.Work()
		got := told.take()
		if len(got) != 61 {
			t.Fatalf("told %d times", len(got))
		}
		for i, token := range got {
			if claims, _ := w.claims(t, token, "logout+jwt"); claims["aud"] == few.ClientID && i > 1 {
				t.Errorf("the one notice of an application came after %d of another's", i)
			}
		}
	})
}

// The sessions of one person, for which the application fails, delay no other person's notices.
// Each hold of theirs costs one call.
func TestOnePersonsSessionsDelayNoOther(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		mallory := w.person("mallory@example.com", "Mallory", "M")
		told.fails = map[string]bool{mallory.ID.String(): true}
		w.flood(c, 60, mallory.ID)
		for i := range 4 { // within the holds of 5 and 15 seconds, and then of a minute
			_, s, _ := c.signInAt(t, w.user)
			w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
			w.Work()
			others, victims := 0, 0
			for _, token := range told.take() {
				if jose.Peek(token).Subject == mallory.ID.String() {
					others++
				} else {
					victims++
				}
			}
			if victims != 1 || others > 1 {
				t.Errorf("end %d: notified %d times, after %d calls about another person", i, victims, others)
			}
			w.Clock.Advance(6e9)
		}
		if _, same := w.waiting(c); same < 57 {
			t.Errorf("%d notices wait as they were, want 57 at least", same)
		}
	})
}

// An application that fails for 20 users in a row is held back. The users for whom it did not fail
// come first then.
func TestAnApplicationThatFailsForManyIsHeldBack(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		told.fails = map[string]bool{}
		many := make([]id.ID, 20)
		for i := range many {
			many[i] = id.New()
			told.fails[many[i].String()] = true
		}
		w.flood(c, 3, many...)
		_, s, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		w.Work()
		if n := len(told.take()); n != 20 {
			t.Errorf("%d calls in the first run, want 20", n)
		}
		w.Clock.Advance(6e9)
		w.Work()
		got := told.take()
		if len(got) != 21 || jose.Peek(got[0]).Subject != w.user.ID.String() {
			t.Errorf("%d calls in the next run, want 21 of which the first is about the other user", len(got))
		}
		if _, same := w.waiting(c); same != 20 {
			t.Errorf("%d notices wait as they were, want 20", same)
		}
		told.fails = nil
		w.Clock.Advance(90e9)
		w.Work()
		if all, _ := w.waiting(c); all != 0 {
			t.Errorf("%d notices wait after the application recovered", all)
		}
	})
}

// The users of one application take turns.
func TestUsersTakeTurns(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		w.flood(c, 60, id.New())
		_, s, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		w.Work()
		got := told.take()
		if len(got) != 61 || jose.Peek(got[1]).Subject != w.user.ID.String() {
			t.Errorf("of %d notices, the second is not the other user's", len(got))
		}
	})
}

// An end has at most 500 notices. The audit log says how many were left out.
func TestNoticesThatAreLeftOutAreRecorded(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		_, s, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error {
			for range 502 {
				of := id.New()
				for _, sql := range []string{`INSERT INTO sessions (tenant_id, id, user_id, token_hash, created_at,
						auth_time, last_seen_at, expires_at, idle, amr, acr, address, agent, generation)
					SELECT tenant_id, $2, user_id, $3, created_at, auth_time, last_seen_at, expires_at, idle, amr, acr,
						address, agent, generation FROM sessions WHERE tenant_id = $1 AND id = $4`,
					`INSERT INTO session_applications (tenant_id, session_id, application_id, issuer)
					SELECT $1, $2, id, '' FROM applications WHERE tenant_id = $1 AND id = $3`} {
					args := []any{of, c.ID}
					if strings.Contains(sql, "$4") {
						args = []any{of, of[:], s.ID}
					}
					if _, err := tx.Exec(ctx, sql, args...); err != nil {
						return err
					}
				}
			}
			return logout.EndAll(ctx, tx, w.user.ID, id.ID{}, "lock")
		})
		if all, _ := w.waiting(c); all != 500 {
			t.Errorf("%d notices", all)
		}
		found := w.events(audit.Filter{Action: "logout.notify"})
		if len(found) != 1 || found[0].Target.ID != w.user.ID.String() ||
			!strings.Contains(strings.ReplaceAll(string(found[0].Detail), " ", ""), fmt.Sprintf(`"notices":%d`, 3)) {
			t.Errorf("%d events: %+v", len(found), found)
		}
	})
}
