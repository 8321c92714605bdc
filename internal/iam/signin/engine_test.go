package signin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	policy "github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// always answers every action of every check with one effect.
type always effectv1.Effect

func (a always) Check(_ context.Context, _ caller.Caller, in []*enginev1.CheckInput) (policy.Checked, error) {
	var checked policy.Checked
	for _, i := range in {
		out := &enginev1.CheckOutput{Actions: map[string]*enginev1.CheckOutput_ActionEffect{}}
		for _, action := range i.GetActions() {
			out.Actions[action] = &enginev1.CheckOutput_ActionEffect{Effect: effectv1.Effect(a)}
		}
		checked.Outputs = append(checked.Outputs, out)
	}
	return checked, nil
}

const (
	allow  = always(effectv1.Effect_EFFECT_ALLOW)
	refuse = always(effectv1.Effect_EFFECT_DENY)
)

// newTenants gives every tenant the settings of a new one.
type newTenants struct{}

func (newTenants) ByID(context.Context, id.ID) (*tenant.Tenant, error) {
	return &tenant.Tenant{Settings: tenant.DefaultSettings()}, nil
}

func newEngine(t *testing.T, d *testkit.Database, p signin.Policies) *signin.Engine {
	t.Helper()
	ring, err := secret.ParseKeyRing(secret.NewKey("k1"))
	if err != nil {
		t.Fatal(err)
	}
	r := decision.NewRecorder(d.DB, ring, slog.New(slog.DiscardHandler))
	t.Cleanup(r.Close)
	return &signin.Engine{Policies: p, Decisions: r, Tenants: newTenants{}, Clock: d.Clock}
}

// write returns what fn returns in a transaction.
func write[T any](t *testing.T, d *testkit.Database, c caller.Caller, fn func(tx *db.Tx) (T, error)) T {
	t.Helper()
	v, err := db.Write(ctx, d.DB, c, fn)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newUser(t *testing.T, d *testkit.Database, c caller.Caller, email string) user.User {
	t.Helper()
	return write(t, d, c, func(tx *db.Tx) (user.User, error) {
		return user.Create(ctx, tx, user.Profile{Email: email})
	})
}

// opened is a session with its token.
type opened struct {
	session.Session
	token string
}

// start starts a session of u that may idle for half an hour and ends after one.
func start(t *testing.T, d *testkit.Database, c caller.Caller, u user.User) opened {
	t.Helper()
	return write(t, d, c, func(tx *db.Tx) (opened, error) {
		s, token, err := session.Start(ctx, tx, session.New{User: u.ID, AMR: []string{"pwd"}, ACR: signin.OneFactor,
			Idle: 30 * time.Minute, Max: time.Hour})
		return opened{s, token.Reveal()}, err
	})
}

// signIn proves u's password in a new flow of a browser that has the session on.
func signIn(t *testing.T, d *testkit.Database, c caller.Caller, e *signin.Engine, on opened,
	u user.User) signin.Standing {
	t.Helper()
	return write(t, d, c, func(tx *db.Tx) (signin.Standing, error) {
		s, err := e.Begin(ctx, tx, &on.Session,
			signin.Demand{Kind: signin.Account, ReturnTo: "/account", Reauthenticate: true})
		if err != nil {
			return s, err
		}
		return e.Advance(ctx, tx, s, signin.Browser{Secret: browser, Tokens: []string{on.token}},
			func(_ context.Context, tx *db.Tx, s *signin.Standing) (bool, error) {
				s.Prove(u, signin.Password, tx.Now())
				return true, nil
			})
	})
}

// find returns the session that token opens.
func find(d *testkit.Database, c caller.Caller, token string) (session.Session, error) {
	var s session.Session
	err := d.View(ctx, c, func(tx *db.Tx) error {
		var err error
		s, err = session.Find(ctx, tx, token)
		return err
	})
	return s, err
}

// events counts the audit events of an action.
func events(t *testing.T, d *testkit.Database, c caller.Caller, action string) int {
	t.Helper()
	return len(write(t, d, c, func(tx *db.Tx) (page.List[audit.Record], error) {
		return audit.List(ctx, tx, audit.Filter{Action: action}, page.Request{Limit: page.MaxLimit})
	}).Items)
}

// The browser's session goes on for its own user, and ends when another user signs in.
func TestAdvanceEndsTheSessionOfAnotherUser(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, allow)
		ada, bob := newUser(t, d, c, "ada@acme.example"), newUser(t, d, c, "bob@acme.example")
		on := start(t, d, c, ada)

		s := signIn(t, d, c, e, on, ada)
		if s.Started == nil || s.Started.Session.ID != on.ID {
			t.Fatalf("ada signs in again: %+v, want session %s renewed", s.Started, on.ID)
		}
		renewed := opened{s.Started.Session, s.Started.Token.Reveal()}
		if _, err := find(d, c, on.token); !errors.Is(err, session.ErrNone) {
			t.Errorf("the token before opens a session: %v", err)
		}

		s = signIn(t, d, c, e, renewed, bob)
		if s.Started == nil || s.Started.Session.ID == on.ID || s.Started.Session.User != bob.ID {
			t.Fatalf("bob signs in: %+v, want a session of his own", s.Started)
		}
		if got, err := find(d, c, renewed.token); !errors.Is(err, session.ErrNone) {
			t.Errorf("ada's session goes on: %+v, %v", got, err)
		}
		if got, err := find(d, c, s.Started.Token.Reveal()); err != nil || got.User != bob.ID {
			t.Errorf("bob's token opens %+v, %v", got, err)
		}
		if n := events(t, d, c, "session.revoke"); n != 1 {
			t.Errorf("%d sessions were revoked, want 1", n)
		}
	})
}

