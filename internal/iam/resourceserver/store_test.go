package resourceserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

const invoices = "https://invoices.example.com"

type fixture struct {
	*testkit.Database
	t *testing.T
	c caller.Caller
}

func both(t *testing.T, fn func(t *testing.T, f *fixture)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) { fn(t, &fixture{d, t, d.Tenant(t, "acme")}) })
}

func (f *fixture) create(identifier string, p resourceserver.Profile) (resourceserver.API, error) {
	return db.Write(f.t.Context(), f.DB, f.c, func(tx *db.Tx) (resourceserver.API, error) {
		return resourceserver.Create(f.t.Context(), tx, role.Everything(), identifier, p)
	})
}

func (f *fixture) get(api id.ID) (resourceserver.API, error) {
	return db.Read(f.t.Context(), f.DB, f.c, func(tx *db.Tx) (resourceserver.API, error) {
		return resourceserver.Get(f.t.Context(), tx, api)
	})
}

func (f *fixture) application(scopes ...string) *application.Application {
	f.t.Helper()
	a, err := db.Write(f.t.Context(), f.DB, f.c, func(tx *db.Tx) (application.Application, error) {
		a, _, err := application.Create(f.t.Context(), tx,
			application.New{Name: "Batch", Type: application.Machine, Scopes: append([]string{}, scopes...)})
		return a, err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return &a
}

func (f *fixture) events(action string) []audit.Record {
	f.t.Helper()
	l, err := db.Read(f.t.Context(), f.DB, f.c, func(tx *db.Tx) (page.List[audit.Record], error) {
		return audit.List(f.t.Context(), tx, audit.Filter{Action: action}, page.First())
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return l.Items
}

func scoped(names ...string) resourceserver.Profile {
	p := resourceserver.Profile{Name: "Invoices"}
	for _, n := range names {
		p.Scopes = append(p.Scopes, resourceserver.Scope{Name: n, Description: "Does " + n})
	}
	return p
}

func TestAnAPIFromItsCreationToItsEnd(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		ctx, batch, gateway := t.Context(), f.application(), f.application()
		made, err := f.create(invoices, scoped("invoices:read"))
		if err != nil {
			t.Fatal(err)
		}
		want := resourceserver.Profile{Name: "Invoices", TokenProfile: "at+jwt", SigningAlg: "ES256", Access: "any",
			Scopes:       []resourceserver.Scope{{Name: "invoices:read", Description: "Does invoices:read"}},
			Applications: []id.ID{}, Servers: []id.ID{}}
		if diff := cmp.Diff(want, made.Profile); diff != "" {
			t.Error(diff)
		}
		if _, err := f.create(invoices, scoped("x")); !errors.Is(err, resourceserver.ErrIdentifierTaken) {
			t.Errorf("a second one with the identifier: %v", err)
		}
		if _, err := f.create(invoices+"/", scoped("x")); !errors.Is(err, resourceserver.ErrIdentifierTaken) {
			t.Errorf("a second one with its other spelling: %v", err)
		}
		dir := resourceserver.NewDirectory(f.DB)
		if a, err := dir.ByIdentifier(ctx, f.c, invoices); err != nil || a.Admits(batch) {
			t.Errorf("an application without its scopes may ask: %v", err)
		}
		changed, err := db.Write(ctx, f.DB, f.c, func(tx *db.Tx) (resourceserver.API, error) {
			return resourceserver.Update(ctx, tx, role.Everything(), made.ID, func(p *resourceserver.Profile) {
				p.Access, p.TokenProfile, p.TokenSeconds = resourceserver.Listed, resourceserver.Opaque, 120
				p.Applications, p.Servers = []id.ID{batch.ID, batch.ID}, []id.ID{gateway.ID}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.get(made.ID); err != nil || !cmp.Equal(got, changed) || len(got.Applications) != 1 {
			t.Errorf("stored %v (%v), answered %v", got, err, changed)
		}
		a, err := dir.ByIdentifier(ctx, f.c, invoices) // the change dropped the copy
		if err != nil || !a.Admits(batch) || a.Admits(gateway) {
			t.Errorf("the listed one may not ask, or another may: %v", err)
		}
		e := f.events("api.update")
		if len(e) != 1 || !strings.Contains(string(e[0].Detail), "opaque") {
			t.Errorf("audit events: %v", e)
		}
		// An application that is deleted leaves the lists.
		if err := f.Update(ctx, f.c, func(tx *db.Tx) error {
			return application.Delete(ctx, tx, role.Everything(), gateway.ID)
		}); err != nil {
			t.Fatal(err)
		}
		list, err := db.Read(ctx, f.DB, f.c, func(tx *db.Tx) (page.List[resourceserver.API], error) {
			return resourceserver.List(ctx, tx, filter.All(), page.First())
		})
		if err != nil || len(list.Items) != 1 || len(list.Items[0].Servers) != 0 ||
			!cmp.Equal(list.Items[0].Applications, []id.ID{batch.ID}) {
			t.Errorf("listed %v: %v", list.Items, err)
		}
		remove := func() error {
			return f.Update(ctx, f.c, func(tx *db.Tx) error { return resourceserver.Delete(ctx, tx, made.ID) })
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if err := remove(); !errors.Is(err, resourceserver.ErrNotFound) {
			t.Errorf("deleted again: %v", err)
		}
		if _, err := dir.ByIdentifier(ctx, f.c, invoices); !errors.Is(err, resourceserver.ErrNotFound) {
			t.Errorf("a deleted API: %v", err)
		}
		if len(f.events("api.create")) != 1 || len(f.events("api.delete")) != 1 {
			t.Error("an event is missing")
		}
	})
}

// A wrong field is named.
func TestWhatNoAPIMayHave(t *testing.T) {
	f := &fixture{testkit.Open(t, testkit.SQLite(t)), t, caller.Caller{}}
	f.c = f.Tenant(t, "acme")
	with := func(edit func(*resourceserver.Profile)) resourceserver.Profile {
		p := scoped("read")
		edit(&p)
		return p
	}
	for name, c := range map[string]struct {
		identifier string
		profile    resourceserver.Profile
		field      string
	}{
		"no identifier":        {"", scoped("read"), "identifier"},
		"a relative URI":       {"/invoices", scoped("read"), "identifier"},
		"a word":               {"invoices", scoped("read"), "identifier"},
		"a fragment":           {invoices + "#read", scoped("read"), "identifier"},
		"an empty fragment":    {invoices + "#", scoped("read"), "identifier"},
		"a quote":              {invoices + `"`, scoped("read"), "identifier"},
		"a space":              {invoices + " x", scoped("read"), "identifier"},
		"no host":              {"https:///x", scoped("read"), "identifier"},
		"a user":               {"https://me@invoices.example.com", scoped("read"), "identifier"},
		"a long one":           {invoices + strings.Repeat("x", 255), scoped("read"), "identifier"},
		"no name":              {invoices, with(func(p *resourceserver.Profile) { p.Name = " " }), "name"},
		"a line break":         {invoices, with(func(p *resourceserver.Profile) { p.Name = "a\nb" }), "name"},
		"no scope for any":     {invoices, scoped(), "scopes"},
		"a scope of ours":      {invoices, scoped("gatehouse:manage"), "scopes[0].name"},
		"openid":               {invoices, scoped("read", "openid"), "scopes[1].name"},
		"groups":               {invoices, scoped("groups"), "scopes[0].name"},
		"a scope twice":        {invoices, scoped("read", "read"), "scopes[1].name"},
		"a scope with a space": {invoices, scoped("a b"), "scopes[0].name"},
		"a profile": {invoices, with(func(p *resourceserver.Profile) { p.TokenProfile = "saml" }),
			"token_profile"},
		"an algorithm": {invoices, with(func(p *resourceserver.Profile) { p.SigningAlg = "none" }),
			"signing_alg"},
		"a short life": {invoices, with(func(p *resourceserver.Profile) { p.TokenSeconds = 59 }), "token_seconds"},
		"a long life": {invoices, with(func(p *resourceserver.Profile) { p.TokenSeconds = 86401 }),
			"token_seconds"},
		"a list that does not count": {invoices,
			with(func(p *resourceserver.Profile) { p.Applications = []id.ID{id.New()} }), "applications"},
		"no such application": {invoices, with(func(p *resourceserver.Profile) { p.Servers = []id.ID{id.New()} }),
			"servers"},
	} {
		_, err := f.create(c.identifier, c.profile)
		if fields := fault.As(err).Fields; fault.Of(err) != fault.Invalid || len(fields) != 1 ||
			fields[0].Name != c.field {
			t.Errorf("%s: %v %v, want the field %s", name, err, fault.As(err).Fields, c.field)
		}
	}
	for _, good := range []string{"urn:example:invoices", "api://invoices", "http://localhost:8080/api",
		"https://[::1]/", invoices + "/v1?x=1"} {
		if !resourceserver.ValidIdentifier(good) {
			t.Errorf("%s is refused", good)
		}
	}
}

// A tenant's APIs are its own, also under the same identifier.
func TestTwoTenantsWithOneIdentifier(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		dir := resourceserver.NewDirectory(d.DB)
		for _, slug := range []string{"acme", "globex"} {
			f := &fixture{d, t, d.Tenant(t, slug)}
			made, err := f.create(invoices, scoped(slug))
			if err != nil {
				t.Fatal(err)
			}
			if a, err := dir.ByIdentifier(ctx, f.c, invoices); err != nil || a.ID != made.ID || !a.Has(slug) {
				t.Errorf("%s got %v: %v", slug, a, err)
			}
		}
	})
}

// To become or to stop being an API changes an application. So it needs the rights of its update,
// and both things tell it in the audit log. What an application may not inspect since, it may not
// inspect after the API has gone.
func TestAServerIsChangedByItsManager(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		ctx, plain, owned := t.Context(), f.application(), f.application()
		acting := f.application(application.ScopeManage)
		f.do(func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfApplication(owned.ID), role.Owner, time.Time{})
		})
		inspects := func(app id.ID) bool {
			a, err := db.Read(ctx, f.DB, f.c, func(tx *db.Tx) (application.Application, error) {
				return application.Get(ctx, tx, app)
			})
			if err != nil {
				t.Fatal(err)
			}
			return a.InspectsTenant
		}
		made, err := f.create(invoices, scoped("read"))
		if err != nil {
			t.Fatal(err)
		}
		serve := func(by role.Set, apps ...id.ID) error {
			return f.Update(ctx, f.c, func(tx *db.Tx) error {
				_, err := resourceserver.Update(ctx, tx, by, made.ID,
					func(p *resourceserver.Profile) { p.Servers = apps })
				return err
			})
		}
		create := func(by role.Set, apps ...id.ID) error {
			p := scoped("read")
			p.Servers = apps
			return f.Update(ctx, f.c, func(tx *db.Tx) error {
				_, err := resourceserver.Create(ctx, tx, by, "urn:example:other", p)
				return err
			})
		}
		only, developer := role.SetOf("api.create", "api.update"), role.SetOf("api.update", "application.update")
		for name, c := range map[string]struct {
			by   role.Set
			app  id.ID
			code string
		}{
			"who may change APIs only":               {only, plain.ID, "action.denied"},
			"a developer, one with the owner's role": {developer, owned.ID, "role.outranked"},
			"a developer, one that acts for others":  {developer, acting.ID, "action.denied"},
		} {
			for _, do := range []func(role.Set, ...id.ID) error{serve, create} {
				if err := do(c.by, c.app); fault.Of(err) != fault.Denied || fault.As(err).Code != c.code {
					t.Errorf("%s: %v, want %s", name, err, c.code)
				}
			}
			if !inspects(c.app) {
				t.Errorf("%s: a refused change has changed the application", name)
			}
		}
		if err := serve(developer, plain.ID); err != nil || inspects(plain.ID) {
			t.Fatalf("a developer, a plain application: %v, inspects %v", err, inspects(plain.ID))
		}
		if err := serve(only); fault.Of(err) != fault.Denied {
			t.Errorf("taken from the list without the right: %v", err)
		}
		if err := serve(role.Everything(), plain.ID, owned.ID); err != nil || inspects(owned.ID) {
			t.Errorf("by an owner: %v, inspects %v", err, inspects(owned.ID))
		}
		if err := serve(developer, owned.ID); err != nil || inspects(plain.ID) {
			t.Errorf("taken from the list: %v, inspects %v", err, inspects(plain.ID))
		}
		f.do(func(tx *db.Tx) error { return resourceserver.Delete(ctx, tx, made.ID) })
		if inspects(plain.ID) || inspects(owned.ID) {
			t.Error("after the API is deleted, its applications inspect tokens for the tenant again")
		}
		yes := true
		f.do(func(tx *db.Tx) error {
			_, _, err := application.Update(ctx, tx, developer, plain.ID, application.Patch{InspectsTenant: &yes})
			return err
		})
		if !inspects(plain.ID) {
			t.Error("an update of the application does not give it back")
		}
		told := map[string]int{}
		for _, e := range f.events("application.update") {
			told[e.Target.ID+" "+serves(e)]++
		}
		want := map[string]int{plain.ID.String() + " to": 1, plain.ID.String() + " from": 1,
			owned.ID.String() + " to": 1, plain.ID.String() + " ": 1}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
	})
}

// serves says how an event of an application tells that it became an API ("to") or stopped being
// one ("from").
func serves(e audit.Record) string {
	for _, how := range []string{"to", "from"} {
		if strings.Contains(string(e.Detail), `"serves":{"`+how+`":"`+invoices+`"}`) {
			return how
		}
	}
	return ""
}

func (f *fixture) do(change func(tx *db.Tx) error) {
	f.t.Helper()
	if err := f.Update(f.t.Context(), f.c, change); err != nil {
		f.t.Fatal(err)
	}
}
