package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

var ctx = context.Background()

const redirectURI = "https://app.example.com/callback"

// scene is the world of the door's tests: the tenant acme, its user, and their browsers.
type scene struct {
	*world.World
	issuer string
	c      caller.Caller // in acme
	user   user.User
}

func both(t *testing.T, fn func(t *testing.T, w *scene)) {
	t.Helper()
	world.Both(t, func(t *testing.T, w *world.World) { fn(t, newScene(w)) })
}

func newScene(w *world.World) *scene {
	s := &scene{World: w, issuer: w.Base("acme"), c: w.Tenant("acme", nil)}
	s.user = s.person("ada@example.com", "Ada", "Lovelace")
	return s
}

func (w *scene) person(email, given, family string) user.User {
	w.T.Helper()
	return w.User(w.c, user.Profile{Email: email, EmailVerified: true, GivenName: given, FamilyName: family})
}

// client is an application at the scene.
type client struct {
	world.Client
	w *scene
}

// client registers an application; zero fields are those of a web application that
// is asked for no consent.
func (w *scene) client(n application.New) *client {
	w.T.Helper()
	if n.Name == "" {
		n.Name = "App"
	}
	if n.Type == "" {
		n.Type, n.FirstParty = application.Web, true
	}
	if n.RedirectURIs == nil && n.Type != application.Machine {
		n.RedirectURIs = []string{redirectURI}
	}
	return &client{w.Client(w.c, n), w}
}

// disable switches an application off, as an administrator would.
func (w *scene) disable(c *client) {
	w.T.Helper()
	w.Do(w.c, func(tx *db.Tx) error {
		tenant.Touch(tx)
		_, err := tx.Exec(ctx, `UPDATE applications SET status = 'disabled' WHERE tenant_id = $1 AND id = $2`, c.ID)
		return err
	})
}

// browser is a browser at the scene.
type browser struct {
	*world.Browser
	w *scene
}

func (w *scene) browser() *browser { return &browser{w.Browser("acme"), w} }

// signIn starts a session as the sign-in pages would, and puts it in the browser.
func (b *browser) signIn(u user.User, proved ...*signin.Method) session.Session {
	b.w.T.Helper()
	if len(proved) == 0 {
		proved = []*signin.Method{signin.Password}
	}
	var amr []string
	for _, m := range proved {
		amr = append(amr, m.AMR)
	}
	var s session.Session
	var token secret.String
	b.w.Do(b.w.c, func(tx *db.Tx) error {
		var err error
		s, token, err = session.Start(ctx, tx, session.New{User: u.ID, UserName: u.Email, AMR: amr,
			ACR: signin.LevelOf(amr)})
		return err
	})
	b.SetCookie("session", token.Reveal())
	return s
}

// complete does what the sign-in pages do for a flow: u proves methods, a session is
// started, and consent given or not. It returns where the pages send the browser then.
func (b *browser) complete(at string, u user.User, allow bool, proved ...*signin.Method) string {
	b.w.T.Helper()
	f := b.flow(at)
	on := f.Session
	if f.Session.IsZero() || len(proved) > 0 || f.User != u.ID {
		if len(proved) == 0 {
			proved = []*signin.Method{signin.Password}
		}
		on = b.signIn(u, proved...).ID
	}
	b.change(f, func(tx *db.Tx, s *signin.Standing) error {
		for _, m := range proved {
			s.Prove(u, m, tx.Now())
		}
		s.Flow.Session, s.Flow.Consented, s.Flow.Denied = on, allow, !allow
		if !allow || len(f.ConsentScopes) == 0 {
			return nil
		}
		return grant.Consent(ctx, tx, u.ID, f.Application, f.ConsentScopes)
	})
	return b.w.issuer + f.Return()
}

// change runs a step of a flow as the sign-in pages would.
func (b *browser) change(f signin.Flow, do func(tx *db.Tx, s *signin.Standing) error) {
	b.w.T.Helper()
	b.w.Do(b.w.c, func(tx *db.Tx) error {
		s, err := b.w.App.SignIn.Inspect(ctx, tx, f, b.Cookie("session"))
		if err != nil {
			return err
		}
		_, err = b.w.App.SignIn.Advance(ctx, tx, s, signin.Browser{Secret: b.Cookie("browser")},
			func(_ context.Context, tx *db.Tx, s *signin.Standing) (bool, error) {
				return true, do(tx, s)
			})
		return err
	})
}

// flow reads the flow whose id is in the address that the browser was sent to.
func (b *browser) flow(at string) signin.Flow {
	var f signin.Flow
	b.w.T.Helper()
	u, err := url.Parse(at)
	if err != nil {
		b.w.T.Fatal(err)
	}
	flow, err := id.Parse(u.Query().Get("flow"))
	if err != nil {
		b.w.T.Fatalf("no flow in %q: %v", at, err)
	}
	err = b.w.View(ctx, b.w.c, func(tx *db.Tx) error {
		s, err := b.w.App.SignIn.Read(ctx, tx, flow, signin.Browser{
			Secret: b.Cookie("browser"), Tokens: []string{b.Cookie("session")},
			Carried: []string{b.Cookie(signin.CarriedCookie + "_" + flow.String())}})
		f = s.Flow
		return err
	})
	if err != nil {
		b.w.T.Fatal(err)
	}
	return f
}

