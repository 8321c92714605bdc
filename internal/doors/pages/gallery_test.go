package pages

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/browser"
)

// specimen is one page in one state.
type specimen struct {
	name string
	page page
}

// specimens are all pages, in every state that looks different. The hostile
// strings in them prove the escaping.
func specimens(t testing.TB) []specimen {
	t.Helper()
	const flow, person = "0190c0de-0000-7000-8000-000000000001", "ada@acme.example"
	bad := func(f *frame, ps []problem, fields ...*field) { tell(f, ps, fields...) }
	base := func(title message) frame { return frame{Title: title, Flow: flow} }
	known := func(title message) frame { f := base(title); f.Person = person; return f }

	signIn := &signInPage{frame: base(say("signin.title")), Application: "Acme Billing", Register: true,
		Username: usernameField(""), Password: passwordField()}
	tell(&signIn.frame, nil, &signIn.Username, &signIn.Password)
	hint := &signInPage{frame: frame{Title: say("signin.title")}, Username: usernameField(person),
		Password: passwordField()}
	tell(&hint.frame, nil, &hint.Username, &hint.Password)
	wrong := &signInPage{frame: base(say("signin.title")), Application: "Acme Billing", Register: true,
		Username: usernameField(person), Password: passwordField()}
	bad(&wrong.frame, []problem{{Text: say("problem.credentials")}}, &wrong.Username, &wrong.Password)
	empty := &signInPage{frame: base(say("signin.title")), Application: `<script>alert("x")</script>`,
		Username: usernameField(""), Password: passwordField()}
	bad(&empty.frame, []problem{{"username", say("problem.username_missing")},
		{"password", say("problem.password_missing")}}, &empty.Username, &empty.Password)
	again := &signInPage{frame: known(say("signin.title")), Application: "Acme Billing", Again: true,
		Username: usernameField(person), Password: passwordField()}
	tell(&again.frame, nil, &again.Username, &again.Password)

	code := &totpPage{frame: known(say("totp.title")), Code: codeField()}
	tell(&code.frame, nil, &code.Code)
	codeBad := &totpPage{frame: known(say("totp.title")), Code: codeField()}
	bad(&codeBad.frame, []problem{{"code", say("problem.code_wrong")}}, &codeBad.Code)
	recovery := &recoveryPage{frame: known(say("recovery.title")), Code: recoveryCodeField()}
	tell(&recovery.frame, nil, &recovery.Code)

	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Acme", AccountName: person})
	if err != nil {
		t.Fatal(err)
	}
	qr, err := qrImage(key.URL())
	if err != nil {
		t.Fatal(err)
	}
	enrol := &enrolPage{frame: known(say("enrol.title")), Action: "/t/acme/signin/enrol", QR: qr,
		Secret: grouped(key.Secret()), Code: codeField()}
	tell(&enrol.frame, nil, &enrol.Code)
	enrolAccount := &enrolPage{frame: frame{Title: say("enrol.title"), Tabs: tabs("/t/acme", "totp")},
		Action: "/t/acme/account/authenticator", Cancel: "/t/acme/account", QR: qr, Secret: grouped(key.Secret()),
		Code: codeField()}
	bad(&enrolAccount.frame, []problem{{"code", say("problem.enrol_wrong")}}, &enrolAccount.Code)

	codes := []string{"k7mf2-9qdx3-vtb4n", "p4wz8-hjcm6-rnq7d", "t2yb5-gkdq9-xsj3f", "v8fn3-cmpw7-hz6tk",
		"r6jt4-bxqk2-dyw9m", "m9sv7-wghc5-pfn2x", "d3kz6-nqty8-jbr5c", "h5xc2-rvmf4-wgp8z", "b7pd9-tksj3-nqv6y",
		"w2hy8-zfvg6-cxm4t"} // wide ones in the form of credential's
	codesCard := &codesPage{frame: base(say("codes.title")), Codes: codes, Continue: "/t/acme/signin?flow=" + flow,
		File: "acme-recovery-codes.txt", Download: codesFile("Acme", person, codes)}
	codesWide := &codesPage{frame: frame{Title: say("codes.title"), Tabs: tabs("/t/acme", "totp")}, Codes: codes,
		Continue: "/t/acme/account", File: "acme-recovery-codes.txt", Download: codesFile("Acme", person, codes)}

	register := &registerPage{frame: base(say("register.page")), Email: emailField(""), GivenName: givenNameField(""),
		FamilyName: familyNameField(""), Password: newPasswordField(say("field.choose_password"), 12)}
	tell(&register.frame, nil, &register.Email)
	registerBad := &registerPage{frame: base(say("register.page")), Email: emailField(`"><b>x`),
		GivenName: givenNameField("Ada"), FamilyName: familyNameField(""),
		Password: newPasswordField(say("field.choose_password"), 12)}
	bad(&registerBad.frame, []problem{{"email", say("problem.email_form")},
		{"family_name", say("problem.family_name_missing")}, {"password", say("problem.password_short", "Count", 12)}},
		&registerBad.Email, &registerBad.GivenName, &registerBad.FamilyName, &registerBad.Password)

	mailedConfirm := &mailedPage{frame: base(say("mailed.title")), Heading: say("mailed.title"), Lead: "mailed.confirm",
		Address: person, Again: "/t/acme/register/again", Back: "/t/acme/register",
		BackLabel: say("mailed.other_address")}
	mailedReset := &mailedPage{frame: base(say("mailed.title")), Heading: say("mailed.title"), Lead: "mailed.reset",
		Address: `<img src=x>@acme.example`, Back: "/t/acme/signin", BackLabel: say("action.back_to_signin")}
	confirm := &confirmPage{frame: frame{Title: say("confirm.title")}, Token: "gh_ml", Address: person,
		AskPassword: true, Password: passwordField()}
	pwHint := say("confirm.password_hint")
	confirm.Password.Hint = &pwHint
	tell(&confirm.frame, nil, &confirm.Password)
	forgotten := &forgottenPage{frame: base(say("forgotten.title")), Email: emailField("")}
	tell(&forgotten.frame, nil, &forgotten.Email)
	reset := &resetPage{frame: frame{Title: say("reset.title"), Person: person}, Token: "gh_ml",
		Password: newPasswordField(say("field.new_password"), 12)}
	tell(&reset.frame, nil, &reset.Password)

	consent := &consentPage{frame: known(say("consent.page")), Application: "Acme Billing",
		Scopes: []message{say("scope.openid"), say("scope.profile"), say("scope.email"), say("scope.offline_access"),
			say("scope.other", "Scope", "invoices:read")}}
	setup := &setupPage{frame: frame{Title: say("setup.title")}, Token: "gh_su", Email: emailField(""),
		GivenName: givenNameField(""), FamilyName: familyNameField(""),
		Password: newPasswordField(say("field.choose_password"), 12)}
	tell(&setup.frame, nil, &setup.Email)

	invite := func(by string, gives ...string) *invitationPage {
		p := &invitationPage{frame: frame{Title: say("invitation.page")}, Token: "gh_iv", Address: person, Inviter: by,
			Gives: gives, GivenName: givenNameField("Ada"), FamilyName: familyNameField(""),
			Password: newPasswordField(say("field.choose_password"), 12)}
		tell(&p.frame, nil, &p.GivenName, &p.FamilyName, &p.Password)
		return p
	}
	invitationBad := invite(`<img src=x>@acme.example`, `"><b>x`)
	bad(&invitationBad.frame, []problem{{"family_name", say("problem.family_name_missing")},
		{"password", say("problem.password_short", "Count", 12)}}, &invitationBad.FamilyName, &invitationBad.Password)

	confirmed := say("account.confirmed")
	off := say("account.off")
	account := &accountPage{
		frame: frame{Title: say("account.title"), Tabs: tabs("/t/acme", "home"),
			Notice: &notice{Tone: "good", Text: say("account.password_done")}}, GivenName: "Ada", HasTOTP: true,
		Facts: []fact{{Label: say("account.name"), Value: "Ada Lovelace"},
			{Label: say("account.email"), Value: person, Tag: &confirmed},
			{Label: say("account.username"), Value: "ada"}},
		PasswordNote: say("account.password_changed", "Ago", say("time.days", "Count", 12)),
		TOTPNote:     say("account.codes_left", "Count", 1), SessionNote: say("account.session_count", "Count", 3)}
	accountOff := &accountPage{frame: frame{Title: say("account.title"), Tabs: tabs("/t/acme", "home")},
		Facts: []fact{{Label: say("account.email"),
			Value: "a.very.long.address.that.somebody.really.has@department.of.long.names.acme.example", Tag: &off,
			Off: true}},
		PasswordNote: say("account.password_none"), TOTPNote: say("account.totp_why"),
		SessionNote: say("account.session_count", "Count", 1)}
	row := func(browser, system, seen string, n int, current bool) sessionRow {
		return sessionRow{ID: flow, Device: say("sessions.device", "Browser", browser, "System", system),
			Seen: say("sessions.active", "Ago", say(seen, "Count", n)), Address: "192.0.2.17",
			Started: "2026-03-01 09:12 UTC", StartedAt: "2026-03-01T09:12:00Z", Current: current}
	}
	sessions := &sessionsPage{frame: frame{Title: say("sessions.title"), Tabs: tabs("/t/acme", "sessions")},
		Others: true,
		Sessions: []sessionRow{row("Firefox", "Linux", "time.now", 0, true),
			row("Safari", "iPhone", "time.hours", 3, false), row("Chrome", "Windows", "time.days", 5, false)}}
	password := &passwordPage{
		frame:   frame{Title: say("password.title"), Person: person, Tabs: tabs("/t/acme", "password")},
		Current: currentPasswordField(), Password: newPasswordField(say("field.new_password"), 12)}
	tell(&password.frame, nil, &password.Current, &password.Password)

	long := strings.Repeat("A very long application name that goes on ", 5)[:200]
	const rightToLeft = "\u0639\u0628\u062f \u0627\u0644\u0631\u062d\u0645\u0646 (\u0645\u062f\u064a\u0631)"
	longSignIn := &signInPage{frame: base(say("signin.title")), Application: strings.Repeat("x", 200), Register: true,
		Username: usernameField(""), Password: passwordField()}
	tell(&longSignIn.frame, nil, &longSignIn.Username, &longSignIn.Password)
	deviceCode := &devicePage{frame: frame{Title: say("device.title")}, Code: userCodeField("BCDF-GHJK")}
	tell(&deviceCode.frame, nil, &deviceCode.Code)
	deviceWrong := &devicePage{frame: frame{Title: say("device.title")}, Code: userCodeField("BCDF-GHJK")}
	bad(&deviceWrong.frame, []problem{{"user_code", say("device.code_wrong")}}, &deviceWrong.Code)
	consoles := &consolesPage{frame: frame{Title: say("consoles.title")}, Tenant: tenantField("")}
	tell(&consoles.frame, nil, &consoles.Tenant)
	consolesWrong := &consolesPage{frame: frame{Title: say("consoles.title")}, Tenant: tenantField(`"><b>x`)}
	bad(&consolesWrong.frame, []problem{{"tenant", say("consoles.wrong")}}, &consolesWrong.Tenant)
	deviceConsent := &deviceConsentPage{frame: known(say("device.consent_page")), Application: "Acme Command Line",
		UserCode: "BCDF-GHJK", Device: programOf("kubelogin/v1.34.0 (linux/amd64)"), Address: "203.0.113.7",
		Asked: "2026-07-01 12:00 UTC", AskedAt: "2026-07-01T12:00:00Z",
		Scopes: []message{say("scope.openid"), say("scope.email"), say("scope.offline_access")}}
	ofAPI := []message{say("scope.openid"),
		say("scope.api_described", "API", "Invoices", "Description", "See your invoices and their attachments"),
		say("scope.api_other", "API", "Invoices", "Scope", "invoices:write"), say("scope.api", "API", "Reports")}
	deviceOfAPI := *deviceConsent
	deviceOfAPI.Scopes = ofAPI
	rtlConsent := &consentPage{frame: known(say("consent.page")), Application: rightToLeft,
		Scopes: []message{say("scope.openid"), say("scope.profile")}}
	rtlConsent.Person = rightToLeft
	rtlAccount := &accountPage{
		frame:     frame{Title: say("account.title"), Tabs: tabs("/t/acme", "home")},
		GivenName: rightToLeft, Facts: []fact{{Label: say("account.name"), Value: rightToLeft},
			{Label: say("account.email"), Value: person, Tag: &confirmed}},
		PasswordNote: say("account.password_none"), TOTPNote: say("account.totp_why"),
		SessionNote: say("account.session_count", "Count", 1)}

	return []specimen{
		{"signin-long", longSignIn},
		{"consent-long", &consentPage{frame: known(say("consent.page")), Application: long,
			Scopes: []message{say("scope.openid"), say("scope.other", "Scope", strings.Repeat("scope:", 20))}}},
		{"refused-long", &refusedPage{frame: known(say("refused.page")), Application: long, Text: say("refused.text")}},
		{"signout-long", &signOutPage{frame: known(say("signout.page")), Application: long}},
		{"consent-rtl", rtlConsent}, {"account-rtl", rtlAccount},
		{"signin", signIn}, {"signin-hint", hint}, {"signin-wrong", wrong}, {"signin-empty", empty},
		{"signin-again", again},
		{"totp", code}, {"totp-wrong", codeBad}, {"recovery", recovery}, {"enrol", enrol},
		{"enrol-account", enrolAccount},
		{"codes", codesCard}, {"codes-account", codesWide}, {"register", register}, {"register-wrong", registerBad},
		{"mailed-confirm", mailedConfirm}, {"mailed-reset", mailedReset}, {"confirm", confirm},
		{"forgotten", forgotten}, {"reset", reset},
		{"refused", &refusedPage{frame: known(say("refused.page")), Application: "Acme Billing",
			Text: say("refused.text")}},
		{"refused-enrol", &refusedPage{frame: known(say("refused.page")), Text: say("refused.enrol")}},
		{"consoles", consoles}, {"consoles-wrong", consolesWrong},
		{"device", deviceCode}, {"device-wrong", deviceWrong}, {"device-consent", deviceConsent},
		{"device-allowed", &deviceDonePage{frame: frame{Title: say("device.allowed_title")},
			Application: "Acme Command Line", Allowed: true}},
		{"device-denied", &deviceDonePage{frame: frame{Title: say("device.denied_title")},
			Application: "Acme Command Line"}},
		{"device-consent-api", &deviceOfAPI}, {"consent-api", &consentPage{frame: known(say("consent.page")),
			Application: "Acme Billing", Scopes: ofAPI}},
		{"consent", consent}, {"signout", &signOutPage{frame: known(say("signout.page")), Application: "Acme Billing"}},
		{"signout-plain", &signOutPage{frame: frame{Title: say("signout.page"), Person: person}}},
		{"signedout", &signedOutPage{frame: frame{Title: say("signedout.title")}}},
		{"signedout-frames", &signedOutPage{frame: frame{Title: say("signedout.title")},
			Frames: []string{framedPath}, Return: "https://billing.example.com/", Application: "Acme Billing"}},
		{"setup", setup},
		{"invitation", invite("olga@acme.example", "user-manager", "Sales Zürich")},
		{"invitation-wrong", invitationBad}, {"invitation-plain", invite("")},
		{"invitation-long", invite(strings.Repeat("x", 200)+"@acme.example", strings.Repeat("y", 128))},
		{"error-invitation", &errorPage{frame: frame{Title: say("invitation.expired")},
			Heading: say("invitation.expired"), Text: say("invitation.expired_text")}},
		{"error", &errorPage{frame: frame{Title: say("error.internal")}, Heading: say("error.internal"),
			Text: say("error.internal_text"), RequestID: "k3j5m2x7q4w6a2bz"}},
		{"error-application", &errorPage{frame: frame{Title: say("error.application")},
			Heading: say("error.application"), Text: say("error.redirect_text"), RequestID: "k3j5m2x7q4w6a2bz",
			Code: "oauth.redirect_uri_unknown",
			Detail: "The address that the application wants to return to is not registered for it: redirect_uri " +
				"must equal a registered one to the letter. Its operator should register the one that it sends.",
			Received: []web.Parameter{{Name: "client_id", Value: "billing"},
				{Name: "redirect_uri", Value: "https://billing.example.com/" + strings.Repeat("long/", 20) + "callback"},
				{Name: "response_type", Value: "code"}, {Name: "scope", Value: "openid%20profile"}}}},
		{"error-gone", &errorPage{frame: frame{Title: say("error.gone")}, Heading: say("error.gone"),
			Text: say("error.gone_text"), Href: "/t/acme/account", Action: say("error.to_account")}},
		{"account", account}, {"account-plain", accountOff}, {"sessions", sessions}, {"password", password},
		{"authenticator", &authenticatorPage{
			frame:     frame{Title: say("authenticator.title"), Tabs: tabs("/t/acme", "totp")},
			CodesNote: say("account.codes_left", "Count", 8)}},
		{"authenticator-required",
			&authenticatorPage{frame: frame{Title: say("authenticator.title"), Tabs: tabs("/t/acme", "totp")},
				CodesNote: say("account.codes_left", "Count", 0), Required: true}},
	}
}

