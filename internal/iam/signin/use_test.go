package signin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	policy "github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// Only a user or session that is not there asks for a new sign-in. A database that fails does not.
func TestAHoldTellsAFailureFromAnEnd(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, allow)
		ada := newUser(t, d, c, "ada@acme.example")
		on := start(t, d, c, ada).Session
		var cut string // the statement that fails
		var cancel context.CancelFunc
		d.Observe(func(sql string) {
			if cut != "" && strings.Contains(sql, cut) {
				cancel()
			}
		})
		holdSession := func(on session.Session) func(context.Context, *db.Tx) error {
			return func(ctx context.Context, tx *db.Tx) error { return signin.HoldSession(ctx, tx, on) }
		}
		hold := func(u id.ID) func(context.Context, *db.Tx) error {
			return func(ctx context.Context, tx *db.Tx) error {
				return e.Hold(ctx, tx, &signin.Standing{Flow: signin.Flow{User: u}})
			}
		}
		const users, sessions = "UPDATE users", "FROM sessions"
		for _, tt := range []struct {
			name, cut string
			hold      func(context.Context, *db.Tx) error
			want      error
		}{
			{"a session", "", holdSession(on), nil},
			{"no user", "", holdSession(session.Session{ID: on.ID, User: id.New()}), session.ErrNone},
			{"no session", "", holdSession(session.Session{ID: id.New(), User: ada.ID}), session.ErrNone},
			{"a session, no database", users, holdSession(on), context.Canceled},
			{"a session, no database later", sessions, holdSession(on), context.Canceled},
			{"a flow of no user", "", hold(id.New()), signin.ErrStale},
			{"a flow, no database", users, hold(ada.ID), context.Canceled},
		} {
			if tt.cut != "" && d.Name() == "sqlite" { // its one writer finishes what it began
				continue
			}
			err := d.Update(ctx, c, func(tx *db.Tx) error {
				var within context.Context
				within, cancel = context.WithCancel(ctx)
				defer cancel()
				cut = tt.cut
				return tt.hold(within, tx)
			})
			ended := errors.Is(err, session.ErrNone) || errors.Is(err, signin.ErrStale)
			if !errors.Is(err, tt.want) || ended != (tt.want != nil && tt.cut == "") {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			cut = ""
		}
	})
}

// What the rules refuse is recorded, also in a transaction that reads or is rolled back.
func TestARefusedUseIsRecorded(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada := id.New()
		use := func(policies signin.Policies) {
			e := newEngine(t, d, policies)
			e.Tenants = ruled{}
			_, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (bool, error) {
				return e.AllowsToken(ctx, tx, grant.Token{User: ada, AuthTime: tx.Now()})
			})
			if err != nil {
				t.Fatal(err)
			}
			rolledBack := errors.New("rolled back")
			err = d.Update(ctx, c, func(tx *db.Tx) error {
				if _, err := e.AllowsGrant(ctx, tx, grant.Grant{User: ada, AuthTime: tx.Now()}); err != nil {
					return err
				}
				return rolledBack
			})
			if !errors.Is(err, rolledBack) {
				t.Fatal(err)
			}
			e.Decisions.Close()
		}
		for _, tt := range []struct {
			policies signin.Policies
			want     int
		}{{allow, 0}, {refuse, 2}} {
			use(tt.policies)
			found, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (page.List[decision.Record], error) {
				return decision.List(ctx, tx, decision.Filter{Principal: ada.String()}, page.First())
			})
			if err != nil || len(found.Items) != tt.want {
				t.Errorf("%d refusals are recorded, want %d: %v", len(found.Items), tt.want, err)
			}
		}
	})
}

// aMinute allows everything, and lets no session last longer than a minute.
type aMinute struct{}

func (aMinute) Check(_ context.Context, c caller.Caller, in []*enginev1.CheckInput) (policy.Checked, error) {
	checked, err := allow.Check(ctx, c, in)
	limit, wrong := structpb.NewList([]any{map[string]any{"max_seconds": 60}})
	for _, out := range checked.Outputs {
		out.Outputs = append(out.Outputs, &enginev1.OutputEntry{
			Action: "enter", Val: structpb.NewListValue(limit),
		})
	}
	return checked, errors.Join(err, wrong)
}

