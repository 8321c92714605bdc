package oidc_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// results returns the results of the notices in the audit log, the latest first.
func (w *scene) results() []string {
	w.T.Helper()
	var out []string
	for _, e := range w.events(audit.Filter{Action: "logout.notify"}) {
		detail := strings.ReplaceAll(string(e.Detail), " ", "")
		_, rest, _ := strings.Cut(detail, `"result":"`)
		result, _, _ := strings.Cut(rest, `"`)
		out = append(out, result)
	}
	return out
}

// A logout token is from the issuer of the application's ID token, for its client_id, and signed by
// the same algorithm (Back-Channel Logout §2.4, §2.6). The page of the front channel is told that
// issuer too.
func TestALogoutTokenIsLikeTheIDToken(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		const domain, front = "https://login.acme.example", "https://app.example.com/front"
		told := newLogoutReceiver(t)
		c := w.client(application.New{ClientID: "billing", BackchannelLogoutURI: told.URL,
			FrontchannelLogout: application.FrontchannelLogout{URI: front, Session: true}})
		_, s, idToken := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { // as if it had asked at the tenant's own domain
			_, err := tx.Exec(ctx, `UPDATE grants SET issuer = $3 WHERE tenant_id = $1 AND session_id = $2`,
				s.ID, domain)
			return err
		})
		w.Do(w.c, func(tx *db.Tx) error {
			if err := logout.EndHere(ctx, tx, s.ID); err != nil {
				return err
			}
			pages, err := logout.Frames(ctx, tx, s.ID, w.issuer)
			want := front + "?" + url.Values{"iss": {domain}, "sid": {s.ID.String()}}.Encode()
			if len(pages) != 1 || pages[0] != want {
				t.Errorf("pages %v, want %s", pages, want)
			}
			return err
		})
		w.Work()
		got := told.take()
		if len(got) != 1 {
			t.Fatalf("told %d times", len(got))
		}
		claims, header := w.claims(t, got[0], "logout+jwt")
		of, like := w.claims(t, idToken, "JWT")
		if claims["iss"] != domain || claims["aud"] != "billing" || claims["aud"] != of["aud"] ||
			claims["sub"] != of["sub"] || claims["sid"] != of["sid"] || header["alg"] != like["alg"] ||
			header["kid"] != like["kid"] {
			t.Errorf("%v %v, beside the ID token %v %v", header, claims, like, of)
		}
	})
}

// "Sign out everywhere else" tells of the sessions that it ends. It tells neither of the one that
// stays nor of one that ended earlier.
func TestOnlyWhatEndsIsTold(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		_, earlier, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, earlier.ID, "signout") })
		w.Work()
		told.take()
		w.Clock.Advance(time.Minute)
		_, kept, _ := c.signInAt(t, w.user)
		_, other, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error { return logout.EndAll(ctx, tx, w.user.ID, kept.ID, "account") })
		w.Work()
		var sids []any
		for _, token := range told.take() {
			claims, _ := w.claims(t, token, "logout+jwt")
			sids = append(sids, claims["sid"])
		}
		if len(sids) != 1 || sids[0] != other.ID.String() {
			t.Errorf("told of %v, want %s alone", sids, other.ID)
		}
	})
}

// An application that is disabled, or has no address any longer, is not called. The audit log says
// so.
func TestAnApplicationThatLeftIsNotCalled(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		disabled := w.client(application.New{Name: "Disabled", BackchannelLogoutURI: told.URL})
		moved := w.client(application.New{Name: "Moved", BackchannelLogoutURI: told.URL})
		for _, c := range []*client{disabled, moved} {
			_, s, _ := c.signInAt(t, w.user)
			w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		}
		w.disable(disabled)
		w.Do(w.c, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE applications SET backchannel_logout_uri = ''
				WHERE tenant_id = $1 AND id = $2`, moved.ID)
			return err
		})
		w.Work()
		if n := len(told.take()); n != 0 {
			t.Errorf("%d calls", n)
		}
		if got := w.results(); len(got) != 2 || got[0] != "refused" || got[1] != "refused" {
			t.Errorf("results %v", got)
		}
	})
}

// An end with exactly 500 notices leaves none out, and records nothing.
func TestAFullEndLeavesNothingOut(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{BackchannelLogoutURI: "https://app.example.com/logout"})
		_, s, _ := c.signInAt(t, w.user)
		w.Do(w.c, func(tx *db.Tx) error {
			for range 499 {
				of := id.New()
				tx.Later(`INSERT INTO sessions (tenant_id, id, user_id, token_hash, created_at, auth_time, last_seen_at,
						expires_at, idle, amr, acr, address, agent, generation)
					SELECT tenant_id, $2, user_id, $3, created_at, auth_time, last_seen_at, expires_at, idle, amr, acr,
						address, agent, generation FROM sessions WHERE tenant_id = $1 AND id = $4`, of, of[:], s.ID)
				tx.Later(`INSERT INTO session_applications (tenant_id, session_id, application_id, issuer)
					VALUES ($1, $2, $3, '')`, of, c.ID)
			}
			return nil
		})
		w.Do(w.c, func(tx *db.Tx) error { return logout.EndAll(ctx, tx, w.user.ID, id.ID{}, "lock") })
		if all, _ := w.waiting(c); all != 500 {
			t.Errorf("%d notices, want 500", all)
		}
		if got := w.results(); len(got) != 0 {
			t.Errorf("results %v", got)
		}
	})
}
