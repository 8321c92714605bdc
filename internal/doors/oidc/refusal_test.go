package oidc_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

func (w *scene) events(f audit.Filter) []audit.Record {
	w.T.Helper()
	l, err := db.Read(ctx, w.DB, w.c, func(tx *db.Tx) (page.List[audit.Record], error) {
		return audit.List(ctx, tx, f, page.Request{Limit: 200})
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return l.Items
}

// An operator finds the refusal of an application by the request id of its answer.
func TestRefusalsAreAudited(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Name: "App", Type: application.Web, FirstParty: true})
		for name, r := range map[string]struct {
			request *http.Request
			action  string
			want    []string
		}{
			"a wrong secret": {form(w, "/oauth2/token", "grant_type", "client_credentials", "client_id", c.ClientID,
				"client_secret", "wrong"), "client.refuse",
				[]string{c.ClientID, "authentication by client_secret_post"}},
			"an unknown client": {form(w, "/oauth2/token", "grant_type", "client_credentials", "client_id", "nobody"),
				"client.refuse", []string{"nobody", "no such client"}},
			"another redirect URI": {query(w, "client_id", c.ClientID, "redirect_uri", "https://evil.example/cb",
				"response_type", "code"), "authorize.refuse", []string{c.ClientID, "https://evil.example/cb",
				"redirect_uri_unknown"}},
			"two ways at once": {form(w, "/oauth2/token", "client_id", c.ClientID, "client_secret", "wrong",
				"client_assertion_type", assertionType, "client_assertion", "x"), "client.refuse",
				[]string{c.ClientID, "exactly one way"}},
			"a sign-out to another address": {get(w, "/oauth2/logout", "client_id", c.ClientID,
				"post_logout_redirect_uri", "https://evil.example/out"), "logout.refuse", []string{c.ClientID,
				"https://evil.example/out", "post_logout_redirect_uri_unknown"}},
			"a sign-out of no application": {get(w, "/oauth2/logout", "post_logout_redirect_uri",
				"https://app.example.com/out"), "logout.refuse", []string{"client_id_missing"}},
			"a sign-out of an unknown application": {get(w, "/oauth2/logout", "client_id", "nobody",
				"id_token_hint", "nonsense", "post_logout_redirect_uri", "https://app.example.com/out"), "logout.refuse",
				[]string{"nobody", "client_unknown"}},
			"a bad hint": {get(w, "/oauth2/logout", "id_token_hint", "nonsense", "post_logout_redirect_uri",
				"https://app.example.com/out"), "logout.refuse", []string{"hint_invalid"}},
			"another response type": {query(w, "client_id", c.ClientID, "redirect_uri", redirectURI,
				"response_type", "token"), "authorize.refuse", []string{c.ClientID, redirectURI,
				"unsupported_response_type"}},
			"a silent request without a session": {query(w, "client_id", c.ClientID, "redirect_uri", redirectURI,
				"response_type", "code", "scope", "openid", "nonce", "n", "prompt", "none"), "authorize.refuse",
				[]string{c.ClientID, redirectURI, "login_required"}},
			"an unknown code": {form(w, "/oauth2/token", "grant_type", "authorization_code", "code", "x",
				"client_id", c.ClientID, "client_secret", c.Secret.Reveal(), "redirect_uri", redirectURI),
				"token_request.refuse", []string{c.ClientID, redirectURI, "invalid_grant", "unknown"}},
			"another grant type": {form(w, "/oauth2/token", "grant_type", "password", "client_id", c.ClientID,
				"client_secret", c.Secret.Reveal()), "token_request.refuse",
				[]string{c.ClientID, "unsupported_grant_type"}},
			"JSON": {body(w, "/oauth2/token", "application/json", `{"grant_type":"client_credentials"}`),
				"token_request.refuse", []string{"invalid_request", "request.content_type"}},
			"introspection of nothing": {form(w, "/oauth2/introspect", "client_id", c.ClientID,
				"client_secret", c.Secret.Reveal()), "introspection.refuse", []string{c.ClientID, "token is missing"}},
			"introspection by a stranger": {form(w, "/oauth2/introspect", "client_id", "nobody", "token", "x"),
				"client.refuse", []string{"nobody", "no such client"}},
			"revocation of nothing": {form(w, "/oauth2/revoke", "client_id", c.ClientID,
				"client_secret", c.Secret.Reveal()), "revocation.refuse", []string{c.ClientID, "token is missing"}},
			"userinfo without a good token": {form(w, "/oauth2/userinfo", "access_token", "x"), "userinfo.refuse",
				[]string{"invalid_token"}},
			"a flow that is not there": {get(w, "/oauth2/authorize/continue", "flow", "x"), "authorize.refuse",
				[]string{"signin.gone"}},
		} {
			got := w.Send(r.request)
			request := got.Header.Get("X-Request-Id")
			found := w.events(audit.Filter{RequestID: request, Outcome: audit.Refused})
			if request == "" || len(found) != 1 || found[0].Action != r.action || found[0].Outcome != audit.Refused {
				t.Errorf("%s: request %q left %+v", name, request, found)
				continue
			}
			if known := slices.Contains(r.want, c.ClientID); known && found[0].Target != (audit.Target{
				Kind: "application", ID: c.ID.String(), Name: "App"}) || !known && found[0].Target.ID != "" {
				t.Errorf("%s: target %+v", name, found[0].Target)
			}
			for _, part := range r.want {
				if !strings.Contains(string(found[0].Detail), part) {
					t.Errorf("%s: %s does not say %s", name, found[0].Detail, part)
				}
			}
		}
		// A stranger cannot fill the audit log with them.
		for range 60 {
			w.Send(query(w, "client_id", "nobody", "redirect_uri", redirectURI, "response_type", "code"))
		}
		if n := len(w.events(audit.Filter{Action: "authorize.refuse"})); n > 12 {
			t.Errorf("64 refused requests of one address left %d events", n)
		}
	})
}