func pkce() (string, string) {
	var verifier string
	b := make([]byte, 32)
	rand.Read(b)
	verifier = base64.RawURLEncoding.EncodeToString(b)
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeURL is a good request of c, changed by kv; an empty value removes a parameter.
func (c *client) authorizeURL(challenge string, kv ...string) string {
	v := url.Values{
		"client_id": {
			c.ClientID}, "redirect_uri": {redirectURI}, "response_type": {"code"},
		"scope": {"openid profile email offline_access"},
		"state": {"s t&te"}, "nonce": {"n-1"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(kv); i += 2 {
		if v.Set(kv[i], kv[i+1]); kv[i+1] == "" {
			v.Del(kv[i])
		}
	}
	return c.w.issuer + "/oauth2/authorize?" + v.Encode()
}

// response reads the authorization response that a was redirected with, and checks
// what every one of them must have (RFC 9207).
func (w *scene) response(t testing.TB, a world.Answer) url.Values {
	t.Helper()
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), redirectURI) {
		t.Fatalf("not redirected to the application: %d %s %.500s", a.Status, a.Header.Get("Location"), a.Body)
	}
	u, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("iss") != w.issuer {
		t.Errorf("iss = %q, want %q", q.Get("iss"), w.issuer)
	}
	if d := q.Get("error_description"); !describing(d) {
		t.Errorf("error_description %q is not of RFC 6749 §4.1.2.1", d)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of the authorization response is %q", got)
	}
	return q
}

// code signs u in, in a browser of its own, and returns the code and its verifier.
func (c *client) code(t testing.TB, u user.User, kv ...string) (string, string) {
	var verifier string
	t.Helper()
	b := c.w.browser()
	b.signIn(u)
	verifier, challenge := pkce()
	q := c.w.response(t, b.Visit(c.authorizeURL(challenge, kv...)))
	if q.Get("code") == "" || q.Get("state") != "s t&te" {
		t.Fatalf("no code: %v", q)
	}
	return q.Get("code"), verifier
}

// post sends a form as the client, authenticated as it is registered; an empty value
// leaves a parameter out.
func (c *client) post(path string, kv ...string) world.Answer {
	c.w.T.Helper()
	v := url.Values{}
	if c.AuthMethod == application.AuthNone {
		v.Set("client_id", c.ClientID)
	}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, c.w.issuer+path, strings.NewReader(v.Encode()))
	if err != nil {
		c.w.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.AuthMethod.Secret() {
		r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.Secret.Reveal()))
	}
	return c.w.browser().Send(r)
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Scope   string `json:"scope"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"`
}

// redeem exchanges a code that must be good.
func (c *client) redeem(t testing.TB, code, verifier string) tokens {
	t.Helper()
	return mustTokens(t, c.post("/oauth2/token", "grant_type", "authorization_code", "code", code, "redirect_uri",
		redirectURI, "code_verifier", verifier))
}

func (c *client) refresh(token string, kv ...string) world.Answer {
	return c.post("/oauth2/token", append([]string{"grant_type", "refresh_token", "refresh_token", token}, kv...)...)
}

// signedIn is the whole way: sign-in, code, tokens.
func (c *client) signedIn(t testing.TB, u user.User, kv ...string) tokens {
	t.Helper()
	code, verifier := c.code(t, u, kv...)
	return c.redeem(t, code, verifier)
}

func mustTokens(t testing.TB, a world.Answer) tokens {
	var got tokens
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("no tokens: %d %s", a.Status, a.Body)
	}
	if err := json.Unmarshal([]byte(a.Body), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// refusedWith checks the status and the error code of a direct answer.
func refusedWith(t testing.TB, what string, a world.Answer, status int, code string) {
	t.Helper()
	if a.Status != status {
		t.Errorf("%s: %d %s, want %d %s", what, a.Status, a.Body, status, code)
		return
	}
	m := a.JSON(t)
	if got := m["error"]; got != code {
		t.Errorf("%s: error %q, want %q (%s)", what, got, code, a.Body)
	}
	if d, _ := m["error_description"].(string); d == "" || !describing(d) {
		t.Errorf("%s: error_description %q is not of RFC 6749 §5.2", what, d)
	}
}

// describing reports whether s has only the characters of an error_description.
func describing(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

// claims checks a token against the published keys and returns its claims and header.
func (w *scene) claims(t testing.TB, token, typ string) (map[string]any, map[string]any) {
	var claims, header map[string]any
	t.Helper()
	a := w.browser().Visit(w.issuer + "/oauth2/jwks")
	set, err := jose.ParseSet([]byte(a.Body))
	if err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
	payload, err := jose.Verify(token, []string{typ}, set.Find)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	h, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err == nil {
		err = json.Unmarshal(h, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims, header
}

// actions lists the audit actions of the tenant in order.
func (w *scene) actions() []string {
	w.T.Helper()
	scan := func(r db.Row) (string, error) {
		var s string
		err := r.Scan(&s)
		return s, err
	}
	out, err := db.Read(ctx, w.DB, w.c, func(tx *db.Tx) ([]string, error) {
		return db.List(ctx, tx, scan,
			`SELECT action FROM audit_events WHERE tenant_id = $1 ORDER BY at, id LIMIT 1000`)
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return out
}

// userinfo asks with a bearer token.
func (w *scene) userinfo(token string) world.Answer {
	w.T.Helper()
	return w.Send(w.Request(token, http.MethodGet, "acme", "/oauth2/userinfo", "", nil))
}
