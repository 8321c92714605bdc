package application_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ctx = context.Background()

func web(name string) application.New {
	return application.New{
		Name:         name,
		Type:         application.Web,
		RedirectURIs: []string{"https://app.example.com/callback"},
	}
}

func create(
	t *testing.T,
	d *testkit.Database,
	c caller.Caller,
	n application.New,
) (application.Application, secret.String) {
	var a application.Application
	var s secret.String
	t.Helper()
	err := d.Update(ctx, c, func(tx *db.Tx) error {
		var err error
		a, s, err = application.Create(ctx, tx, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, s
}

func get(t *testing.T, d *testkit.Database, c caller.Caller, app id.ID) (application.Application, error) {
	var a application.Application
	var err error
	t.Helper()
	err = d.View(ctx, c, func(tx *db.Tx) error {
		var err error
		a, err = application.Get(ctx, tx, app)
		return err
	})
	return a, err
}

func TestCreateReadsBack(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		a, s := create(t, d, acme, web("  Billing "))
		if s.IsZero() || a.Name != "Billing" || a.ClientID != a.ID.String() || a.AuthMethod != application.AuthBasic ||
			!a.Rotation {
			t.Errorf("created %+v with secret %v", a, !s.IsZero())
		}
		if !a.CheckSecret(secret.HashOf(s), d.Clock.Now()) || a.CheckSecret(secret.HashOf("x"), d.Clock.Now()) ||
			a.CheckSecret(nil, d.Clock.Now()) {
			t.Error("CheckSecret is wrong")
		}
		got, err := get(t, d, acme, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, got); diff != "" {
			t.Error(diff)
		}
		if err := d.View(ctx, acme, func(tx *db.Tx) error {
			b, err := application.ByClientID(ctx, tx, a.ClientID)
			if err == nil && b.ID != a.ID {
				t.Error("another application was found")
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		if _, err := get(t, d, globex, a.ID); !errors.Is(err, application.ErrNotFound) {
			t.Errorf("another tenant's application: %v", err)
		}
	})
}

func TestTypesHaveTheirSecrets(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		for typ, has := range map[application.Type]bool{
			application.Web: true, application.SPA: false, application.Native: false, application.Machine: true,
		} {
			n := web(string(typ))
			n.Type = typ
			if typ == application.Machine {
				n.RedirectURIs = nil
			}
			a, s := create(t, d, acme, n)
			if s.IsZero() == has || (a.SecretHash != nil) != has || (a.AuthMethod == application.AuthNone) == has {
				t.Errorf("%s: secret %v, method %s", typ, !s.IsZero(), a.AuthMethod)
			}
			if slices.ContainsFunc(a.Scopes, application.ReservedScope) {
				t.Errorf("%s: scopes %v, with which only some may create it", typ, a.Scopes)
			}
		}
		given := secret.String(strings.Repeat("s", 32))
		a, s := create(
			t,
			d,
			acme,
			application.New{ClientID: "ci", Secret: given, Name: "CI", Type: application.Machine},
		)
		if s != given || !a.CheckSecret(secret.HashOf(given), d.Clock.Now()) || a.ClientID != "ci" {
			t.Error("the given client_id and secret were not taken")
		}
		err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, _, err := application.Create(
				ctx,
				tx,
				application.New{ClientID: "ci", Name: "CI", Type: application.Machine},
			)
			return err
		})
		if !errors.Is(err, application.ErrClientIDTaken) {
			t.Errorf("the same client_id again: %v", err)
		}
		// What the application held names its id, so the client_id is free again.
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			if err := application.Delete(ctx, tx, role.Everything(), a.ID); err != nil {
				return err
			}
			again, _, err := application.Create(ctx, tx,
				application.New{ClientID: "ci", Name: "CI", Type: application.Machine})
			if again.ID == a.ID {
				t.Error("another application has the id of the deleted one")
			}
			return err
		}); err != nil {
			t.Errorf("the client_id of a deleted application: %v", err)
		}
	})
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	for name, tc := range map[string]struct {
		n      application.New
		fields []string
	}{
		"nothing":         {application.New{}, []string{"name", "type"}},
		"web without uri": {application.New{Name: "x", Type: application.Web}, []string{"redirect_uris"}},
		"machine with uri": {
			application.New{Name: "x", Type: application.Machine, RedirectURIs: []string{"https://a.b"}},
			[]string{"redirect_uris"},
		},
		"machine and none": {
			application.New{Name: "x", Type: application.Machine, AuthMethod: application.AuthNone},
			[]string{"auth_method"},
		},
		"public with secret": {
			application.New{
				Name: "x", Type: application.SPA, RedirectURIs: []string{"https://a.b"},
				AuthMethod: application.AuthBasic,
			},
			[]string{"auth_method"},
		},
		"jwt without keys": {
			application.New{Name: "x", Type: application.Machine, AuthMethod: application.AuthJWT}, []string{"jwks"},
		},
		"bad keys": {
			application.New{
				Name: "x", Type: application.Machine, AuthMethod: application.AuthJWT,
				JWKS: json.RawMessage(`{"keys":[{}]}`),
			},
			[]string{"jwks"},
		},
		"short secret": {
			application.New{Name: "x", Type: application.Machine, Secret: "short"}, []string{"secret"},
		},
		"web from directory": {
			application.New{
				Name: "x", Type: application.Web, RedirectURIs: []string{"https://a.b"},
				PrincipalMode: application.FromDirectory,
			},
			[]string{"principal_mode"},
		},
		"unbound and public": {
			application.New{Name: "x", Type: application.Web, AuthMethod: application.AuthNone,
				RedirectURIs: []string{"https://a.b"}, AllowUnboundCode: true}, []string{"allow_unbound_code"},
		},
		"unbound in a browser": {
			application.New{Name: "x", Type: application.SPA, RedirectURIs: []string{"https://a.b"},
				AllowUnboundCode: true}, []string{"allow_unbound_code"},
		},
		"unbound machine": {
			application.New{Name: "x", Type: application.Machine, AllowUnboundCode: true},
			[]string{"allow_unbound_code"},
		},
		"unknown mode": {
			application.New{Name: "x", Type: application.Machine, PrincipalMode: "trusted"},
			[]string{"principal_mode"},
		},
		"everything": {application.New{ClientID: "a b", Name: "a\nb", Type: application.SPA, RedirectURIs: []string{"https://a.b", "/x", "https://a.b"}, PostLogoutRedirectURIs: []string{"javascript:alert(1)"},
			Scopes: []string{"a b", "x", "x"}, AccessToken: "x", IDTokenAlg: "none", NoRotation: true,
			Lifetimes: application.Lifetimes{AccessToken: time.Second, RefreshMax: time.Hour}},
			[]string{"name", "client_id", "redirect_uris[1]", "redirect_uris[2]", "post_logout_redirect_uris[0]",
				"scopes[0]", "scopes[2]", "access_token", "id_token_alg", "rotation",
				"access_token_seconds", "refresh_max_seconds"}},
	} {
		err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, _, err := application.Create(ctx, tx, tc.n)
			return err
		})
		f := fault.As(err)
		var fields []string
		for _, fd := range f.Fields {
			fields = append(fields, fd.Name)
		}
		if diff := cmp.Diff(tc.fields, fields); diff != "" || f.Kind != fault.Invalid {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestUpdateAndRotate(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		a, first := create(t, d, acme, web("Billing"))
		name, basic, none := "Invoices", application.AuthPost, application.AuthNone
		update := func(p application.Patch) (application.Application, secret.String, error) {
			var b application.Application
			var s secret.String
			err := d.Update(ctx, acme, func(tx *db.Tx) error {
				var err error
				b, s, err = application.Update(ctx, tx, role.Everything(), a.ID, p)
				return err
			})
			return b, s, err
		}
		b, s, err := update(application.Patch{Name: &name, AuthMethod: &basic})
		if err != nil || b.Name != name || !s.IsZero() || !b.CheckSecret(secret.HashOf(first), d.Clock.Now()) {
			t.Errorf("update: %+v %v", b, err)
		}
		rotate := func(keep time.Duration) (application.Application, secret.String, error) {
			var b application.Application
			var s secret.String
			err := d.Update(ctx, acme, func(tx *db.Tx) error {
				var err error
				b, s, err = application.RotateSecret(ctx, tx, role.Everything(), a.ID, keep)
				return err
			})
			return b, s, err
		}
		b, second, err := rotate(time.Hour)
		now := d.Clock.Now()
		if err != nil || !b.CheckSecret(secret.HashOf(first), now) || !b.CheckSecret(secret.HashOf(second), now) ||
			b.CheckSecret(secret.HashOf(first), now.Add(time.Hour)) {
			t.Errorf("rotate with overlap: %v", err)
		}
		b, third, err := rotate(0)
		if err != nil || b.CheckSecret(secret.HashOf(second), now) || !b.CheckSecret(secret.HashOf(third), now) {
			t.Errorf("rotate at once: %v", err)
		}
		if _, _, err := rotate(-1); fault.Of(err) != fault.Invalid {
			t.Errorf("a negative overlap: %v", err)
		}
		if b, _, err = update(application.Patch{AuthMethod: &none}); err != nil || b.SecretHash != nil {
			t.Errorf("none keeps a secret: %v", err)
		}
		if _, _, err := rotate(0); !errors.Is(err, application.ErrNoSecret) {
			t.Errorf("rotating nothing: %v", err)
		}
		if b, s, err = update(application.Patch{AuthMethod: &basic}); err != nil || s.IsZero() ||
			!b.CheckSecret(secret.HashOf(s), now) {
			t.Errorf("a secret again: %v", err)
		}
	})
}