// A refusal by the policies is one event, however often the refused user comes back to the flow.
func TestRefusalIsRecordedOnceAFlow(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, refuse)
		ada := newUser(t, d, c, "ada@acme.example")
		s := signIn(t, d, c, e, opened{}, ada)
		if s.Next() != signin.Refuse || s.Started != nil || !s.Flow.Refused {
			t.Fatalf("%s: %+v", s.Next(), s)
		}
		for range 2 {
			write(t, d, c, func(tx *db.Tx) (signin.Standing, error) {
				s, err := e.Read(ctx, tx, s.Flow.ID, signin.Browser{Secret: browser})
				if err != nil {
					return s, err
				}
				return e.Advance(ctx, tx, s, ours, nil)
			})
		}
		if n := events(t, d, c, "signin.refuse"); n != 1 {
			t.Errorf("%d refusals are recorded, want 1", n)
		}
		signIn(t, d, c, e, opened{}, ada)
		if n := events(t, d, c, "signin.refuse"); n != 2 {
			t.Errorf("%d refusals of two flows are recorded, want 2", n)
		}
	})
}

// A session whose user changed a credential gets a new token, and lasts no longer.
func TestRenewKeepsTheEnd(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, allow)
		on := start(t, d, c, newUser(t, d, c, "ada@acme.example"))
		d.Clock.Advance(10 * time.Minute)
		s := write(t, d, c, func(tx *db.Tx) (signin.Started, error) {
			return e.Renew(ctx, tx, on.Session, signin.TOTP)
		})
		got, err := find(d, c, s.Token.Reveal())
		if err != nil || got.ID != on.ID {
			t.Fatalf("the new token opens %+v, %v", got, err)
		}
		if !got.ExpiresAt.Equal(on.ExpiresAt) || got.Idle != on.Idle || !got.AuthTime.Equal(on.AuthTime) {
			t.Errorf("renewed until %s, idle %s, proved at %s; want %s, %s, %s",
				got.ExpiresAt, got.Idle, got.AuthTime, on.ExpiresAt, on.Idle, on.AuthTime)
		}
		if s.Lasts != 50*time.Minute {
			t.Errorf("the cookie lasts %s, want 50m", s.Lasts)
		}
		if want := []string{"pwd", "otp", "mfa"}; !slices.Equal(got.AMR, want) || got.ACR != signin.TwoFactors {
			t.Errorf("amr %v, acr %s; want %v, %s", got.AMR, got.ACR, want, signin.TwoFactors)
		}
		if _, err := find(d, c, on.token); !errors.Is(err, session.ErrNone) {
			t.Errorf("the token before opens a session: %v", err)
		}
	})
}

// The right password is refused if other guesses blocked the account since the look-up.
func TestUseRefusesAnAccountBlockedMeanwhile(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		h := credential.NewHasher(credential.HasherConfig{Params: credential.Params{Memory: 64, Passes: 1, Lanes: 1}})
		hash, err := h.Hash(ctx, "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		ada := newUser(t, d, c, "ada@acme.example")
		write(t, d, c, func(tx *db.Tx) (any, error) { return nil, credential.SetPassword(ctx, tx, ada.ID, hash) })
		find := func(browser string) signin.PasswordTry {
			try := write(t, d, c, func(tx *db.Tx) (signin.PasswordTry, error) {
				try, wait, err := signin.FindPassword(ctx, tx, ada.Email, browser, attempt.Numbers{})
				if wait > 0 {
					t.Fatalf("blocked before any guess, for %s", wait)
				}
				return try, err
			})
			if err := try.Verify(ctx, h, "correct horse"); err != nil || !try.OK() {
				t.Fatalf("the right password: %v, %v", try.OK(), err)
			}
			return try
		}
		use := func(try signin.PasswordTry) bool {
			return write(t, d, c, func(tx *db.Tx) (bool, error) { return try.Use(ctx, tx) })
		}
		if try := find("one browser"); !use(try) {
			t.Fatal("the right password is refused")
		}
		c.Address = netip.MustParseAddr("198.51.100.7") // the network of before is known by now
		try := find("another browser")
		for v := (attempt.Verdict{}); !v.Blocked; {
			v = write(t, d, c, func(tx *db.Tx) (attempt.Verdict, error) {
				return attempt.Fail(ctx, tx, attempt.Account(ada.ID, ada.Email))
			})
		}
		if use(try) {
			t.Error("a guess during the block is accepted")
		}
		if n := events(t, d, c, "signin.refuse"); n != 1 {
			t.Errorf("%d refusals are recorded, want 1", n)
		}
	})
}

