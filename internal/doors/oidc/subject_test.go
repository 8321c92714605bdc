package oidc_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// OpenID Connect Core §8.1: a pairwise application is told the same sub everywhere, and can use it
// in its requests. Our own doors know the user by the grant.
func TestPairwiseSubjects(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		told := newLogoutReceiver(t)
		pairwise := func(name, sector string) *client {
			return w.client(application.New{Name: name, Type: application.Web, FirstParty: true,
				SubjectType: application.Pairwise, SectorIdentifier: sector, BackchannelLogoutURI: told.URL,
				Scopes: []string{"openid", "profile", "email", "offline_access", application.ScopeManage}})
		}
		c, same := pairwise("App", ""), pairwise("Same", "app.example.com")
		elsewhere := pairwise("Other", "other.example")
		public := w.client(application.New{Name: "Public"})
		subOf := func(c *client, u user.User) string {
			id, _ := w.claims(t, c.signedIn(t, u).ID, "JWT")
			return id["sub"].(string)
		}
		b, _, hint := c.signInAt(t, w.user)
		id, _ := w.claims(t, hint, "JWT")
		sub := id["sub"].(string)
		if sub == w.user.ID.String() || subOf(same, w.user) != sub || subOf(elsewhere, w.user) == sub ||
			subOf(public, w.user) != w.user.ID.String() {
			t.Fatalf("sub %s", sub)
		}

		w.Do(w.c, func(tx *db.Tx) error {
			return grant.Consent(ctx, tx, w.user.ID, c.ID, []string{application.ScopeManage})
		})
		tokens := c.signedIn(t, w.user, "scope", "openid offline_access "+application.ScopeManage)
		at, _ := w.claims(t, tokens.Access, "at+jwt")
		again := mustTokens(t, c.refresh(tokens.Refresh))
		renewed, _ := w.claims(t, again.ID, "JWT")
		for place, got := range map[string]any{
			"access token": at["sub"], "userinfo": w.userinfo(tokens.Access).JSON(t)["sub"],
			"refreshed":               renewed["sub"],
			"introspection":           c.post("/oauth2/introspect", "token", tokens.Access).JSON(t)["sub"],
			"introspection (refresh)": c.post("/oauth2/introspect", "token", again.Refresh).JSON(t)["sub"],
		} {
			if got != sub {
				t.Errorf("%s: sub %v, want %s", place, got, sub)
			}
		}
		// Nothing that it was not granted tells it who the user is elsewhere.
		bare := c.signedIn(t, w.user, "scope", "openid offline_access")
		for _, token := range []string{bare.Access, bare.Refresh} {
			body := string(c.post("/oauth2/introspect", "token", token).Body)
			if !strings.Contains(body, `"active":true`) || strings.Contains(body, w.user.Email) ||
				strings.Contains(body, w.user.ID.String()) {
				t.Errorf("without a scope about the person, introspection says %s", body)
			}
		}
		if a := c.post("/oauth2/introspect", "token",
			c.signedIn(t, w.user, "scope", "openid email").Access).JSON(t); a["username"] != w.user.Email {
			t.Errorf("with the scope email, introspection says username %v", a["username"])
		}
		w.Do(w.c, func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfUser(w.user.ID), role.Owner, time.Time{})
		})
		w.Do(w.c, func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfApplication(c.ID), role.Owner, time.Time{})
		})
		if a := w.Call(tokens.Access, "GET", "acme", "/users/"+w.user.ID.String(), nil); a.Status != http.StatusOK {
			t.Errorf("the management API does not know the user: %d %s", a.Status, a.Body)
		}

		// What the application sends back.
		stranger := w.person("grace@example.com", "Grace", "Hopper")
		_, _, foreign := c.signInAt(t, stranger)
		_, _, others := elsewhere.signInAt(t, w.user)
		_, challenge := pkce()
		claims := func(sub string) string { return `{"id_token":{"sub":{"value":"` + sub + `"}}}` }
		for name, r := range map[string]struct {
			kv   []string
			want string
		}{
			"its own hint":           {[]string{"id_token_hint", hint}, ""},
			"another sector's hint":  {[]string{"id_token_hint", others}, ""},
			"another person's hint":  {[]string{"id_token_hint", foreign}, "login_required"},
			"its sub":                {[]string{"claims", claims(sub)}, ""},
			"another person's sub":   {[]string{"claims", claims(subOf(c, stranger))}, "login_required"},
			"another sector's sub":   {[]string{"claims", claims(subOf(elsewhere, w.user))}, "login_required"},
			"the user's id":          {[]string{"claims", claims(w.user.ID.String())}, "login_required"},
			"a sub and another hint": {[]string{"claims", claims(sub), "id_token_hint", foreign}, "login_required"},
		} {
			q := w.response(t, b.Visit(c.authorizeURL(challenge, append(r.kv, "prompt", "none")...)))
			if q.Get("error") != r.want {
				t.Errorf("%s: error %q, want %q", name, q.Get("error"), r.want)
			}
		}
		// Another user is signed in: the person of the hint signs in, and the hint is then met.
		for name, u := range map[string]user.User{"": w.user, "login_required": stranger} {
			b := w.browser()
			b.signIn(stranger)
			at := b.Visit(c.authorizeURL(challenge, "id_token_hint", hint)).Header.Get("Location")
			q := w.response(t, b.Visit(b.complete(at, u, true)))
			if q.Get("error") != name {
				t.Errorf("%s signed in: error %q, want %q", u.Email, q.Get("error"), name)
			}
		}

		told.take()
		b.Visit(w.logoutURL("id_token_hint", hint))
		w.Work()
		got := told.take()
		if len(got) != 1 {
			t.Fatalf("%d logout tokens", len(got))
		}
		if lt, _ := w.claims(t, got[0], "logout+jwt"); lt["sub"] != sub {
			t.Errorf("logout token: sub %v, want %s", lt["sub"], sub)
		}
	})
}

