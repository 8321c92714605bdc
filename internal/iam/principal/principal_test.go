package principal_test

import (
	"context"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var all = role.Everything()

type fixture struct {
	*testkit.Database
	*principal.Resolver
	t *testing.T
	c caller.Caller
}

func both(t *testing.T, fn func(t *testing.T, f *fixture)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		fn(t, &fixture{d, replica(d), t, d.Tenant(t, "acme")})
	})
}

func replica(d *testkit.Database) *principal.Resolver {
	return principal.New(d.DB, tenant.NewVersions(d.DB), d.Clock)
}

func (f *fixture) must(fn func(ctx context.Context, tx *db.Tx) error) {
	f.t.Helper()
	if err := f.Update(f.t.Context(), f.c, func(tx *db.Tx) error { return fn(f.t.Context(), tx) }); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) user(n user.Profile) id.ID {
	var u id.ID
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		made, err := user.Create(ctx, tx, n)
		u = made.ID
		return err
	})
	return u
}

func (f *fixture) invite(p user.Profile) id.ID {
	var u id.ID
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		made, err := user.Invite(ctx, tx, p)
		u = made.ID
		return err
	})
	return u
}

func (f *fixture) machine(name string) id.ID {
	var a id.ID
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		made, _, err := application.Create(ctx, tx, application.New{Name: name, ClientID: name,
			Type: application.Machine})
		a = made.ID
		return err
	})
	return a
}

func (f *fixture) give(s role.Subject, name string, until time.Time) {
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error { return role.Assign(ctx, tx, all, s, name, until) })
}

func (f *fixture) status(u id.ID, to user.Status) {
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		_, err := user.SetStatus(ctx, tx, role.KeepOwner, u, to)
		return err
	})
}

// ask asks about a principal by its id, as an application of no interest does.
func (f *fixture) ask(about string) (*enginev1.Principal, principal.Outcome) {
	f.t.Helper()
	return f.resolve(principal.Ask{Mode: application.FromDirectory, Application: id.New(),
		Asserted: &enginev1.Principal{Id: about, Roles: []string{"admin"}}})
}

func (f *fixture) resolve(ask principal.Ask) (*enginev1.Principal, principal.Outcome) {
	f.t.Helper()
	p, outcome, err := f.Resolve(f.t.Context(), f.c, ask)
	if err != nil {
		f.t.Fatal(err)
	}
	return p, outcome
}

// seen is what a policy sees of a principal.
func seen(p *enginev1.Principal) map[string]any {
	return (&structpb.Struct{Fields: p.Attr}).AsMap()
}