// A rule's limit of the session holds for what the session gave.
func TestARuleLimitsTheUseOfASession(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, aMinute{})
		e.Tenants = ruled{}
		for _, tt := range []struct {
			age     time.Duration
			offline bool
			want    bool
		}{{time.Minute, false, true}, {61 * time.Second, false, false}, {61 * time.Second, true, true}} {
			got, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (bool, error) {
				return e.AllowsToken(ctx, tx, grant.Token{User: id.New(), AuthTime: tx.Now().Add(-tt.age),
					Offline: tt.offline})
			})
			if err != nil || got != tt.want {
				t.Errorf("%s after the sign-in, offline %t: %t, %v", tt.age, tt.offline, got, err)
			}
		}
	})
}

// of gives every tenant these.
type of tenant.Tenant

func (t of) ByID(context.Context, id.ID) (*tenant.Tenant, error) { return (*tenant.Tenant)(&t), nil }

// twoFactors allows all but one factor where the tenant's settings require two.
type twoFactors struct{}

func (twoFactors) Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (policy.Checked, error) {
	checked, err := allow.Check(ctx, c, in)
	for i, out := range checked.Outputs {
		if in[i].GetResource().GetAttr()["mfa_required"].GetBoolValue() {
			out.Actions["one-factor"].Effect = effectv1.Effect_EFFECT_DENY
		}
	}
	return checked, err
}

// The short way for proxies gives the answer of the flow of the account pages.
func TestAllowsSessionAnswersAsBeginWith(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, e := d.Tenant(t, "acme"), newEngine(t, d, allow)
		began := d.Clock.Now()
		var sessions []opened
		for _, amr := range [][]string{{"pwd"}, {"pwd", "otp", "mfa"}} {
			for _, factor := range []bool{false, true} {
				ada := newUser(t, d, c, fmt.Sprintf("%d-%t@acme.example", len(amr), factor))
				if factor {
					write(t, d, c, func(tx *db.Tx) (int64, error) {
						return tx.Exec(ctx,
							`INSERT INTO totp_factors (tenant_id, user_id, secret, created_at, confirmed_at)
							VALUES ($1, $2, $3, $4, $4)`, ada.ID, []byte("sealed"), began)
					})
				}
				sessions = append(sessions, write(t, d, c, func(tx *db.Tx) (opened, error) {
					s, token, err := session.Start(ctx, tx, session.New{User: ada.ID, AMR: amr,
						ACR: signin.LevelOf(amr), Generation: ada.Generation,
						Idle: 24 * time.Hour, Max: 24 * time.Hour})
					return opened{s, token.Reveal()}, err
				}))
			}
		}
		d.Clock.Advance(2 * time.Hour)
		counted := map[bool]int{}
		rule := func(t *tenant.Tenant) { t.Settings.SignIn.SecondFactor = []string{tenant.SecondFactorAdmins} }
		for name, tt := range map[string]struct {
			policies signin.Policies
			change   func(t *tenant.Tenant)
		}{
			"no rules":         {allow, func(*tenant.Tenant) {}},
			"two factors":      {twoFactors{}, func(t *tenant.Tenant) { t.Settings.MFA = tenant.MFARequired }},
			"a rule":           {allow, rule},
			"a rule refuses":   {refuse, rule},
			"a shorter life":   {allow, func(t *tenant.Tenant) { t.Settings.SessionMaxSeconds = 3600 }},
			"a shorter pause":  {allow, func(t *tenant.Tenant) { t.Settings.SessionIdleSeconds = 3600 }},
			"signed out since": {allow, func(t *tenant.Tenant) { t.SignedOutAt = began.Add(time.Minute) }},
			"signed out then":  {allow, func(t *tenant.Tenant) { t.SignedOutAt = began }},
		} {
			acme := tenant.Tenant{Settings: tenant.DefaultSettings()}
			acme.Settings.SessionIdleSeconds, acme.Settings.SessionMaxSeconds = 86400, 86400
			tt.change(&acme)
			e.Policies, e.Tenants = tt.policies, of(acme)
			for _, on := range append(sessions, opened{token: "unknown"}) {
				type answers struct{ short, long bool }
				got, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (answers, error) {
					_, err := e.AllowsSession(ctx, tx, []string{on.token})
					if err != nil && !errors.Is(err, session.ErrNone) {
						return answers{}, err
					}
					s, flowErr := e.BeginWith(ctx, tx, []string{on.token},
						signin.Demand{Kind: signin.Account, ReturnTo: "/account"})
					return answers{err == nil, s.Next() == signin.Done}, flowErr
				})
				if err != nil || got.short != got.long {
					t.Errorf("%s, %v: allowed %t, by the flow %t, %v", name, on.Session.AMR, got.short, got.long, err)
				}
				counted[got.long]++
			}
		}
		if counted[true] < 5 || counted[false] < 5 {
			t.Errorf("the cases prove little: %v", counted)
		}
	})
}
