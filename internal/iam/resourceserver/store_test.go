package resourceserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"

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
		return resourceserver.Create(f.t.Context(), tx, identifier, p)
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
		dir := resourceserver.NewDirectory(f.DB)
		if a, err := dir.ByIdentifier(ctx, f.c, invoices); err != nil || a.Admits(batch) {
			t.Errorf("an application without its scopes may ask: %v", err)
		}
		changed, err := db.Write(ctx, f.DB, f.c, func(tx *db.Tx) (resourceserver.API, error) {
			return resourceserver.Update(ctx, tx, made.ID, func(p *resourceserver.Profile) {
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
		for app, want := range map[id.ID]bool{batch.ID: false, gateway.ID: true} {
			if got, err := dir.Serves(ctx, f.c, app); err != nil || got != want {
				t.Errorf("serves %v: %v, want %v", got, err, want)
			}
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