// The log and the audit log say what was not as in the authorization request. The answer does not,
// because a thief may have sent the code.
func TestACodeThatDiffersSaysHow(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Name: "App", Type: application.Web, FirstParty: true})
		answers := map[string]bool{}
		for want, kv := range map[string]func(verifier string) []string{
			"redirect_uri is not": func(verifier string) []string {
				return []string{"redirect_uri", "https://evil.example/cb", "code_verifier", verifier}
			},
			"code_verifier is not": func(verifier string) []string {
				return []string{"redirect_uri", redirectURI, "code_verifier", verifier + "x"}
			},
		} {
			code, verifier := c.code(t, w.user)
			a := c.post("/oauth2/token", append(kv(verifier), "grant_type", "authorization_code", "code", code)...)
			answers[a.JSON(t)["error_description"].(string)] = true
			found := w.events(audit.Filter{RequestID: a.Header.Get("X-Request-Id"), Outcome: audit.Refused})
			if a.Status != http.StatusBadRequest || len(found) != 2 {
				t.Fatalf("%s: %d %s, %d events", want, a.Status, a.Body, len(found))
			}
			for _, e := range found {
				if !strings.Contains(string(e.Detail), want) {
					t.Errorf("%s of %q: %s", e.Action, want, e.Detail)
				}
			}
			if !strings.Contains(w.Log.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		if len(answers) != 1 {
			t.Errorf("the answers differ: %v", answers)
		}
	})
}

func form(w *scene, path string, pairs ...string) *http.Request {
	return body(w, path, "application/x-www-form-urlencoded", encode(pairs))
}

func body(w *scene, path, contentType, text string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, "POST", w.issuer+path, strings.NewReader(text))
	if err != nil {
		w.T.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

func query(w *scene, pairs ...string) *http.Request { return get(w, "/oauth2/authorize", pairs...) }

func get(w *scene, path string, pairs ...string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, "GET", w.issuer+path+"?"+encode(pairs), nil)
	if err != nil {
		w.T.Fatal(err)
	}
	return r
}

func encode(pairs []string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
