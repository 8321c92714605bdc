package access_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// house is one tenant of a world, with an application and a user.
type house struct {
	c    caller.Caller
	site web.Site
	app  application.Application
	user user.User
}

type world struct {
	*testkit.Database
	t                      *testing.T
	keys                   *signingkey.Keys
	guard                  *access.Guard
	platform, acme, globex house
}

const domain = "http://login.acme.test"

func both(t *testing.T, fn func(t *testing.T, w *world)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		public, err := url.Parse("http://id.test")
		if err != nil {
			t.Fatal(err)
		}
		ring, err := secret.ParseKeyRing(secret.NewKey("test"))
		if err != nil {
			t.Fatal(err)
		}
		w := &world{Database: d, t: t, keys: signingkey.New(d.DB, ring, d.Clock, testkit.Key, func(*db.Tx) {})}
		sites := tenant.NewDirectory(d.DB, public, d.Clock, slog.New(slog.DiscardHandler))
		w.platform, w.acme, w.globex = w.house("platform", sites), w.house("acme", sites), w.house("globex", sites)
		w.update(w.acme, func(ctx context.Context, tx *db.Tx) error {
			_, err := tenant.Update(ctx, tx, tenant.Patch{Domains: &[]string{"login.acme.test"}})
			return err
		})
		w.guard = access.New(access.Deps{
			DB: d.DB, Rules: noRules{}, Sites: sites,
			Tokens:       grant.NewKnown(&grant.Verifier{DB: d.DB, Keys: w.keys, Issuers: sites}, d.Clock).Exact(),
			Applications: application.NewDirectory(d.DB), Platform: w.platform.site, Clock: d.Clock,
		})
		fn(t, w)
	})
}

// noRules allows every token.
type noRules struct{}

func (noRules) CheckToken(context.Context, *db.Tx, grant.Token) error       { return nil }
func (noRules) CheckConsole(context.Context, *db.Tx, session.Session) error { return nil }

func (w *world) update(h house, fn func(ctx context.Context, tx *db.Tx) error) {
	w.t.Helper()
	if err := w.Update(w.t.Context(), h.c, func(tx *db.Tx) error { return fn(w.t.Context(), tx) }); err != nil {
		w.t.Fatal(err)
	}
}

// house creates a tenant whose application is an auditor and whose user is a developer. Both may
// see applications, only the user may create them, and only the application may read the audit log.
func (w *world) house(slug string, sites *tenant.Directory) house {
	var h house
	h.c = w.Tenant(w.t, slug)
	h.site = web.Site{Tenant: h.c.Tenant, Slug: slug, Base: sites.Issuer(slug), Path: "/t/" + slug}
	w.update(h, func(ctx context.Context, tx *db.Tx) error {
		var err error
		if h.app, _, err = application.Create(ctx, tx,
			application.New{Name: "Reports", Type: application.Machine, Scopes: []string{"manage"}}); err != nil {
			return err
		}
		if h.user, err = user.Create(ctx, tx, user.Profile{Email: "ada@example.com"}); err != nil {
			return err
		}
		if err := role.Assign(ctx, tx, role.Everything(), role.OfApplication(h.app.ID), role.Auditor,
			time.Time{}); err != nil {
			return err
		}
		return role.Assign(ctx, tx, role.Everything(), role.OfUser(h.user.ID), role.Developer, time.Time{})
	})
	return h
}

