package pages

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Tenants finds a tenant with its settings; tenant.Directory is one.
type Tenants interface {
	ByID(ctx context.Context, tenant id.ID) (*tenant.Tenant, error)
}

// APIs finds an API by its identifier; resourceserver.Directory is one.
type APIs interface {
	Within(ctx context.Context, tx *db.Tx, identifier string) (*resourceserver.API, error)
	ByIdentifier(ctx context.Context, c caller.Caller, identifier string) (*resourceserver.API, error)
}

// Applications finds an application by its id; application.Directory is one.
type Applications interface {
	ByID(ctx context.Context, c caller.Caller, application id.ID) (*application.Application, error)
}

// Deps holds what the door needs. All fields are required.
type Deps struct {
	DB           *db.DB
	Tenants      Tenants
	Applications Applications
	APIs         APIs
	Hasher       *credential.Hasher
	TOTP         credential.TOTP
	Queue        *job.Queue
	SignIn       *signin.Engine
}

// Door serves the pages. It is safe for concurrent use.
type Door struct {
	Deps
	renderer *renderer
	letters  *letters
}

// New returns the door. It fails if the embedded templates or texts cannot be read.
func New(d Deps) (*Door, error) {
	r, err := commonRenderer()
	if err != nil {
		return nil, err
	}
	l, err := newLetters(r.words)
	if err != nil {
		return nil, err
	}
	return &Door{Deps: d, renderer: r, letters: l}, nil
}

// Register adds the pages to the mux of a tenant's base.
func (d *Door) Register(routes *web.Routes) {
	mux := routes.Group(web.Page, nil)
	mux.HandleFunc("GET "+stylesheetPath, serveStylesheet)
	for pattern, h := range map[string]handler{
		"GET /signin":                        d.showSignIn,
		"POST /signin/password":              d.signInPassword,
		"POST /signin/totp":                  d.signInTOTP,
		"GET /signin/recovery":               d.showRecovery,
		"POST /signin/recovery":              d.signInRecovery,
		"POST /signin/enrol":                 d.signInEnrol,
		"POST /signin/consent":               d.signInConsent,
		"POST /signin/leave":                 d.signInLeave,
		"POST /signin/forget":                d.signInForget,
		"GET /register":                      d.showRegister,
		"POST /register":                     d.register,
		"GET /register/sent":                 d.showRegistered,
		"POST /register/again":               d.registerAgain,
		"GET /confirm":                       d.showConfirm,
		"POST /confirm":                      d.confirm,
		"GET /forgotten":                     d.showForgotten,
		"POST /forgotten":                    d.forgotten,
		"GET /forgotten/sent":                d.showForgottenSent,
		"GET /reset":                         d.showReset,
		"POST /reset":                        d.reset,
		"GET /setup":                         d.showSetup,
		"POST /setup":                        d.setup,
		"GET " + invitation.Path:             d.showInvitation,
		"POST " + invitation.Path:            d.acceptInvitation,
		"GET /device":                        d.showDevice,
		"POST /device":                       d.beginDevice,
		"GET " + deviceDone:                  d.showDeviceDone,
		"GET /signout":                       d.showSignOut,
		"POST /signout":                      d.signOut,
		"GET /signedout":                     d.showSignedOut,
		"GET /account":                       d.showAccount,
		"GET /account/password":              d.showPassword,
		"POST /account/password":             d.changePassword,
		"GET /account/authenticator":         d.showAuthenticator,
		"POST /account/authenticator":        d.confirmAuthenticator,
		"POST /account/authenticator/codes":  d.newRecoveryCodes,
		"POST /account/authenticator/remove": d.removeAuthenticator,
		"GET /account/sessions":              d.showSessions,
		"POST /account/sessions/revoke":      d.revokeSession,
		"POST /account/signout":              d.signOut,
	} {
		mux.HandleFunc(pattern, d.handle(h))
	}
	mux.HandleFunc("GET /account/session", d.serveSession)
	// Everything else below the pages' own paths is a page that says so.
	for _, pattern := range []string{"GET /{$}", "GET /account/{$}", "GET /signin/{rest...}",
		"GET /account/{rest...}"} {
		mux.HandleFunc(pattern, d.handle(d.showNothing))
	}
}

// Jobs registers the handlers of the jobs that the pages enqueue.
func (d *Door) Jobs(r *job.Runner) { r.Handle(resetMailJob, d.mailReset) }

type handler func(v *visit) error

// visit is one request to a page.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	site    web.Site
	caller  caller.Caller
	tenant  *tenant.Tenant
	browser string
	form    url.Values // of a POST
	look    look
	words   *words
	end     func() // ends the context of r
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// afterProof bounds what follows the verification of a password.
const afterProof = 10 * time.Second

// verify verifies a password. The rest of the request then runs although the client leaves.
// Otherwise a wrong password would not count.
func (d *Door) verify(v *visit, try *signin.PasswordTry, password secret.String) error {
	if err := try.Verify(v.ctx(), d.Hasher, password); err != nil {
		return err
	}
	rest := clock.Within(context.WithoutCancel(v.ctx()), afterProof)
	v.r, v.end = v.r.WithContext(rest), rest.End
	return nil
}

// handle prepares a visit for h and answers with the page for h's error.
func (d *Door) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{w: w, r: r, site: web.SiteOf(r), caller: web.CallerOf(r), end: func() {}}
		defer func() { v.end() }()
		v.choose(d, nil)
		err := d.prepare(v)
		if err == nil {
			err = h(v)
		}
		if err != nil {
			d.fail(v, err)
		}
	}
}

