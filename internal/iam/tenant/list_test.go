package tenant_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A list of tenants is narrowed by status and a part of a name. It keeps its order over pages, also
// for tenants with the same name.
func TestListIsSearchedAndSorted(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		for slug, n := range map[string]tenant.New{"b-one": {Name: "beta"}, "a-two": {Name: "Beta"},
			"c": {Name: "Ärzte 100% & Co", Domains: []string{"login.zeta.example"}}, "z": {Name: "alpha_x"}} {
			n.Slug = slug
			if err := d.System(ctx, p, "test", func(st *db.SystemTx) error {
				made, err := tenant.Create(ctx, st, n)
				if err == nil && slug == "z" {
					_, err = tenant.SetStatus(ctx, st.For(made.ID), tenant.Suspended)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		list := func(f tenant.Filter) (string, error) {
			var slugs []string
			r := page.Request{Limit: 1}
			for {
				var l page.List[tenant.Tenant]
				if err := d.SystemView(ctx, p, "test", func(st *db.SystemTx) error {
					var err error
					l, err = tenant.List(ctx, st, f, r)
					return err
				}); err != nil {
					return "", err
				}
				for _, x := range l.Items {
					slugs = append(slugs, x.Slug)
					if x.Slug == "c" && fmt.Sprint(x.Domains) != "[login.zeta.example]" {
						t.Errorf("%v: domains %v", f, x.Domains)
					}
				}
				if l.NextCursor == "" {
					return strings.Join(slugs, " "), nil
				}
				r.After, _ = page.ParseCursor(l.NextCursor)
			}
		}
		forward, err := list(tenant.Filter{Sort: tenant.ByName})
		if err != nil {
			t.Fatal(err)
		}
		backward, err := list(tenant.Filter{Sort: "-name"})
		if err != nil {
			t.Fatal(err)
		}
		reversed := strings.Fields(backward)
		for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
			reversed[i], reversed[j] = reversed[j], reversed[i]
		}
		if strings.Join(reversed, " ") != forward || !strings.HasPrefix(forward, "z ") ||
			strings.Count(forward, " ") != 4 {
			t.Errorf("by name %q, reversed %q", forward, backward)
		}
		for _, tt := range []struct {
			f    tenant.Filter
			want string
		}{
			{tenant.Filter{Sort: tenant.BySlug}, "a-two b-one c platform z"},
			{tenant.Filter{Sort: "-slug"}, "z platform c b-one a-two"},
			{tenant.Filter{Sort: tenant.BySlug, Search: "BETA"}, "a-two b-one"},
			{tenant.Filter{Sort: tenant.BySlug, Search: "-one"}, "b-one"},
			{tenant.Filter{Search: "Ärzte"}, "c"},
			{tenant.Filter{Search: "login.ZETA"}, "c"},
			{tenant.Filter{Search: "100%"}, "c"},
			{tenant.Filter{Search: "a_x"}, "z"},
			{tenant.Filter{Search: "a%x"}, ""},
			{tenant.Filter{Search: "'; --"}, ""},
			{tenant.Filter{Status: tenant.Suspended}, "z"},
			{tenant.Filter{Status: tenant.Active, Search: "alpha"}, ""},
		} {
			if got, err := list(tt.f); err != nil || got != tt.want {
				t.Errorf("%+v: %q, %v; want %q", tt.f, got, err, tt.want)
			}
		}
		for _, f := range []tenant.Filter{{Sort: "id"}, {Sort: "--name"}, {Status: "gone"}} {
			if _, err := list(f); err == nil {
				t.Errorf("%+v is accepted", f)
			}
		}
	})
}

// A new tenant gets its domains with it, and a domain of another tenant creates nothing.
func TestCreateWithDomains(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		p := platform(t, d)
		create := func(slug string, domains ...string) error {
			return d.System(ctx, p, "test", func(st *db.SystemTx) error {
				_, err := tenant.Create(ctx, st, tenant.New{Slug: slug, Name: slug, Domains: domains})
				return err
			})
		}
		if err := create("acme", "login.acme.example"); err != nil {
			t.Fatal(err)
		}
		if err := create("globex", "login.globex.example", "login.acme.example"); !errors.Is(err,
			tenant.ErrDomainTaken) {
			t.Errorf("a taken domain: %v", err)
		}
		if err := create("globex", "not a domain"); err == nil {
			t.Error("a wrong domain is accepted")
		}
		if err := create("globex", "login.globex.example"); err != nil {
			t.Errorf("after the refusals: %v", err)
		}
	})
}