func TestAMachineSaysWhomDecisionsBelieve(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		plain, _ := create(
			t,
			d,
			acme,
			application.New{Name: "Reports", Type: application.Machine, Scopes: []string{application.ScopeDecide}},
		)
		if plain.PrincipalMode != application.Asserted {
			t.Errorf("unless told otherwise the mode is %s", plain.PrincipalMode)
		}
		mode := application.FromDirectory
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, role.Everything(), plain.ID,
				application.Patch{PrincipalMode: &mode})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := get(t, d, acme, plain.ID); err != nil || got.PrincipalMode != mode {
			t.Errorf("read back: %s %v", got.PrincipalMode, err)
		}
	})
}

func TestOnlyThoseAboveManageAnApplication(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		a, _ := create(t, d, acme, application.New{Name: "Robot", Type: application.Machine})
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfApplication(a.ID), role.Owner, time.Time{})
		}); err != nil {
			t.Fatal(err)
		}
		developer := role.SetOf("application.update", "application.delete")
		name := "Mine"
		for what, do := range map[string]func(tx *db.Tx) error{
			"update": func(tx *db.Tx) error {
				_, _, err := application.Update(ctx, tx, developer, a.ID, application.Patch{Name: &name})
				return err
			},
			"rotate": func(tx *db.Tx) error {
				_, _, err := application.RotateSecret(ctx, tx, developer, a.ID, 0)
				return err
			},
			"delete": func(tx *db.Tx) error { return application.Delete(ctx, tx, developer, a.ID) },
		} {
			if err := d.Update(ctx, acme, do); !errors.Is(err, role.ErrOutranked) {
				t.Errorf("%s by a developer: %v", what, err)
			}
		}
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			return application.Delete(ctx, tx, role.Everything(), a.ID)
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t, d, acme, a.ID); !errors.Is(err, application.ErrNotFound) {
			t.Errorf("after deletion: %v", err)
		}
		if err := d.View(ctx, acme, func(tx *db.Tx) error {
			g, err := role.AssignmentsOf(ctx, tx, role.OfApplication(a.ID))
			if len(g) != 0 {
				t.Errorf("roles outlive their application: %v", g)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// Two changes of different fields at once do not undo each other: what was acknowledged is
// there, and the later request is refused.
func TestConcurrentUpdatesDoNotUndoEachOther(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		a, _ := create(t, d, acme, web("Billing"))
		for round := range 16 {
			name, scopes := fmt.Sprint("name", round), []string{fmt.Sprint("scope", round)}
			var acknowledged [2]bool
			var wg sync.WaitGroup
			for i, p := range []application.Patch{{Name: &name}, {Scopes: &scopes}} {
				wg.Go(func() {
					err := d.Update(ctx, acme, func(tx *db.Tx) error {
						_, _, err := application.Update(ctx, tx, role.Everything(), a.ID, p)
						return err
					})
					if acknowledged[i] = err == nil; err != nil && fault.Of(err) != fault.Conflict {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			b, err := get(t, d, acme, a.ID)
			if err != nil {
				t.Fatal(err)
			}
			if acknowledged[0] && b.Name != name || acknowledged[1] && b.Scopes[0] != scopes[0] ||
				!acknowledged[0] && !acknowledged[1] {
				t.Errorf("round %d: acknowledged %v, there is %s %v", round, acknowledged, b.Name, b.Scopes)
			}
		}
	})
}

func TestList(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		create(t, d, globex, web("theirs"))
		for _, n := range []string{"a", "b", "c"} {
			create(t, d, acme, web(n))
		}
		var names []string
		p := page.Request{Limit: 2}
		for range 2 {
			var l page.List[application.Application]
			if err := d.View(ctx, acme, func(tx *db.Tx) error {
				var err error
				l, err = application.List(ctx, tx, filter.All(), p)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			for _, a := range l.Items {
				names = append(names, a.Name)
			}
			p.After, _ = page.ParseCursor(l.NextCursor)
		}
		if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
			t.Error(diff)
		}
	})
}

// A confidential application of an earlier release goes on without PKCE and nonce.
func TestApplicationsOfEarlierReleasesGoOn(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		for _, c := range []struct {
			n    application.New
			want bool
		}{
			{web("Wiki"), true},
			{application.New{Name: "Shop", Type: application.SPA, RedirectURIs: []string{"https://a.b"}}, false},
			{application.New{Name: "Robot", Type: application.Machine}, false},
		} {
			a, _ := create(t, d, acme, c.n)
			got, err := db.Write(ctx, d.DB, acme, func(tx *db.Tx) (application.Application, error) {
				if _, err := tx.Exec(ctx, `UPDATE applications SET allow_unbound_code = NULL
					WHERE tenant_id = $1 AND id = $2`, a.ID); err != nil {
					return application.Application{}, err
				}
				return application.Get(ctx, tx, a.ID)
			})
			if err != nil || a.AllowUnboundCode || got.AllowUnboundCode != c.want {
				t.Errorf("%s: new %t, earlier %t, %v", c.n.Name, a.AllowUnboundCode, got.AllowUnboundCode, err)
			}
		}
	})
}

// TestAnUnboundCodeIsAudited also makes the application public, which ends what it may not have.
func TestAnUnboundCodeIsAudited(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		a, _ := create(t, d, acme, web("Wiki"))
		update := func(p application.Patch) error {
			return d.Update(ctx, acme, func(tx *db.Tx) error {
				_, _, err := application.Update(ctx, tx, role.Set{}, a.ID, p)
				return err
			})
		}
		on, none := true, application.AuthNone
		if err := update(application.Patch{AllowUnboundCode: &on}); err != nil {
			t.Fatal(err)
		}
		got, err := db.Read(ctx, d.DB, acme, func(tx *db.Tx) (application.Application, error) {
			return application.Get(ctx, tx, a.ID)
		})
		if err != nil || !got.AllowUnboundCode {
			t.Errorf("stored: %+v %v", got, err)
		}
		events, err := db.Read(ctx, d.DB, acme, func(tx *db.Tx) (page.List[audit.Record], error) {
			return audit.List(ctx, tx, audit.Filter{Action: "application.update"}, page.First())
		})
		if err != nil || len(events.Items) != 1 ||
			string(events.Items[0].Detail) != `{"changed":{"allow_unbound_code":{"from":false,"to":true}}}` {
			t.Errorf("events: %+v %v", events.Items, err)
		}
		f := fault.As(update(application.Patch{AuthMethod: &none}))
		if len(f.Fields) != 1 || f.Fields[0].Name != "allow_unbound_code" {
			t.Errorf("made public: %v", f)
		}
	})
}

// An application has its keys in one place, and that is an address which the server may call.
func TestAKeySetByAddress(t *testing.T) {
	key, err := jose.Generate(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := jose.Set{key.Public()}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		n     application.New
		field string
	}{
		"by address":   {application.New{JWKSURI: "https://app.example.com/jwks"}, ""},
		"stored":       {application.New{JWKS: keys}, ""},
		"both":         {application.New{JWKS: keys, JWKSURI: "https://app.example.com/jwks"}, "jwks_uri"},
		"neither":      {application.New{}, "jwks"},
		"plain":        {application.New{JWKSURI: "http://app.example.com/jwks"}, "jwks_uri"},
		"with a user":  {application.New{JWKSURI: "https://a:b@app.example.com/jwks"}, "jwks_uri"},
		"not absolute": {application.New{JWKSURI: "/jwks"}, "jwks_uri"},
	} {
		tt.n.Name, tt.n.ClientID = "Robot", "robot"
		tt.n.Type, tt.n.AuthMethod = application.Machine, application.AuthJWT
		err := tt.n.Check()
		if tt.field == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if f, ok := errors.AsType[*fault.Fault](err); !ok || len(f.Fields) != 1 || f.Fields[0].Name != tt.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}
