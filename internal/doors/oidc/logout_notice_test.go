package oidc_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// logoutReceiver is an application's backchannel_logout_uri.
type logoutReceiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	fails  map[string]bool // subs for which the status is 500
	tokens []string
}

func newLogoutReceiver(t *testing.T) *logoutReceiver {
	t.Helper()
	l := &logoutReceiver{status: http.StatusOK}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		token := r.PostFormValue("logout_token")
		l.tokens = append(l.tokens, token)
		if l.fails[jose.Peek(token).Subject] {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(l.status)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *logoutReceiver) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.tokens
	l.tokens = nil
	return got
}

func (l *logoutReceiver) answer(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

// signInAt signs u in at c in a browser of its own.
func (c *client) signInAt(t *testing.T, u user.User) (*browser, session.Session, string) {
	t.Helper()
	b := c.w.browser()
	s := b.signIn(u)
	verifier, challenge := pkce()
	q := c.w.response(t, b.Visit(c.authorizeURL(challenge)))
	return b, s, c.redeem(t, q.Get("code"), verifier).ID
}

// Back-Channel Logout §2.4: each way in which a session ends reaches the applications of the
// session, once, and no other.
func TestEachEndReachesTheApplications(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		w.client(application.New{Name: "Elsewhere", BackchannelLogoutURI: told.URL + "/elsewhere"})
		owner := w.Holder("acme", "owner")
		do := func(fn func(tx *db.Tx) error) func(*browser, session.Session, string) {
			return func(*browser, session.Session, string) { w.Do(w.c, fn) }
		}
		for name, end := range map[string]func(u user.User) func(*browser, session.Session, string){
			"logout with a hint": func(user.User) func(*browser, session.Session, string) {
				return func(b *browser, _ session.Session, hint string) { b.Visit(w.logoutURL("id_token_hint", hint)) }
			},
			"an administrator": func(user.User) func(*browser, session.Session, string) {
				return func(_ *browser, s session.Session, _ string) {
					w.Must(owner, "DELETE", "acme", "/sessions/"+s.ID.String(), nil)
				}
			},
			"a lock": func(u user.User) func(*browser, session.Session, string) {
				return func(*browser, session.Session, string) {
					w.Must(owner, "PATCH", "acme", "/users/"+u.ID.String(), map[string]any{"status": "locked"})
				}
			},
			"a deletion": func(u user.User) func(*browser, session.Session, string) {
				return func(*browser, session.Session, string) {
					w.Must(owner, "DELETE", "acme", "/users/"+u.ID.String(), nil)
				}
			},
			"a password reset": func(u user.User) func(*browser, session.Session, string) {
				return do(func(tx *db.Tx) error { return signin.End(ctx, tx, signin.PasswordReset, u.ID, id.ID{}) })
			},
			"sign out everywhere else": func(u user.User) func(*browser, session.Session, string) {
				return do(func(tx *db.Tx) error { return logout.EndAll(ctx, tx, u.ID, id.New(), "account") })
			},
		} {
			u := w.person(strings.ReplaceAll(name, " ", "-")+"@example.com", "Ada", "L")
			b, s, hint := c.signInAt(t, u)
			end(u)(b, s, hint)
			w.Work()
			got := told.take()
			if len(got) != 1 {
				t.Errorf("%s: told %d times", name, len(got))
				continue
			}
			claims, _ := w.claims(t, got[0], "logout+jwt")
			events, _ := claims["events"].(map[string]any)
			_, event := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any)
			now := float64(w.Clock.Now().Unix())
			if claims["iss"] != w.issuer || claims["aud"] != c.ClientID || claims["sub"] != u.ID.String() ||
				claims["sid"] != s.ID.String() || claims["iat"] != now || claims["exp"] != now+120 ||
				claims["jti"] == "" || claims["nonce"] != nil || len(events) != 1 || !event {
				t.Errorf("%s: claims %v", name, claims)
			}
		}
		found := w.events(audit.Filter{Action: "logout.notify"})
		if len(found) != 6 || found[0].Outcome != audit.Success || found[0].Target.ID != c.ID.String() {
			t.Errorf("%d events of notices", len(found))
		}
	})
}