// jwt is a token of the house's application for an audience.
func (w *world) jwt(h house, audience string, scope string) string {
	w.t.Helper()
	s, err := w.keys.Signer(w.t.Context(), h.c, jose.ES256, jose.TypeAccessToken)
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.Clock.Now()
	text, err := s.Sign(grant.AccessClaims{Application: h.app.ID.String(), Scope: scope, Claims: jose.Claims{
		Issuer: h.site.Base, Subject: h.app.ID.String(), Audience: jose.Audience{audience}, ID: id.New().String(),
		IssuedAt: jose.At(now), Expiry: jose.At(now.Add(time.Hour)),
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// opaque is a token of the house's application, or of its user.
func (w *world) opaque(h house, ofUser bool, audience string) string {
	var token string
	w.t.Helper()
	w.update(h, func(ctx context.Context, tx *db.Tx) error {
		var g grant.Grant
		if ofUser {
			s, _, err := session.Start(ctx, tx, session.New{User: h.user.ID, AMR: []string{"pwd"}})
			if err != nil {
				return err
			}
			g, _, err = grant.Create(ctx, tx, grant.New{
				Application: h.app.ID, User: h.user.ID, Session: s.ID, AuthTime: tx.Now(), Lifetime: time.Hour,
			})
			if err != nil {
				return err
			}
		}
		text, _ := grant.NewOpaque(tx, g, &h.app, []string{"manage"}, []string{audience}, audience, time.Hour)
		token = text.Reveal()
		return nil
	})
	return token
}

// Which token is good at which base, for each thing that a door can want.
func TestAdmit(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		plain := access.Want{Own: resourceserver.Own{Scope: "manage"}}
		operators := access.Want{Own: resourceserver.Own{Scope: "manage"}, Operators: true}
		users := access.Want{Own: resourceserver.Own{Scope: "manage"}, User: true}
		for name, tt := range map[string]struct {
			token string
			site  web.Site
			want  access.Want
			err   error
		}{
			"its own tenant's": {w.jwt(w.acme, w.acme.site.Base, "manage"), w.acme.site, plain,
				nil},
			"its own tenant's, opaque": {w.opaque(w.acme, false, w.acme.site.Base), w.acme.site, plain,
				nil},
			"one without the scope": {w.jwt(w.acme, w.acme.site.Base, "email"), w.acme.site, plain,
				access.ErrScope},
			"one with another audience": {w.jwt(w.acme, "https://api.example", "manage"), w.acme.site, plain,
				grant.ErrToken},
			"one without an audience": {w.opaque(w.acme, false, ""), w.acme.site, plain,
				grant.ErrToken},
			"a neighbour's": {w.jwt(w.globex, w.globex.site.Base, "manage"), w.acme.site,
				plain, grant.ErrToken},
			"a neighbour's, opaque": {w.opaque(w.globex, false, w.globex.site.Base), w.acme.site,
				plain, grant.ErrToken},
			"a neighbour's where operators are": {w.jwt(w.globex, w.globex.site.Base, "manage"), w.acme.site,
				operators, grant.ErrToken},
			"a neighbour's for this audience": {w.jwt(w.globex, w.acme.site.Base, "manage"), w.acme.site,
				operators, grant.ErrToken},
			"a neighbour's of any base": {w.opaque(w.acme, false, w.globex.site.Base), w.acme.site,
				plain, grant.ErrToken},
			"an operator's": {w.jwt(w.platform, w.platform.site.Base, "manage"), w.acme.site,
				operators, nil},
			"an operator's, opaque": {w.opaque(w.platform, false, w.platform.site.Base), w.acme.site,
				operators, nil},
			"an operator's where none are wanted": {w.jwt(w.platform, w.platform.site.Base, "manage"), w.acme.site,
				plain, grant.ErrToken},
			"an operator's, opaque, none wanted": {w.opaque(w.platform, false, w.platform.site.Base), w.acme.site,
				plain, grant.ErrToken},
			"an operator's without the scope": {w.jwt(w.platform, w.platform.site.Base, "email"), w.acme.site,
				operators, access.ErrScope},
			"a tenant's at the platform": {w.jwt(w.acme, w.acme.site.Base, "manage"), w.platform.site,
				operators, grant.ErrToken},
			"one of the tenant's domain":      {w.opaque(w.acme, false, domain), w.acme.site, plain, nil},
			"one of the tenant's domain, JWT": {w.jwt(w.acme, domain, "manage"), w.acme.site, plain, nil},
			"a user's": {w.opaque(w.acme, true, w.acme.site.Base), w.acme.site, users,
				nil},
			"an application's where a user's is due": {w.opaque(w.acme, false, w.acme.site.Base), w.acme.site, users,
				grant.ErrToken},
			"nonsense": {"nonsense", w.acme.site, operators, grant.ErrToken},
			"nothing":  {"", w.acme.site, operators, grant.ErrToken},
		} {
			c := w.acme.c
			c.Tenant = tt.site.Tenant
			h, err := w.guard.Admit(t.Context(), c, tt.site, access.Proof{Bearer: tt.token}, tt.want)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%s: %v, want %v", name, err, tt.err)
			}
			if tt.err == nil && h.Caller.Tenant != tt.site.Tenant {
				t.Errorf("%s: the caller touches another tenant than the one addressed", name)
			}
			if tt.err != nil && (h.Caller.Actor.ID != id.ID{} || h.Rights.Allows("user.read")) {
				t.Errorf("%s: a refused token has a holder: %+v", name, h)
			}
		}
	})
}

// Who the holder is and what they may do, at home and as an operator elsewhere.
func TestHolder(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		want := access.Want{Own: resourceserver.Own{Scope: "manage"}, Operators: true, Rights: true}
		admit := func(site web.Site, token string) access.Holder {
			t.Helper()
			c := caller.Caller{Tenant: site.Tenant}
			h, err := w.guard.Admit(t.Context(), c, site, access.Proof{Bearer: token}, want)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		h := admit(w.acme.site, w.opaque(w.acme, false, w.acme.site.Base))
		if a := h.Caller.Actor; a.Kind != caller.Application || a.ID != w.acme.app.ID || a.Name != "Reports" ||
			a.Tenant != w.acme.c.Tenant {
			t.Errorf("an application: %+v", a)
		}
		if !h.Rights.Allows("audit.read") || h.Rights.Allows("application.create") {
			t.Errorf("an application's rights: %v", h.Rights.Actions())
		}
		h = admit(w.acme.site, w.opaque(w.acme, true, w.acme.site.Base))
		if a := h.Caller.Actor; a.Kind != caller.User || a.ID != w.acme.user.ID || a.Via != w.acme.app.ID ||
			a.Session.IsZero() || a.Name != "ada@example.com" {
			t.Errorf("a user: %+v", a)
		}
		if h.Rights.Allows("audit.read") || h.Rights.Allows("application.create") ||
			!h.Rights.Allows("application.read") {
			t.Errorf("a user's token has rights that the user or the application lacks: %v", h.Rights.Actions())
		}
		h = admit(w.acme.site, w.opaque(w.platform, true, w.platform.site.Base))
		if a := h.Caller.Actor; a.Tenant != w.platform.c.Tenant || a.ID != w.platform.user.ID ||
			h.Home != w.platform.site || h.Caller.Tenant == a.Tenant {
			t.Errorf("an operator: %+v at %s", a, h.Home.Slug)
		}
		if h, err := w.guard.Admit(t.Context(), w.acme.c, w.acme.site,
			access.Proof{Bearer: w.opaque(w.acme, true, w.acme.site.Base)},
			access.Want{Own: resourceserver.Own{Scope: "manage"}}); err != nil || len(h.Rights.Actions()) != 0 {
			t.Errorf("rights that nobody wanted: %v %v", h.Rights.Actions(), err)
		}
	})
}