func specimenLook(t testing.TB, locale, name string) look {
	t.Helper()
	here, err := url.Parse("/" + locale + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	site := web.Site{Name: "Acme", Slug: "acme", Base: "http://127.0.0.1/t/acme", Path: "/t/acme"}
	if strings.HasSuffix(name, "-long") {
		site.Name = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft und Söhne"
	}
	l := look{Site: site, Locale: locale, Accent: "#2f55d4", Here: here}
	if name == "signedout-frames" {
		l.Frames = []string{"'self'"}
	}
	return l
}

// framedPath is the path of an application that is signed out in a frame.
const framedPath = "/framed"

var (
	tagRE     = regexp.MustCompile(`(?s)<svg.*?</svg>|<style>.*?</style>|<[^>]*>`)
	messageRE = regexp.MustCompile(`\b[a-z]+\.[a-z_]+\b`)
	inlineRE  = regexp.MustCompile(`(?i)\son[a-z]+=|javascript:|\sstyle=`)
)

func TestEveryPageRendersInEveryLanguage(t *testing.T) {
	r, err := newRenderer()
	if err != nil {
		t.Fatal(err)
	}
	rendered := map[string]bool{}
	for _, locale := range locales {
		for _, s := range specimens(t) {
			t.Run(locale+"/"+s.name, func(t *testing.T) {
				w := httptest.NewRecorder()
				if err := r.render(w, http.StatusOK, specimenLook(t, locale, s.name), s.page); err != nil {
					t.Fatal(err)
				}
				rendered[s.page.template()] = true
				body := w.Body.String()
				if !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
					t.Error("the page is not whole")
				}
				if n := strings.Count(body, "<main"); n != 1 {
					t.Errorf("%d <main>, want 1", n)
				}
				if n := strings.Count(body, "<h1>"); n != 1 {
					t.Errorf("%d <h1>, want 1", n)
				}
				if strings.Contains(body, "<script") || inlineRE.MatchString(body) {
					t.Error("the page holds a script or an inline style")
				}
				if strings.Contains(body, "<img src=x>") || strings.Contains(body, `"><b>x`) {
					t.Error("a value is not escaped")
				}
				text := tagRE.ReplaceAllString(body, " ")
				for _, m := range messageRE.FindAllString(text, -1) {
					if _, ok := englishIDs(t)[m]; ok {
						t.Errorf("the message %q is shown by its id", m)
					}
				}
				if strings.Contains(text, "<no value>") {
					t.Error("an argument of a message is missing")
				}
				if n := len(body) + len(stylesheet); n > 30<<10 && !strings.HasPrefix(s.name, "enrol") {
					t.Errorf("page and style sheet are %d bytes, want at most 30 KiB", n)
				}
			})
		}
	}
	for name := range r.pages["en"] {
		if !rendered[name] {
			t.Errorf("templates/%s.html has no specimen", name)
		}
	}
}

