package oidc_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/doors/oidc"
	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
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

var ctx = context.Background()

const redirectURI = "https://app.example.com/callback"

// world is a running server of the door with one tenant, on one database.
type world struct {
	*testkit.Database
	t         testing.TB
	server    *httptest.Server
	origin    string
	issuer    string
	c         caller.Caller // tenant acme
	user      user.User
	ring      *secret.KeyRing
	keys      *signingkey.Keys
	apps      *application.Directory
	recorder  *audit.Recorder
	refused   bool
	twoFactor bool
}

func both(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) { fn(t, newWorld(t, d)) })
}

func newWorld(t testing.TB, d *testkit.Database) *world {
	t.Helper()
	ring, err := secret.ParseKeyRing(secret.NewKey("test"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w := &world{Database: d, t: t, c: d.Tenant(t, "acme"), ring: ring}
	w.server = httptest.NewUnstartedServer(nil)
	w.origin = "http://" + w.server.Listener.Addr().String()
	w.issuer = w.origin + "/t/acme"
	public, err := url.Parse(w.origin)
	if err != nil {
		t.Fatal(err)
	}
	tenants := tenant.NewDirectory(d.DB, public, d.Clock, log)
	w.apps = application.NewDirectory(d.DB)
	w.keys = signingkey.New(d.DB, ring, d.Clock, tenant.Touch)
	tenants.Watch(w.apps.Drop)
	tenants.Watch(w.keys.Drop)
	w.recorder = audit.NewRecorder(d.DB, d.Clock, log)
	mux := http.NewServeMux()
	oidc.New(oidc.Deps{
		DB: d.DB, Applications: w.apps, Access: access.New(access.Deps{DB: d.DB, Tokens: &grant.Verifier{DB: d.DB, Keys: w.keys}, Sites: tenants, Applications: w.apps}), Keys: w.keys, Ring: ring, Records: w.recorder, Clock: d.Clock,
		MaySignIn: func(context.Context, *db.Tx, session.Session, id.ID) (signin.Verdict, error) {
			return signin.Verdict{SecondFactor: w.twoFactor, Refused: w.refused}, nil
		},
	}).Register(mux)
	w.server.Config.Handler = (&web.Handler{
		Sites: tenants, PublicURL: public, Tenant: mux, Metrics: web.NewMetrics(prometheus.NewRegistry()), Log: log, Clock: d.Clock,
	}).Ready()
	w.server.Start()
	t.Cleanup(func() { w.server.Close(); w.recorder.Close() })
	w.user = w.person("ada@example.com", "Ada", "Lovelace")
	return w
}

func (w *world) update(fn func(tx *db.Tx) error) {
	w.t.Helper()
	if err := w.Update(ctx, w.c, fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) person(email, given, family string) (u user.User) {
	w.t.Helper()
	w.update(func(tx *db.Tx) (err error) {
		u, err = user.Create(ctx, tx, user.New{Email: email, EmailVerified: true, GivenName: given, FamilyName: family})
		return err
	})
	return u
}

// client is an application with what it knows of itself.
type client struct {
	application.Application
	secret secret.String
	w      *world
}

// client registers an application; zero fields are those of a web application that
// is asked for no consent.
func (w *world) client(n application.New) *client {
	w.t.Helper()
	if n.Name == "" {
		n.Name = "App"
	}
	if n.Type == "" {
		n.Type, n.FirstParty = application.Web, true
	}
	if n.RedirectURIs == nil && n.Type != application.Machine {
		n.RedirectURIs = []string{redirectURI}
	}
	c := &client{w: w}
	w.update(func(tx *db.Tx) (err error) {
		c.Application, c.secret, err = application.Create(ctx, tx, n)
		return err
	})
	return c
}

// disable switches an application off, as an administrator would.
func (w *world) disable(c *client) {
	w.t.Helper()
	w.update(func(tx *db.Tx) error {
		tenant.Touch(tx)
		_, err := tx.Exec(ctx, `UPDATE applications SET status = 'disabled' WHERE tenant_id = $1 AND id = $2`, c.ID)
		return err
	})
}

// browser has cookies and follows no redirect by itself.
type browser struct {
	w *world
	http.Client
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{w, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is a response that was read.
type answer struct {
	*http.Response
	body string
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%d %q is not JSON: %v", a.StatusCode, a.body, err)
	}
	return m
}

func (b *browser) do(r *http.Request) answer {
	b.w.t.Helper()
	resp, err := b.Do(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

func (b *browser) get(address string) answer {
	b.w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.w.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	return b.do(r)
}

// cookie reads one of the site's cookies as the browser keeps it.
func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.w.issuer + "/x")
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == "gh_"+name {
			return c.Value
		}
	}
	return ""
}

// signIn starts a session as the sign-in pages would, and puts it in the browser.
func (b *browser) signIn(u user.User, amr ...string) (s session.Session) {
	b.w.t.Helper()
	if len(amr) == 0 {
		amr = []string{signin.Password}
	}
	var token secret.String
	b.w.update(func(tx *db.Tx) (err error) {
		s, token, err = session.Start(ctx, tx, session.New{User: u.ID, UserName: u.Email, AMR: amr})
		return err
	})
	base, _ := url.Parse(b.w.issuer + "/x")
	b.Jar.SetCookies(base, []*http.Cookie{{Name: "gh_session", Value: token.Reveal(), Path: "/t/acme"}})
	return s
}

// complete does what the sign-in pages do for a flow: u proves methods, a session is
// started, and consent given or not. It returns where the pages send the browser then.
func (b *browser) complete(at string, u user.User, allow bool, amr ...string) string {
	b.w.t.Helper()
	f := b.flow(at)
	var s session.Session
	if f.Session.IsZero() || len(amr) > 0 || f.User != u.ID {
		s = b.signIn(u, amr...)
	} else {
		s.ID, s.AMR = f.Session, f.AMR
	}
	b.w.update(func(tx *db.Tx) error {
		g := f
		for _, m := range s.AMR {
			g.Prove(u.ID, m, tx.Now())
		}
		g.Session, g.Consented, g.Denied = s.ID, allow, !allow
		if allow && len(f.ConsentScopes) > 0 {
			if err := grant.Consent(ctx, tx, u.ID, f.Application, f.ConsentScopes); err != nil {
				return err
			}
		}
		return signin.Save(ctx, tx, &g, signin.Policy{})
	})
	return b.w.origin + "/t/acme" + f.Return()
}

// flow loads the flow whose id is in the address that the browser was sent to.
func (b *browser) flow(at string) (f signin.Flow) {
	b.w.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		b.w.t.Fatal(err)
	}
	flow, err := id.Parse(u.Query().Get("flow"))
	if err != nil {
		b.w.t.Fatalf("no flow in %q: %v", at, err)
	}
	err = b.w.View(ctx, b.w.c, func(tx *db.Tx) (err error) {
		f, err = signin.Load(ctx, tx, flow, b.cookie("browser"))
		return err
	})
	if err != nil {
		b.w.t.Fatal(err)
	}
	return f
}

func pkce() (verifier, challenge string) {
	b := make([]byte, 32)
	rand.Read(b)
	verifier = base64.RawURLEncoding.EncodeToString(b)
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeURL is a good request of c, changed by kv; an empty value removes a parameter.
func (c *client) authorizeURL(challenge string, kv ...string) string {
	v := url.Values{
		"client_id": {c.ClientID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {"openid profile email offline_access"},
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
func (w *world) response(t testing.TB, a answer) url.Values {
	t.Helper()
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), redirectURI) {
		t.Fatalf("not redirected to the application: %d %s %.500s", a.StatusCode, a.Header.Get("Location"), a.body)
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
func (c *client) code(t testing.TB, u user.User, kv ...string) (code, verifier string) {
	t.Helper()
	b := c.w.browser()
	b.signIn(u)
	verifier, challenge := pkce()
	q := c.w.response(t, b.get(c.authorizeURL(challenge, kv...)))
	if q.Get("code") == "" || q.Get("state") != "s t&te" {
		t.Fatalf("no code: %v", q)
	}
	return q.Get("code"), verifier
}

// post sends a form as the client, authenticated as it is registered; an empty value
// leaves a parameter out.
func (c *client) post(path string, kv ...string) answer {
	c.w.t.Helper()
	v := url.Values{}
	if c.AuthMethod == application.AuthNone {
		v.Set("client_id", c.ClientID)
	}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, c.w.issuer+path, strings.NewReader(v.Encode()))
	if err != nil {
		c.w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.AuthMethod.Secret() {
		r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.secret.Reveal()))
	}
	return c.w.browser().do(r)
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
	return mustTokens(t, c.post("/oauth2/token", "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI, "code_verifier", verifier))
}

func (c *client) refresh(token string, kv ...string) answer {
	return c.post("/oauth2/token", append([]string{"grant_type", "refresh_token", "refresh_token", token}, kv...)...)
}

// signedIn is the whole way: sign-in, code, tokens.
func (c *client) signedIn(t testing.TB, u user.User, kv ...string) tokens {
	t.Helper()
	code, verifier := c.code(t, u, kv...)
	return c.redeem(t, code, verifier)
}

func mustTokens(t testing.TB, a answer) (got tokens) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("no tokens: %d %s", a.StatusCode, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// refusedWith checks the status and the error code of a direct answer.
func refusedWith(t testing.TB, what string, a answer, status int, code string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s: %d %s, want %d %s", what, a.StatusCode, a.body, status, code)
		return
	}
	m := a.json(t)
	if got := m["error"]; got != code {
		t.Errorf("%s: error %q, want %q (%s)", what, got, code, a.body)
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
func (w *world) claims(t testing.TB, token, typ string) (claims, header map[string]any) {
	t.Helper()
	a := w.browser().get(w.issuer + "/oauth2/jwks")
	set, err := jose.ParseSet([]byte(a.body))
	if err != nil {
		t.Fatalf("%s: %v", a.body, err)
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
func (w *world) actions() (out []string) {
	w.t.Helper()
	err := w.View(ctx, w.c, func(tx *db.Tx) (err error) {
		out, err = db.List(ctx, tx, func(r db.Row) (s string, err error) { return s, r.Scan(&s) },
			`SELECT action FROM audit_events WHERE tenant_id = $1 ORDER BY at, id LIMIT 1000`)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

type dbTx = db.Tx

// userinfo asks with a bearer token.
func (w *world) userinfo(token string) answer {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, w.issuer+"/oauth2/userinfo", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return w.browser().do(r)
}
