package pages_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
)

var (
	titleRE   = regexp.MustCompile(`<title>([^<]*)</title>`)
	headingRE = regexp.MustCompile(`<h1>([^<]*)</h1>`)
	englishRE = regexp.MustCompile(`\b(the|this|application|request)\b`)
	foreignRE = regexp.MustCompile(`(?s)<p class="small" lang="en">.*?</p>`)
)

// heading is the heading of a page of an error in English and in German.
type heading struct{ english, german string }

var (
	notFound     = heading{"Page not found", "Seite nicht gefunden"}
	elsewhere    = heading{"Open the form here first", "Öffnen Sie das Formular zuerst hier"}
	unreadable   = heading{"We can't read this request", "Diese Anfrage ist ungültig"}
	ended        = heading{"This sign-in has ended", "Diese Anmeldung ist beendet"}
	oldLink      = heading{"This link no longer works", "Dieser Link ist nicht mehr gültig"}
	closed       = heading{"You can't create an account here", "Hier können Sie kein Konto erstellen"}
	wrongRequest = heading{"The application's request isn't right", "Die Anfrage der Anwendung stimmt nicht"}
	suspended    = heading{"Sign-in is switched off here", "Die Anmeldung ist hier abgeschaltet"}
)

type request struct {
	method, path, body string
	status             int
	heading
}

// Every error that a person sees is in the person's language and in the tenant's look, says what
// happened in its title, and needs nothing else of the server.
func TestErrorsAreForPeople(t *testing.T) {
	const accent = "#aa0066"
	paint := func(s *tenant.Settings) { s.Accent, s.Locale = accent, "de" }
	both(t, paint, func(t *testing.T, h *house) {
		app := h.Client(h.c, application.New{Name: "Billing", Type: application.Web,
			RedirectURIs: []string{"https://billing.example/cb"}})
		h.Tenant("asleep", paint)
		operator := h.Operator()
		for slug, change := range map[string]map[string]any{
			"acme": {"domains": []string{"login.acme.example"}}, "asleep": {"status": "suspended"},
		} {
			h.Must(operator, "PATCH", "platform", "/tenants/"+h.tenantID(operator, slug), change)
		}
		authorize := func(change ...string) string {
			q := url.Values{"client_id": {app.ClientID}, "redirect_uri": {"https://billing.example/cb"},
				"response_type": {"code"}, "scope": {"openid"}}
			for i := 0; i+1 < len(change); i += 2 {
				q.Set(change[i], change[i+1])
			}
			return "/oauth2/authorize?" + q.Encode()
		}
		ofTenant := map[string]request{
			"no page":              {"GET", "/nowhere", "", 404, notFound},
			"no account page":      {"GET", "/account/nowhere", "", 404, notFound},
			"method":               {"PUT", "/account", "", 405, notFound},
			"form of another site": {"POST", "/forgotten", "x=y", 403, elsewhere},
			"long query":           {"GET", "/account?" + strings.Repeat("x", 20<<10), "", 414, unreadable},
			"malformed query":      {"GET", "/account?%zz", "", 400, unreadable},
			"large form":           {"POST", "/signin/password", "x=" + strings.Repeat("y", 2<<20), 400, unreadable},
			"no form":              {"POST", "/signin/password", "", 404, ended},
			"expired form": {"POST", "/signin/password",
				"flow=0190c0de-0000-7000-8000-000000000001&username=a&password=b", 404, ended},
			"used link":            {"GET", "/reset?token=x", "", 404, oldLink},
			"used set-up link":     {"GET", "/setup?token=x", "", 404, oldLink},
			"unknown invitation":   {"GET", "/invitation?token=x", "", 404, oldLink},
			"closed registration":  {"GET", "/register", "", 404, closed},
			"no client_id":         {"GET", "/oauth2/authorize", "", 400, wrongRequest},
			"unknown client":       {"GET", authorize("client_id", "nobody"), "", 400, wrongRequest},
			"unknown redirect_uri": {"GET", authorize("redirect_uri", "https://evil.example/"), "", 400, wrongRequest},
			"sign-out to nowhere": {"GET", "/oauth2/logout?post_logout_redirect_uri=https://evil.example/", "", 400,
				wrongRequest},
			"OAuth path":   {"GET", "/oauth2/nowhere", "", 404, notFound},
			"unknown flow": {"GET", "/oauth2/authorize/continue?flow=x", "", 404, ended},
		}
		check := func(name, address, host, brand string, q request, branded bool) {
			t.Helper()
			for _, language := range []string{"en-GB", "de-AT", ""} {
				r, err := http.NewRequest(q.method, address+q.path, strings.NewReader(q.body))
				if err != nil {
					t.Fatal(err)
				}
				r.Host = host
				r.Header.Set("Accept", "text/html,*/*")
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if language != "" {
					r.Header.Set("Accept-Language", language)
				}
				if name == "form of another site" {
					r.Header.Set("Sec-Fetch-Site", "cross-site")
				}
				a := h.guest().Send(r)
				want, locale := q.german, "de"
				if language == "en-GB" || language == "" && !branded {
					want, locale = q.english, "en"
				}
				shown, title := headingRE.FindStringSubmatch(a.Body), titleRE.FindStringSubmatch(a.Body)
				if a.Status != q.status || shown == nil || unescape(shown[1]) != want {
					t.Errorf("%s in %q: %d %q, want %d %q", name, language, a.Status, a.Text(), q.status, want)
					continue
				}
				if unescape(title[1]) != want+" · "+brand {
					t.Errorf("%s in %q: the title is %q", name, language, title[1])
				}
				if strings.Contains(a.Body, "--accent:"+accent) != branded {
					t.Errorf("%s in %q: the tenant's colour is missing, or on a page of no tenant", name, language)
				}
				if a.Header.Get("Content-Language") != locale {
					t.Errorf("%s in %q: the page is in %q", name, language, a.Header.Get("Content-Language"))
				}
				text := foreignRE.ReplaceAllString(a.Body, "")
				if locale == "de" && englishRE.MatchString(tagless(text)) {
					t.Errorf("%s in %q is in English: %s", name, language, tagless(text))
				}
			}
		}
		origin, err := url.Parse(h.Origin)
		if err != nil {
			t.Fatal(err)
		}
		at := "login.acme.example:" + origin.Port()
		// A request that is refused early has the look of a tenant that this replica knows.
		check("warm", h.url, "", "Acme", ofTenant["no page"], true)
		check("warm", h.Origin, at, "Acme", ofTenant["no page"], true)
		for name, q := range ofTenant {
			check(name, h.url, "", "Acme", q, true)
			check(name, h.Origin, at, "Acme", q, true)
		}
		check("suspended", h.Base("asleep"), "", "Asleep", request{"GET", "/account", "", 403, suspended}, true)
		for _, path := range []string{"/t/nobody/account", "/nowhere", "/t/", "/?%zz"} {
			q := request{"GET", path, "", 404, notFound}
			if strings.Contains(path, "%") {
				q.status, q.heading = 400, unreadable
			}
			check(path, h.Origin, "", "Gatehouse", q, false)
		}
	})
}