// A change of the subject type warns, and the sector stays when the addresses change.
func TestSubjectTypeSettings(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner := w.Holder("acme", role.Owner)
		app := w.Must(owner, "POST", "acme", "/applications", map[string]any{"name": "App", "type": "web",
			"redirect_uris": []string{"https://App.example.com/cb", "https://app.example.com/cb2"},
			"subject_type":  "pairwise"})
		if app["sector_identifier"] != "app.example.com" {
			t.Errorf("sector %v", app["sector_identifier"])
		}
		path := "/applications/" + app["id"].(string)
		got := w.Must(owner, "PATCH", "acme", path, map[string]any{"name": "Renamed",
			"redirect_uris": []string{"https://new.example.com/cb", "https://other.example.com/cb"}})
		if got["sector_identifier"] != "app.example.com" || got["warnings"] != nil {
			t.Errorf("moved: %v %v", got["sector_identifier"], got["warnings"])
		}
		for _, change := range []map[string]any{ // in this order: a public one has no sector that could change
			{"sector_identifier": "other.example"}, {"subject_type": "public"},
		} {
			a := w.Call(owner, "PATCH", "acme", path, change)
			if !strings.Contains(a.Body, "application.subjects_changed") {
				t.Errorf("%v: %d %s", change, a.Status, a.Body)
			}
		}
	})
}

// OpenID Connect Core §8.1: an application on several hosts has the sector of a document that lists
// its redirect URIs. The document is read before each change that it decides about.
func TestSectorIdentifierURI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		const a, b = "https://a.example/cb", "https://b.example/cb"
		var reads atomic.Int32
		var answer atomic.Value
		answer.Store(`["` + a + `", "` + b + `"]`)
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			reads.Add(1)
			_, _ = io.WriteString(rw, answer.Load().(string))
		}))
		t.Cleanup(s.Close)
		developer := w.Holder("acme", role.Developer)
		asked := map[string]any{"name": "App", "type": "web", "redirect_uris": []string{a, b},
			"subject_type": "pairwise", "sector_identifier_uri": s.URL}
		app := w.Must(developer, "POST", "acme", "/applications", asked)
		if app["sector_identifier"] != "127.0.0.1" || app["sector_identifier_uri"] != s.URL {
			t.Errorf("sector %v by %v", app["sector_identifier"], app["sector_identifier_uri"])
		}
		path := "/applications/" + app["id"].(string)
		w.Must(developer, "PATCH", "acme", path, map[string]any{"name": "Renamed", "redirect_uris": []string{a, b}})
		if n := reads.Load(); n != 1 {
			t.Errorf("the document was read %d times", n)
		}
		refused := func(what, method, path string, body map[string]any, field string) {
			t.Helper()
			if got := w.Call(developer, method, "acme", path, body); got.Status != http.StatusBadRequest ||
				!strings.Contains(got.Body, `"name":"`+field+`"`) {
				t.Errorf("%s: %d %s", what, got.Status, got.Body)
			}
		}
		moved := map[string]any{"redirect_uris": []string{a, "https://evil.example/cb"}}
		refused("an address that it does not list", "PATCH", path, moved, "redirect_uris[1]")
		for what, text := range map[string]string{"another array": `[1]`, "no array": `{"a": "b"}`, "no JSON": `[`} {
			answer.Store(text)
			refused(what, "POST", "/applications", asked, "sector_identifier_uri")
		}
		inside := maps.Clone(asked)
		inside["sector_identifier_uri"] = "https://169.254.169.254/sector.json"
		refused("an address inside", "POST", "/applications", inside, "sector_identifier_uri")
		answer.Store(`["` + a + `"]`)
		refused("a document that lists one", "POST", "/applications", asked, "redirect_uris[1]")
		w.Must(developer, "PATCH", "acme", path, map[string]any{"redirect_uris": []string{a}})

		// Without a document it is the word of those who may trust.
		for what, change := range map[string]map[string]any{
			"another sector": {"sector_identifier_uri": "", "sector_identifier": "other.example"},
			"no document":    {"sector_identifier_uri": "", "redirect_uris": []string{b}},
		} {
			if got := w.Call(developer, "PATCH", "acme", path, change); got.Status != http.StatusForbidden {
				t.Errorf("%s: %d %s", what, got.Status, got.Body)
			}
		}
		named := map[string]any{"name": "App", "type": "web", "redirect_uris": []string{a},
			"subject_type": "pairwise", "sector_identifier": "other.example"}
		if got := w.Call(developer, "POST", "acme", "/applications", named); got.Status != http.StatusForbidden {
			t.Errorf("created with another sector: %d %s", got.Status, got.Body)
		}
		w.Must(w.Holder("acme", role.Owner), "POST", "acme", "/applications", named)
	})
}