func (d *Door) prepare(v *visit) error {
	var err error
	if v.tenant, err = d.Tenants.ByID(v.ctx(), v.site.Tenant); err != nil {
		return err
	}
	v.choose(d, v.tenant)
	if v.r.Method == http.MethodPost {
		if v.form, err = web.Form(v.r); err != nil {
			return err
		}
	}
	v.browser = web.Browser(v.w, v.r)
	return nil
}

// keepChoice is the lifetime of the cookies with the chosen language and appearance.
const keepChoice = 365 * 24 * time.Hour

// choose sets language and appearance. The person's choice comes first, then the browser's
// language, then the tenant's.
func (v *visit) choose(d *Door, t *tenant.Tenant) {
	l := look{Site: v.site, Theme: v.chosen("theme", isTheme), Popup: inFlow(v.r.URL.Path)}
	fallback := ""
	if t != nil {
		l.Accent, l.Logo, fallback = t.Settings.Accent, t.Settings.LogoURL, t.Settings.Locale
	}
	chosen := v.chosen("lang", isLocale)
	if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead {
		l.Here = v.r.URL
		q := v.r.URL.Query()
		if c := q.Get("lang"); isLocale(c) && !v.site.Tenant.IsZero() {
			chosen = c
			web.SetCookie(v.w, v.r, "lang", c, keepChoice)
		}
		switch c := q.Get("theme"); {
		case v.site.Tenant.IsZero(): // it has no path of its own for a cookie
		case isTheme(c):
			l.Theme = c
			web.SetCookie(v.w, v.r, "theme", c, keepChoice)
		case c == "auto":
			l.Theme = ""
			web.ClearCookie(v.w, v.r, "theme")
		}
	}
	l.Locale = chooseLocale(fallback, chosen, v.r.Header.Get("Accept-Language"))
	v.look, v.words = l, d.renderer.words[l.Locale]
}

// chosen returns the choice that the person made earlier, from the first cookie that holds one, or
// "".
func (v *visit) chosen(name string, valid func(string) bool) string {
	values := web.Cookies(v.r, name)
	if i := slices.IndexFunc(values, valid); i >= 0 {
		return values[i]
	}
	return ""
}

func isLocale(s string) bool { return localeNames[s] != "" }

func isTheme(s string) bool { return s == "light" || s == "dark" }

// speak switches to a language that the application asked for (ui_locales), unless the person
// has chosen one here.
func (v *visit) speak(d *Door, wishes []string) {
	if len(wishes) == 0 || v.chosen("lang", isLocale) != "" || v.r.Method == http.MethodGet &&
		v.r.URL.Query().Get("lang") != "" {
		return
	}
	v.look.Locale = chooseLocale(v.look.Locale, wishes...)
	v.words = d.renderer.words[v.look.Locale]
}

func (d *Door) render(v *visit, status int, p page) error {
	return d.renderer.render(v.w, status, v.look, p)
}

// refused is the status of a form that is shown again with its problems.
const refused = http.StatusUnprocessableEntity

// redirect sends the browser to a path below the tenant's base.
func (v *visit) redirect(path string) error {
	v.w.Header().Set("Cache-Control", "no-store")
	http.Redirect(v.w, v.r, v.site.Local(path), http.StatusSeeOther)
	return nil
}

// typed returns a text field, such as a name, without what cannot be seen around it. It returns a
// problem for a text over limit characters or with control characters.
func (v *visit) typed(name string, limit int) (string, *problem) {
	unseen := func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }
	return checkTyped(name, strings.TrimFunc(v.form.Get(name), unseen), limit)
}

// typedLogin returns the address or username of a field as the person sees it, or a problem.
func (v *visit) typedLogin(name string) (string, *problem) {
	s := v.form.Get(name)
	if visible := typed.Text(s); visible == "" || strings.Contains(visible, "@") {
		s = visible // a username may need its joiners
	}
	return checkTyped(name, strings.TrimSpace(s), user.MaxEmail)
}

// typedCode returns the one-time code of the field code, without what separates its characters, or
// a problem.
func (v *visit) typedCode() (string, *problem) {
	return checkTyped("code", typed.Code(v.form.Get("code")), maxCode)
}

func checkTyped(name, s string, limit int) (string, *problem) {
	if utf8.RuneCountInString(s) > limit {
		return "", &problem{name, say("problem.too_long", "Count", limit)}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
		return "", &problem{name, say("problem.characters")}
	}
	return s, nil
}

// param returns a parameter of the posted form, or of the address without one.
func (v *visit) param(name string) string {
	if v.form != nil {
		return v.form.Get(name)
	}
	return v.r.URL.Query().Get(name)
}

// signedIn returns the browser's session, or session.ErrNone. It asks no rule: use account for a
// page.
func (d *Door) signedIn(v *visit) (session.Session, error) {
	return db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (session.Session, error) {
		return session.Find(v.ctx(), tx, web.Cookies(v.r, session.Cookie)...)
	})
}

// numbers returns the tenant's own limits for one client address.
func (v *visit) numbers() attempt.Numbers {
	return attempt.NumbersOf(v.tenant.Settings)
}

// flowID returns the flow that the page or form names, or zero.
func (v *visit) flowID() id.ID {
	f, err := id.Parse(v.param("flow"))
	if err != nil {
		return id.ID{}
	}
	return f
}

// waiting returns how long to wait after too many tries, as a message.
func waiting(d time.Duration) message {
	if d < time.Minute {
		return say("wait.seconds", "Count", int(max(d/time.Second, 1)))
	}
	return say("wait.minutes", "Count", int((d+time.Minute-1)/time.Minute))
}