// tenantID returns the id of the tenant with a slug.
func (h *house) tenantID(operator, slug string) string {
	h.T.Helper()
	for _, item := range h.Must(operator, "GET", "platform", "/tenants", nil)["items"].([]any) {
		if t := item.(map[string]any); t["slug"] == slug {
			return t["id"].(string)
		}
	}
	h.T.Fatalf("no tenant %s", slug)
	return ""
}

func unescape(s string) string { return strings.NewReplacer("&#39;", "'", "&amp;", "&").Replace(s) }

func tagless(body string) string {
	_, body, _ = strings.Cut(body, "<main")
	return regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<main"+body, " ")
}

// The page of an application's mistake shows its operator what was received, as text that neither
// leads anywhere nor reads as ours, and no secret.
func TestErrorsShowWhatWasReceived(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		long := "https://evil.example/" + strings.Repeat("x", 4000)
		for name, tt := range map[string]struct {
			query  url.Values
			shown  []string
			hidden []string
		}{
			"an unknown client": {url.Values{"client_id": {"billing"}, "redirect_uri": {"https://app.example/cb?a=1&b=2"},
				"response_type": {"code"}, "scope": {"openid profile"}, "state": {"hidden-state"},
				"client_secret": {"hidden-secret"}},
				[]string{"client_id</dt><dd dir=\"ltr\">billing<", "https://app.example/cb?a=1&amp;b=2<",
					"response_type</dt><dd dir=\"ltr\">code<", "openid%20profile"},
				[]string{"hidden-", "href=\"https://app.example"}},
			"markup": {url.Values{"client_id": {"<script>alert(1)</script>"}, "redirect_uri": {"javascript:alert(1)"}},
				[]string{"&lt;script&gt;alert(1)&lt;/script&gt;", "javascript:alert(1)"},
				[]string{"<script", "href=\"java"}},
			"a sentence": {url.Values{"client_id": {"Your account is locked. Call 555\u202e\u00a0"}},
				[]string{"Your%20account%20is%20locked.%20Call%20555%E2%80%AE%C2%A0"},
				[]string{"account is locked", "\u202e"}},
			"a long value": {url.Values{"client_id": {"x"}, "redirect_uri": {long}},
				[]string{long[:256] + "…"}, []string{long[:257]}},
			"repeated": {url.Values{"client_id": {"one", "two", "three"}},
				[]string{">one<", ">two<"}, []string{">three<"}},
		} {
			a := h.guest().Open("/oauth2/authorize?" + tt.query.Encode())
			if a.Status != http.StatusBadRequest {
				t.Errorf("%s: %d", name, a.Status)
			}
			for _, s := range tt.shown {
				if !strings.Contains(a.Body, s) {
					t.Errorf("%s: the page does not show %q: %s", name, s, a.Body)
				}
			}
			for _, s := range tt.hidden {
				if strings.Contains(a.Body, s) {
					t.Errorf("%s: the page has %q", name, s)
				}
			}
		}
	})
}
