package pages_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pages"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/policies"
)

var ctx = context.Background()

const password = "correct horse battery staple"

var base = compiler.NewBase(policies.Files)

// house is the pages of one tenant behind a loopback listener, on a database of its own.
type house struct {
	*testkit.Database
	t         *testing.T
	c         caller.Caller
	url       string // of the tenant's base
	apps      *application.Directory
	runner    *job.Runner
	hasher    *credential.Hasher
	totp      credential.TOTP
	decisions *decision.Recorder
	engine    *signin.Engine
	client    string // where the application's answer goes

	mu   sync.Mutex
	mail []mail.Message
}

// Send implements mail.Sender: the outside world.
func (h *house) Send(_ context.Context, m mail.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mail = append(h.mail, m)
	return nil
}

// both runs fn on each database with a tenant that has the settings given.
func both(t *testing.T, change func(*tenant.Settings), fn func(t *testing.T, h *house)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) { fn(t, build(t, d, change)) })
}

func build(t *testing.T, d *testkit.Database, change func(*tenant.Settings)) *house {
	t.Helper()
	settings := tenant.DefaultSettings()
	settings.Locale = "en"
	if change != nil {
		change(&settings)
	}
	h := &house{Database: d, t: t}
	system := caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "test"}}
	if err := d.System(ctx, system, "test fixture", func(st *db.SystemTx) error {
		made, err := tenant.Create(ctx, st, tenant.New{Slug: "acme", Name: "Acme", Settings: &settings})
		h.c = caller.Caller{Tenant: made.ID, Actor: system.Actor}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	keys, err := secret.ParseKeyRing(secret.String("k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32))))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewUnstartedServer(nil)
	public := &url.URL{Scheme: "http", Host: server.Listener.Addr().String()}
	tenants := tenant.NewDirectory(d.DB, public, d.Clock, log)
	h.apps = application.NewDirectory(d.DB)
	h.hasher = credential.NewHasher(credential.HasherConfig{Params: credential.Params{Memory: 64, Passes: 1, Lanes: 1}})
	h.totp = credential.TOTP{Keys: keys}
	queue := job.NewQueue(keys)
	h.runner = job.NewRunner(d.DB, queue, d.Clock, log)
	h.runner.Handle(mail.JobKind, mail.Handle(h))
	h.decisions = decision.NewRecorder(d.DB, keys, log)
	t.Cleanup(h.decisions.Close)
	h.engine = &signin.Engine{Policies: engine.New(nil, base), Decisions: h.decisions, Tenants: tenants, Clock: d.Clock}
	door, err := pages.New(pages.Deps{DB: d.DB, Tenants: tenants, Applications: h.apps, Hasher: h.hasher, TOTP: h.totp, Queue: queue, SignIn: h.engine})
	if err != nil {
		t.Fatal(err)
	}
	door.Jobs(h.runner)
	mux := web.NewRoutes(door.Refuse)
	door.Register(mux)
	// The door that begins flows for applications would answer here.
	mux.Group(web.Landing, nil).HandleFunc("GET /oauth2/authorize/continue", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, h.client, http.StatusSeeOther)
	})
	server.Config.Handler = (&web.Handler{
		Sites: tenants, PublicURL: public, Tenant: mux, Metrics: web.NewMetrics(prometheus.NewRegistry()), Log: log, Clock: d.Clock,
	}).Ready()
	server.Start()
	t.Cleanup(server.Close)
	h.url = public.String() + "/t/acme"
	return h
}

// person adds an active user with the password.
func (h *house) person(email string) (u user.User) {
	h.t.Helper()
	phc, err := h.hasher.Hash(ctx, password)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Update(ctx, h.c, func(tx *db.Tx) (err error) {
		if u, err = user.Create(ctx, tx, user.Profile{Email: email, GivenName: "Ada"}); err != nil {
			return err
		}
		return credential.SetPassword(ctx, tx, u.ID, phc)
	}); err != nil {
		h.t.Fatal(err)
	}
	return u
}

// work does all due jobs and returns the mails they sent.
func (h *house) work() []mail.Message {
	h.t.Helper()
	for h.runner.Work(ctx) {
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := h.mail
	h.mail = nil
	return sent
}

var linkRE = regexp.MustCompile(`http://\S+`)

// linkIn is the path and query of the link in the only mail sent to an address.
func (h *house) linkIn(sent []mail.Message, to string) string {
	h.t.Helper()
	if len(sent) != 1 || sent[0].To != to {
		h.t.Fatalf("%d mails were sent, want one to %s: %+v", len(sent), to, sent)
	}
	return strings.TrimPrefix(linkRE.FindString(sent[0].Text), h.url)
}

// guest is somebody at a browser without JavaScript.
type guest struct {
	h    *house
	http *http.Client
}

func (h *house) guest() *guest {
	jar, _ := cookiejar.New(nil)
	return &guest{h: h, http: &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is one page.
type answer struct {
	status   int
	path     string // of the page, below the tenant's base, with its query
	body     string
	location string // of a redirect that leads away
	header   http.Header
}

// text is what the page says, without markup.
func (a answer) text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(a.body, " "))), " ")
}