// A code for a key that was replaced elsewhere is not a guess.
func TestTryFactorCountsGuesses(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada := newUser(t, d, c, "ada@acme.example")
		try := func(out credential.Outcome) int {
			return write(t, d, c, func(tx *db.Tx) (int, error) {
				got, wait, err := signin.TryFactor(ctx, tx, ada, signin.TOTP.Name, attempt.Numbers{Failures: 7},
					func() (credential.Outcome, error) { return out, nil })
				if got != out || wait != 0 || err != nil {
					t.Errorf("%s: %s, %s, %v", out, got, wait, err)
				}
				return db.One(ctx, tx, func(r db.Row) (int, error) {
					var n int
					err := r.Scan(&n)
					return n, err
				}, `SELECT max(failures) FROM attempt_counters WHERE tenant_id = $1 AND subject LIKE 'factor:%'`)
			})
		}
		for _, tt := range []struct {
			out  credential.Outcome
			want int
		}{
			{credential.Wrong, 1}, {credential.Replaced, 1}, {credential.Replayed, 2}, {credential.Replaced, 2},
			{credential.Missing, 3},
		} {
			if n := try(tt.out); n != tt.want {
				t.Errorf("%d guesses after a code that is %s, want %d", n, tt.out, tt.want)
			}
		}
		if n := write(t, d, c, func(tx *db.Tx) (int64, error) {
			return db.One(ctx, tx, db.Column[int64],
				`SELECT min(failures) FROM attempt_counters WHERE tenant_id = $1 AND subject NOT LIKE 'factor:%'`)
		}); n != 7 {
			t.Errorf("the client may fail %d times, want the tenant's number", n)
		}
	})
}

// Once a proof says who the user is, the events of a step name that user.
func TestTheEventsOfAStepNameTheUser(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme").As(caller.Actor{Kind: caller.Anonymous})
		e, ada := newEngine(t, d, allow), newUser(t, d, c, "ada@example.com")
		s := signIn(t, d, c, e, start(t, d, c, ada), ada)
		write(t, d, c, func(tx *db.Tx) (signin.Standing, error) {
			return e.Advance(ctx, tx, s, signin.Browser{Secret: browser, Tokens: []string{s.Started.Token.Reveal()}},
				func(_ context.Context, tx *db.Tx, _ *signin.Standing) (bool, error) {
					audit.Write(tx, audit.Event{Action: "totp.enrol"})
					return true, nil
				})
		})
		for _, action := range []string{"signin.succeed", "totp.enrol"} {
			found := write(t, d, c, func(tx *db.Tx) (page.List[audit.Record], error) {
				return audit.List(ctx, tx, audit.Filter{Action: action, Actor: ada.ID}, page.First())
			}).Items
			if len(found) != 1 || found[0].Actor.Kind != caller.User || found[0].Actor.Name != "ada@example.com" {
				t.Errorf("%s: %d events of the user: %+v", action, len(found), found)
			}
		}
	})
}

// In a tenant with an imported hash every refusal takes the same time, for an unknown login too.
func TestARefusalDoesNotTellByItsTime(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada, bob := newUser(t, d, c, "ada@example.com"), newUser(t, d, c, "bob@example.com")
		const wait = 300 * time.Millisecond
		h := credential.NewHasher(credential.HasherConfig{Params: credential.Params{Memory: 64, Passes: 1, Lanes: 1},
			Refusal: wait})
		own, err := credential.NewHasher(credential.HasherConfig{}).Hash(ctx, "a right password")
		if err != nil {
			t.Fatal(err)
		}
		took := func(login string) time.Duration {
			began := time.Now()
			try := write(t, d, c, func(tx *db.Tx) (signin.PasswordTry, error) {
				try, _, err := signin.FindPassword(ctx, tx, login, "", attempt.Numbers{})
				return try, err
			})
			if err := try.Verify(ctx, h, "a wrong password"); err != nil || try.OK() {
				t.Fatalf("%s: %v, %v", login, try.OK(), err)
			}
			return time.Since(began)
		}
		set := func(u user.User, phc string) {
			write(t, d, c, func(tx *db.Tx) (any, error) { return nil, credential.SetPassword(ctx, tx, u.ID, phc) })
		}
		set(ada, own)
		if n := took("nobody@example.com"); n > wait {
			t.Errorf("without an imported hash a refusal takes %v", n)
		}
		set(bob, "{SSHA}JFZFs0oHzxbMwkSJmYVeI8MnTDy/276a")
		for _, login := range []string{"nobody@example.com", "ada@example.com", "bob@example.com"} {
			if n := took(login); n < wait {
				t.Errorf("%s: a refusal takes %v, want at least %v", login, n, wait)
			}
		}
		set(bob, own)
		if n := took("nobody@example.com"); n > wait {
			t.Errorf("without an imported hash any longer a refusal takes %v", n)
		}
	})
}