// An application that fails is told again for an hour at most, and one that refuses is not. The
// audit log has the result.
func TestNoticesAreRetriedAndGivenUp(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		end := func() {
			t.Helper()
			_, s, _ := c.signInAt(t, w.user)
			w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
			w.Work()
		}
		result := func(part string) {
			t.Helper()
			found := w.events(audit.Filter{Action: "logout.notify"})
			if len(found) == 0 || found[0].Outcome != audit.Refused ||
				!strings.Contains(string(found[0].Detail), part) {
				t.Errorf("the audit log has %d events, the last without %s", len(found), part)
			}
		}
		told.answer(http.StatusBadRequest)
		end()
		w.Clock.Advance(time.Hour)
		w.Work()
		if n := len(told.take()); n != 1 {
			t.Errorf("an application that refuses was told %d times", n)
		}
		result(`"refused"`)

		told.answer(http.StatusInternalServerError)
		end()
		end()
		if n := len(told.take()); n != 1 { // and held back then
			t.Errorf("an application that fails was told %d times", n)
		}
		began := w.Clock.Now()
		for range 240 {
			w.Clock.Advance(15 * time.Second)
			w.Work()
		}
		if n := len(told.take()); n < 6 || n > 13 {
			t.Errorf("an application that fails was told %d times within %s", n, w.Clock.Now().Sub(began))
		}
		result(`"status":500`)
		w.Clock.Advance(24 * time.Hour)
		if w.Work(); len(told.take()) > 0 {
			t.Error("an application was told after it was given up")
		}

		told.answer(http.StatusServiceUnavailable)
		end()
		told.answer(http.StatusNoContent)
		w.Clock.Advance(5 * time.Second)
		w.Work()
		if n := len(told.take()); n != 2 {
			t.Errorf("an application that recovers was told %d times", n)
		}
		w.Clock.Advance(time.Second)
		found := w.events(audit.Filter{Action: "logout.notify"})
		if len(found) != 4 || found[0].Outcome != audit.Success {
			t.Errorf("%d events", len(found))
		}
	})
}

// An application that has failed for long does not delay the notices of another one.
func TestADeadApplicationDelaysNoOther(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		dead, told := newLogoutReceiver(t), newLogoutReceiver(t)
		end := func(c *client) {
			t.Helper()
			_, s, _ := c.signInAt(t, w.user)
			w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
			w.Work()
		}
		dead.answer(http.StatusServiceUnavailable)
		end(w.client(application.New{Name: "Dead", BackchannelLogoutURI: dead.URL}))
		for range 4 {
			w.Clock.Advance(5 * time.Minute)
			w.Work()
		}
		if n := len(dead.take()); n != 5 {
			t.Fatalf("the dead application was told %d times, want 5", n)
		}
		told.answer(http.StatusServiceUnavailable)
		end(w.client(application.New{Name: "Alive", BackchannelLogoutURI: told.URL}))
		told.answer(http.StatusOK)
		w.Clock.Advance(5 * time.Second)
		w.Work()
		if n := len(told.take()); n != 2 {
			t.Errorf("the other application was told %d times within 5 seconds, want 2", n)
		}
	})
}

// An application that can renew nothing any longer may still have a session of its own, so it is
// told as long as ours lasts.
func TestTheNoticeOutlivesTheGrant(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL,
			Lifetimes: application.Lifetimes{RefreshIdle: time.Hour, RefreshMax: time.Hour}})
		_, s, _ := c.signInAt(t, w.user)
		w.Clock.Advance(3 * 24 * time.Hour)
		w.Do(w.c, func(tx *db.Tx) error { _, err := grant.Purge(ctx, tx); return err })
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "operator") })
		w.Work()
		got := told.take()
		if len(got) != 1 {
			t.Fatalf("told %d times", len(got))
		}
		if claims, _ := w.claims(t, got[0], "logout+jwt"); claims["iss"] != w.issuer || claims["sid"] != s.ID.String() {
			t.Errorf("claims %v", claims)
		}
	})
}

// A failure about one session decides nothing about the others. They are told in the next run, and
// nothing counts that was not sent.
func TestAFailureIsAboutOneSession(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		c := w.client(application.New{BackchannelLogoutURI: told.URL})
		for range 3 {
			c.signInAt(t, w.user)
		}
		told.answer(http.StatusNotFound)
		w.Do(w.c, func(tx *db.Tx) error { return logout.EndAll(ctx, tx, w.user.ID, id.ID{}, "lock") })
		w.Work()
		if n := len(told.take()); n != 1 {
			t.Errorf("an application that fails was called %d times in one run", n)
		}
		told.answer(http.StatusOK)
		w.Clock.Advance(5 * time.Second)
		w.Work()
		if n := len(told.take()); n != 3 {
			t.Errorf("told of %d sessions in the next run, want 3", n)
		}
		once := 0
		for _, e := range w.events(audit.Filter{Action: "logout.notify"}) {
			if strings.Contains(strings.ReplaceAll(string(e.Detail), " ", ""), `"attempts":1`) {
				once++
			}
		}
		if once != 2 {
			t.Errorf("%d notices were sent once, want 2", once)
		}
	})
}