var (
	tags     = regexp.MustCompile(`(?s)<head>.*?</head>|<svg.*?</svg>|<[^>]*>`)
	hiddenRE = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)"`)
	actionRE = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	secretRE = regexp.MustCompile(`id="totp-secret">([^<]*)<`)
	codesRE  = regexp.MustCompile(`<li><code>([^<]*)</code>`)
)

// get opens a page and follows redirects within the tenant.
func (g *guest) get(path string) answer {
	g.h.t.Helper()
	return g.send(http.MethodGet, path, nil)
}

// post sends a form and follows redirects within the tenant.
func (g *guest) post(path string, form url.Values) answer {
	g.h.t.Helper()
	return g.send(http.MethodPost, path, form)
}

func (g *guest) send(method, path string, form url.Values) answer {
	g.h.t.Helper()
	for range 12 {
		r, err := http.NewRequest(method, g.h.url+path, strings.NewReader(form.Encode()))
		if err != nil {
			g.h.t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := g.http.Do(r)
		if err != nil {
			g.h.t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			g.h.t.Fatal(err)
		}
		a := answer{status: res.StatusCode, path: path, body: string(b), header: res.Header}
		if a.status >= 500 && a.status != http.StatusServiceUnavailable {
			g.h.t.Errorf("%s %s answers %d: %s", method, path, a.status, a.text())
		}
		if a.status < 300 || a.status >= 400 {
			return a
		}
		to, err := res.Location()
		if err != nil {
			g.h.t.Fatal(err)
		}
		below, ok := strings.CutPrefix(to.String(), g.h.url)
		if !ok || strings.HasPrefix(below, "/oauth2/") {
			a.location = to.String()
			return a
		}
		method, path, form = http.MethodGet, below, nil
	}
	g.h.t.Fatalf("redirects without end, last to %s", path)
	return answer{}
}

// fill answers the last form on the page with the values given, besides its hidden ones.
func (g *guest) fill(a answer, values ...string) answer {
	g.h.t.Helper()
	return g.fillForm(a, "", values...)
}

// fillForm is fill for the form whose action ends in action.
func (g *guest) fillForm(a answer, action string, values ...string) answer {
	g.h.t.Helper()
	for _, at := range actionRE.FindAllStringSubmatchIndex(a.body, -1) {
		to := html.UnescapeString(a.body[at[2]:at[3]])
		if action != "" && !strings.HasSuffix(to, action) || action == "" && strings.HasSuffix(to, "/signin/forget") {
			continue
		}
		part, _, _ := strings.Cut(a.body[at[0]:], "</form>")
		form := url.Values{}
		for _, m := range hiddenRE.FindAllStringSubmatch(part, -1) {
			form.Set(m[1], html.UnescapeString(m[2]))
		}
		for i := 0; i+1 < len(values); i += 2 {
			form.Set(values[i], values[i+1])
		}
		return g.post(strings.TrimPrefix(to, "/t/acme"), form)
	}
	g.h.t.Fatalf("%s has no such form: %s", a.path, a.text())
	return answer{}
}

// signIn signs in with the password and returns the page that comes then.
func (g *guest) signIn(login string) answer {
	g.h.t.Helper()
	return g.fill(g.get("/account"), "username", login, "password", password)
}

// session is what GET /account/session says: the session, or nil with the status 401.
func (g *guest) session() map[string]any {
	g.h.t.Helper()
	res, err := g.http.Get(g.h.url + "/account/session")
	if err != nil {
		g.h.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var s map[string]any
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		g.h.t.Fatal(err)
	}
	switch res.StatusCode {
	case http.StatusOK:
		return s
	case http.StatusUnauthorized:
		return nil
	}
	g.h.t.Fatalf("GET /account/session answers %d: %v", res.StatusCode, s)
	return nil
}

// cookie is the value of one of the tenant's cookies.
func (g *guest) cookie(name string) string {
	u, _ := url.Parse(g.h.url + "/x")
	for _, c := range g.http.Jar.Cookies(u) {
		if c.Name == "gh_"+name {
			return c.Value
		}
	}
	return ""
}

// setCookie puts a cookie into the browser.
func (g *guest) setCookie(name, value string) {
	u, _ := url.Parse(g.h.url + "/x")
	g.http.Jar.SetCookies(u, []*http.Cookie{{Name: "gh_" + name, Value: value, Path: "/t/acme"}})
}

// code is what an authenticator app with the page's key shows now.
func (h *house) code(key string) string {
	h.t.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(key, " ", ""), h.Clock.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	return code
}

func find(t *testing.T, re *regexp.Regexp, a answer) string {
	t.Helper()
	m := re.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("%s does not show %s: %s", a.path, re, a.text())
	}
	return m[1]
}

// says fails the test unless the page has the status and says the sentence.
func says(t *testing.T, a answer, status int, sentence string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.text(), sentence) {
		t.Errorf("%s answers %d, %q; want %d with %q", a.path, a.status, a.text(), status, sentence)
	}
}