func TestWhatAPolicySees(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		ada := f.user(user.Profile{Email: "Ada@example.com", EmailVerified: true, Username: "ada", GivenName: "Ada",
			FamilyName: "Lovelace", Locale: "en-GB",
			Attributes: map[string]any{"floor": 3.0, "roles": []any{"owner"}}})
		f.give(role.OfUser(ada), role.Auditor, time.Time{})
		app := f.machine("reports")
		f.give(role.OfApplication(app), role.Developer, time.Time{})
		signedIn := f.Clock.Now().Add(-90 * time.Second)

		p, outcome := f.resolve(principal.Ask{User: ada, Application: app, AMR: []string{"pwd", "otp"}, ACR: "mfa",
			AuthTime: signedIn, Asserted: &enginev1.Principal{
				Id: ada.String(), Roles: []string{"owner"}, PolicyVersion: "v2", Scope: "emea",
				Attr: map[string]*structpb.Value{"email": structpb.NewStringValue("root@example.com"),
					"ip": structpb.NewStringValue("10.0.0.1")}}})
		want := map[string]any{
			"kind": "user", "email": "Ada@example.com", "email_verified": true, "username": "ada", "name": "",
			"given_name": "Ada", "family_name": "Lovelace",
			"locale": "en-GB", "client_id": "", "groups": []any{}, "group": map[string]any{},
			"user": map[string]any{"floor": 3.0, "roles": []any{"owner"}},
			"amr":  []any{"pwd", "otp"}, "acr": "mfa", "auth_time": float64(signedIn.Unix()), "session_age": 90.0,
			"request": map[string]any{"email": "root@example.com", "ip": "10.0.0.1"},
		}
		if diff := cmp.Diff(want, seen(p)); outcome != principal.Found || diff != "" {
			t.Errorf("a user by their own token: %s %s", outcome, diff)
		}
		if diff := cmp.Diff([]string{"auditor", "gatehouse:user"}, p.Roles); diff != "" || p.Id != ada.String() ||
			p.PolicyVersion != "v2" || p.Scope != "emea" {
			t.Errorf("%s %s %s %s", p.Id, p.PolicyVersion, p.Scope, diff)
		}

		p, outcome = f.ask(ada.String())
		want["amr"], want["acr"], want["auth_time"], want["session_age"] = []any{}, "", 0.0, 1e9
		want["request"] = map[string]any{}
		if diff := cmp.Diff(want, seen(p)); outcome != principal.Found || diff != "" {
			t.Errorf("a user by somebody else's token: %s %s", outcome, diff)
		}

		for name, ask := range map[string]principal.Ask{
			"by its token alone":           {Mode: application.FromDirectory, Application: app},
			"by its token alone, asserted": {Mode: application.Asserted, Application: app},
		} {
			p, outcome = f.resolve(ask)
			want = map[string]any{
				"kind": "application", "email": "", "email_verified": false, "username": "",
				"name": "reports", "given_name": "", "family_name": "", "locale": "",
				"client_id": "reports", "groups": []any{}, "group": map[string]any{}, "user": map[string]any{},
				"amr": []any{}, "acr": "", "auth_time": 0.0, "session_age": 1e9, "request": map[string]any{},
			}
			if diff := cmp.Diff(want, seen(p)); outcome != principal.Found || diff != "" || p.Id != app.String() {
				t.Errorf("an application %s: %s %s %s", name, outcome, p.Id, diff)
			}
			if diff := cmp.Diff([]string{"developer", "gatehouse:application"}, p.Roles); diff != "" {
				t.Error(diff)
			}
		}

		asserted := &enginev1.Principal{Id: "sam", Roles: []string{"employee"}}
		if p, outcome := f.resolve(principal.Ask{Mode: application.Asserted, Application: app,
			Asserted: asserted}); p != asserted || outcome != principal.Found {
			t.Errorf("asserted: %v %s", p, outcome)
		}
		if p, outcome := f.resolve(principal.Ask{Mode: application.Asserted, User: ada, Application: app,
			Asserted: &enginev1.Principal{Id: ada.String(),
				Roles: []string{"owner"}}}); outcome != principal.Found || p.Roles[0] != "auditor" {
			t.Errorf("a user's token asserted %v %s", p.Roles, outcome)
		}
	})
}

func TestWhoGetsNothing(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		ada, bob := f.user(user.Profile{Username: "ada"}), f.invite(user.Profile{Username: "bob"})
		f.give(role.OfUser(ada), role.Admin, time.Time{})
		app := f.machine("reports")
		denied := func(what string, p *enginev1.Principal, got, want principal.Outcome) {
			t.Helper()
			if got != want || !got.Denied() || got.Reason() == "" || len(p.Roles) > 0 || len(p.Attr) > 0 {
				t.Errorf("%s: %s (%q) with %v %v, want %s", what, got, got.Reason(), p.Roles, p.Attr, want)
			}
		}
		about := func(i string, want principal.Outcome) {
			t.Helper()
			p, got := f.ask(i)
			denied(i, p, got, want)
		}
		for _, i := range []string{id.New().String(), "ada", "0", "\x00", "' OR 1=1 --", "gatehouse:user",
			"00000000-0000-0000-0000-000000000000"} {
			about(i, principal.Unknown)
		}
		about(bob.String(), principal.Invited)
		for _, s := range []user.Status{user.Locked, user.Deactivated} {
			f.status(ada, s)
			about(ada.String(), map[user.Status]principal.Outcome{user.Locked: principal.Locked,
				user.Deactivated: principal.Deactivated}[s])
		}
		f.status(ada, user.Active)
		off := application.Disabled
		f.must(func(ctx context.Context, tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, all, app, application.Patch{Status: &off})
			return err
		})
		about(app.String(), principal.Disabled)
		p, got := f.resolve(principal.Ask{User: ada, Asserted: &enginev1.Principal{Id: bob.String()}})
		denied("another than the token's user", p, got, principal.Another)
		p, got = f.resolve(principal.Ask{User: id.New()})
		denied("a user who is gone", p, got, principal.Unknown)

		globex := *f
		globex.c = f.Tenant(t, "globex")
		p, got = globex.ask(ada.String())
		denied("another tenant's user", p, got, principal.Unknown)
		globex.c.Tenant = id.New()
		p, got = globex.ask(ada.String())
		denied("in no tenant", p, got, principal.Unknown)
	})
}
