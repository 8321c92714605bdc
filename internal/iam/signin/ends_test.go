package signin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A sign-in and a reset at the same moment: whichever commits first, the old password leaves no
// session.
func TestNoSessionSurvivesAResetAtTheSameMoment(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, allow)
		ada := newUser(t, d, c, "ada@acme.example")
		reset := make(chan error, 1)
		s := write(t, d, c, func(tx *db.Tx) (signin.Standing, error) {
			s, err := e.Begin(ctx, tx, nil, signin.Demand{Kind: signin.Account, ReturnTo: "/account"})
			if err != nil {
				return s, err
			}
			s, err = e.Advance(ctx, tx, s, signin.Browser{Secret: browser},
				func(_ context.Context, tx *db.Tx, s *signin.Standing) (bool, error) {
					s.Prove(ada, signin.Password, tx.Now())
					return true, nil
				})
			// The session is written, and not committed yet.
			go func() {
				reset <- d.Update(ctx, c, func(tx *db.Tx) error {
					return signin.End(ctx, tx, signin.PasswordReset, ada.ID, id.ID{})
				})
			}()
			select {
			case err := <-reset:
				reset <- err
			case <-time.After(300 * time.Millisecond): // SQLite has one writer, which we are
			}
			return s, err
		})
		if err := <-reset; err != nil {
			t.Fatal(err)
		}
		if s.Started == nil {
			t.Fatalf("no session was started: %s", s.Next())
		}
		if on, err := find(d, c, s.Started.Token.Reveal()); !errors.Is(err, session.ErrNone) {
			t.Errorf("the session of the old password lives: %+v, %v", on, err)
		}
		// The account was read before the reset, and the password is used after it.
		if late := signIn(t, d, c, e, opened{}, ada); late.Started != nil || late.Next() != signin.AskPassword {
			t.Errorf("a proof from before the reset leads to %s", late.Next())
		}
	})
}

// Nothing comes back with the status.
func TestAnUnlockedUserHasNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, allow)
		ada := newUser(t, d, c, "ada@acme.example")
		s := signIn(t, d, c, e, opened{}, ada)
		for _, to := range []user.Status{user.Locked, user.Active} {
			write(t, d, c, func(tx *db.Tx) (user.User, error) {
				keep := func(_ context.Context, _ *db.Tx, change func() error) error { return change() }
				u, err := user.SetStatus(ctx, tx, keep, ada.ID, to)
				if err == nil {
					err = signin.EndOfStatus(ctx, tx, ada.ID, to)
				}
				return u, err
			})
		}
		if _, err := find(d, c, s.Started.Token.Reveal()); !errors.Is(err, session.ErrNone) {
			t.Errorf("the session of before opens after lock and unlock: %v", err)
		}
		read := write(t, d, c, func(tx *db.Tx) (signin.Standing, error) {
			return e.Read(ctx, tx, s.Flow.ID,
				signin.Browser{Secret: browser, Tokens: []string{s.Started.Token.Reveal()}})
		})
		if read.Next() != signin.AskPassword {
			t.Errorf("the flow of before stands at %s", read.Next())
		}
	})
}

// ruled gives every tenant one rule.
type ruled struct{}

func (ruled) ByID(context.Context, id.ID) (*tenant.Tenant, error) {
	t := &tenant.Tenant{Settings: tenant.DefaultSettings()}
	t.Settings.SignIn.SecondFactor = []string{tenant.SecondFactorUnknownNetworks}
	return t, nil
}

// The rules are asked for each use of what an earlier sign-in gave.
func TestRulesHoldForTokens(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		token := grant.Token{User: id.New(), Application: id.New(), AMR: []string{"pwd"}, AuthTime: d.Clock.Now()}
		old := func(t *grant.Token) { t.AuthTime = t.AuthTime.AddDate(0, 0, -8) }
		offline := func(t *grant.Token) { old(t); t.Offline = true }
		for name, tt := range map[string]struct {
			policies signin.Policies
			tenants  signin.Tenants
			change   func(t *grant.Token)
			want     bool
		}{
			"no rules":           {refuse, newTenants{}, nil, true},
			"allowed":            {allow, ruled{}, nil, true},
			"refused":            {refuse, ruled{}, nil, false},
			"session outlived":   {allow, ruled{}, old, false},
			"outlives a session": {allow, ruled{}, offline, true},
		} {
			e, shown := newEngine(t, d, tt.policies), token
			e.Tenants = tt.tenants
			if tt.change != nil {
				tt.change(&shown)
			}
			got, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (bool, error) { return e.AllowsToken(ctx, tx, shown) })
			if err != nil || got != tt.want {
				t.Errorf("%s: %v, %v; want %v", name, got, err, tt.want)
			}
		}
	})
}