// TestPagesInABrowser checks every page in Chromium: on a desktop and on a phone, light and dark.
// It saves a picture of each in the directory GATEHOUSE_TEST_SCREENSHOTS, if that is set.
func TestPagesInABrowser(t *testing.T) {
	r, err := newRenderer()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]page{}
	for _, s := range specimens(t) {
		all[s.name] = s.page
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /t/acme"+stylesheetPath, serveStylesheet)
	mux.HandleFunc("GET "+framedPath, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{locale}/{name}", func(w http.ResponseWriter, req *http.Request) {
		if err := r.render(w, http.StatusOK, specimenLook(t, req.PathValue("locale"), req.PathValue("name")),
			all[req.PathValue("name")]); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	pictures := os.Getenv("GATEHOUSE_TEST_SCREENSHOTS")
	b := browser.Start(t)
	type view struct {
		name          string
		width, height int
	}
	// A page is loaded once for a language and an appearance, and then gets other sizes. Axe finds
	// what there is to find once in light and once in dark.
	for _, load := range []struct {
		locale string
		dark   bool
		views  []view // axe checks the first
	}{
		{"en", false, []view{{"desktop-light", 1280, 900}, {"phone-light", 375, 812}}},
		{"de", true, []view{{"phone-dark", 375, 812}, {"desktop-dark", 1280, 900},
			{"narrow", 320, 640}}}, // also 1280 pixels at 400 % zoom
	} {
		p := b.Page(browser.Options{Width: load.views[0].width, Height: load.views[0].height, Dark: load.dark})
		for _, s := range specimens(t) {
			for i, view := range load.views {
				p.Resize(view.width, view.height)
				if i == 0 {
					p.Goto(server.URL + "/" + load.locale + "/" + s.name)
					for _, v := range p.Axe() {
						t.Errorf("%s %s: axe: %s (%s)\n  %s", view.name, s.name, v.Help, v.ID,
							strings.Join(v.Nodes, "\n  "))
					}
				}
				if n := p.Overflow(); n > 0 {
					t.Errorf("%s %s: %d pixels wider than the window", view.name, s.name, n)
				}
				if f := s.page.base(); f.Failed() && p.Focused() != "problem" {
					t.Errorf("%s %s: the focus is on %q, want the summary", view.name, s.name, p.Focused())
				}
				if pictures != "" {
					p.Screenshot(filepath.Join(pictures, view.name+"-"+s.name+".png"))
				}
			}
		}
		console, foreign := p.Seen()
		for _, m := range console {
			t.Errorf("%s: console: %s", load.locale, m)
		}
		if len(foreign) > 0 {
			t.Errorf("%s: requests to other hosts: %v", load.locale, foreign)
		}
		p.Close()
	}
}

func TestAccentsCanBeRead(t *testing.T) {
	for _, accent := range []string{"#2f55d4", "#ffffff", "#000000", "#ffe100", "#808080", "#767676", "#ff0000",
		"#00ff00", "#e05a00", "#c0ffee", "#1d2127", "nonsense", "#12345", "#gggggg", "red;}body{display:none"} {
		p := paletteOf(accent)
		for _, c := range []struct {
			what  string
			a, b  rgb
			least float64
		}{
			{"text on the button", p.OnAccent, p.Accent, textContrast},
			{"text on the button under the pointer", p.OnAccent, p.Hover, textContrast},
			{"link on light", p.Ink, lightSurface, textContrast},
			{"link in a light well", p.Ink, lightWell, textContrast},
			{"link on dark", p.InkDark, darkSurface, textContrast},
			{"button's edge on light", p.Edge, lightSurface, edgeContrast},
			{"button's edge on dark", p.EdgeDark, darkSurface, edgeContrast},
		} {
			if got := contrast(c.a, c.b); got < c.least {
				t.Errorf("%s: %s: %s on %s is %.2f:1, want %.1f:1", accent, c.what, c.a, c.b, got, c.least)
			}
		}
		if s := string(p.sheet().HTML); strings.Contains(s, "display") {
			t.Errorf("%s reaches the style sheet: %s", accent, s)
		}
	}
}

func TestPolicyNamesOnlyOrigins(t *testing.T) {
	for address, want := range map[string]string{
		"https://app.example/callback?x=1":   "https://app.example",
		"http://127.0.0.1:9000/cb":           "http://127.0.0.1:*",
		"http://[::1]:9000/cb":               "http:",
		"com.example.app:/cb":                "com.example.app:",
		"https://evil.example; script-src *": "",
		"/relative":                          "",
		"":                                   "",
	} {
		if got := origin(address); got != want {
			t.Errorf("origin(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w, err := newWords()
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[time.Duration][2]string{
		time.Second:     {"just now", "gerade eben"},
		5 * time.Minute: {"5 minutes ago", "vor 5 Minuten"},
		time.Hour:       {"1 hour ago", "vor 1 Stunde"},
		72 * time.Hour:  {"3 days ago", "vor 3 Tagen"},
	} {
		if en, de := w["en"].text(ago(now, now.Add(-d))), w["de"].text(ago(now, now.Add(-d))); en != want[0] ||
			de != want[1] {
			t.Errorf("%s: %q, %q", d, en, de)
		}
	}
}

func TestRecoveryCodesFile(t *testing.T) {
	u := string(codesFile("Acme", "ada", []string{"aaaa-bbbb"}))
	body, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(u, "data:text/plain;charset=utf-8;base64,"))
	if err != nil || !strings.Contains(string(body), "aaaa-bbbb") {
		t.Errorf("the file is %q, %v", u, err)
	}
}