// A call that names no tenant goes to the tenant that its token claims to be from.
func TestHome(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		for name, tt := range map[string]struct {
			token string
			slug  string
		}{
			"a JWT":               {w.jwt(w.acme, w.acme.site.Base, "manage"), "acme"},
			"an opaque token":     {w.opaque(w.globex, false, w.globex.site.Base), "globex"},
			"nonsense":            {"nonsense", ""},
			"a foreign issuer's":  {"e30.eyJpc3MiOiJodHRwOi8vYSJ9.x", ""},
			"an issuer of no one": {"e30.eyJpc3MiOiJodHRwOi8vaWQudGVzdC90L25vYm9keSJ9.x", ""},
		} {
			for range 2 { // the second time the issuer is remembered
				site, err := w.guard.Home(t.Context(), tt.token)
				if site.Slug != tt.slug || (tt.slug == "") != errors.Is(err, grant.ErrToken) {
					t.Errorf("%s: %q %v, want %q", name, site.Slug, err, tt.slug)
				}
			}
		}
	})
}

// A token ends with its application.
func TestADisabledApplicationsTokenIsRefused(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.jwt(w.acme, w.acme.site.Base, "manage")
		w.update(w.acme, func(ctx context.Context, tx *db.Tx) error {
			off := application.Disabled
			_, _, err := application.Update(ctx, tx, role.Everything(), w.acme.app.ID, application.Patch{Status: &off})
			return err
		})
		w.guard.Tokens = careless{w.guard.Tokens} // as one that remembers tokens may be for a moment
		if _, err := w.guard.Admit(t.Context(), w.acme.c, w.acme.site, access.Proof{Bearer: token},
			access.Want{Own: resourceserver.Own{Scope: "manage"}}); !errors.Is(err, grant.ErrToken) {
			t.Errorf("%v", err)
		}
	})
}

// careless says that every token is good and the acme application's.
type careless struct{ access.Tokens }

func (careless) Verify(_ context.Context, _ caller.Caller, bearer string, _ grant.Along) (grant.Token, error) {
	claims := jose.Peek(bearer)
	app, err := id.Parse(claims.Subject)
	return grant.Token{Application: app, Audience: claims.Audience, Scopes: []string{"manage"}}, err
}
