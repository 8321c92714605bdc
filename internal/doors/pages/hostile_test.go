package pages_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Every form, in every state that a stranger and a signed-in person can be in,
// answers nonsense by a 4xx with a page, never by a 5xx.
func TestNonsenseIsRefusedInWords(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		stranger, signedIn := h.guest(), h.guest()
		signedIn.SignIn("ada@acme.example")
		fields := []string{"username", "password", "code", "decision", "email", "given_name", "family_name", "token",
			"session", "current_password", "flow"}
		values := []string{
			"", "x", "\x00", "\xff\xfe", "a\r\nb", strings.Repeat("9", 5000), "' OR 1=1 --", "<script>", "{{.}}",
			"%s%n", "../../etc", "🦄🦄🦄🦄🦄🦄🦄🦄🦄🦄",
			"gh_ml_aaaaaaaaaaaaaaaaaaaaaaaaaa_aaaa", "00000000-0000-0000-0000-000000000000", "\u202e@example.com",
			"a@b", "\ufeff",
		}
		for who, g := range map[string]*guest{"stranger": stranger, "signed in": signedIn} {
			for _, p := range posts {
				if p == "/account/signout" || p == "/signout" {
					continue // they would end the session of the others
				}
				flow := strings.TrimPrefix(g.Open("/forgotten").Path, "/forgotten?flow=")
				for _, value := range values {
					form := url.Values{}
					for _, f := range fields {
						form.Set(f, value)
					}
					if value != "\x00" {
						form.Set("flow", flow)
					}
					a := g.Post(p, form)
					if a.Status >= 500 {
						t.Errorf("%s: %s with %.20q answers %d", who, p, value, a.Status)
					}
					if a.Status >= 400 && !strings.Contains(a.Body, "<h1>") {
						t.Errorf("%s: %s with %.20q answers %d without a page: %.100s", who, p, value, a.Status, a.Body)
					}
				}
			}
			for _, p := range []string{"/signin", "/signin/recovery", "/register", "/register/sent", "/confirm",
				"/forgotten", "/forgotten/sent", "/reset", "/setup", "/invitation", "/signout", "/account",
				"/account/nothing",
				"/signin/nothing", "/account/session/x"} {
				for _, q := range []string{"", "?flow=x", "?flow=0190c0de-0000-7000-8000-000000000001", "?token=x",
					"?flow=&token=&done=%3Cb%3E&lang=%00", "?flow=1&flow=2"} {
					if a := g.Open(p + q); a.Status >= 500 {
						t.Errorf("%s: %s%s answers %d", who, p, q, a.Status)
					}
				}
			}
		}
	})
}

func TestBodiesThatAreNoForms(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		for ct, body := range map[string][]byte{
			"application/json": []byte(`{"username":"x"}`), "": []byte("username=x"),
			"multipart/form-data; boundary=x":   []byte("--x--"),
			"application/x-www-form-urlencoded": append([]byte("username="), bytes.Repeat([]byte("x"), 2<<20)...),
		} {
			r, err := http.NewRequest(http.MethodPost, h.url+"/signin/password", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", ct)
			r.Header.Set("Accept", "text/html")
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode < 400 || res.StatusCode >= 500 || !bytes.Contains(b, []byte("<h1>")) {
				t.Errorf("%q answers %d: %.200s", ct, res.StatusCode, b)
			}
		}
	})
}

// A form that another site sends does nothing.
func TestFormsOfOtherSites(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		g.SignIn("ada@acme.example")
		for _, p := range posts {
			r, err := http.NewRequest(http.MethodPost, h.url+p, strings.NewReader("session=others"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			res, err := g.HTTP.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("%s from another site answers %d, want 403", p, res.StatusCode)
			}
		}
		if g.session() == nil {
			t.Error("another site ended the session")
		}
	})
}

// What a page says of where to go never comes from the request.
func TestNoOpenRedirect(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		for _, evil := range []string{"https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"} {
			g := h.guest()
			q := "?return_to=" + url.QueryEscape(evil) + "&next=" + url.QueryEscape(evil) + "&redirect_uri=" +
				url.QueryEscape(evil) + "&flow=" + url.QueryEscape(evil)
			for _, p := range []string{"/signin", "/account", "/signout", "/signedout", "/register", "/forgotten"} {
				if a := g.Open(p + q); strings.Contains(a.Location, "evil") ||
					strings.Contains(a.Body, `href="`+evil) || strings.Contains(a.Body, `action="`+evil) {
					t.Errorf("%s%s leads to %s", p, q, a.Location)
				}
			}
		}
	})
}

// The twin: a session, a flow and a link of one tenant are worth nothing at another.
func TestAnotherTenantsThings(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		settings := tenant.DefaultSettings()
		if err := h.System(ctx, caller.Caller{Actor: h.c.Actor}, "test fixture", func(st *db.SystemTx) error {
			_, err := tenant.Create(ctx, st, tenant.New{Slug: "globex", Name: "Globex", Settings: &settings})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		g := h.guest()
		flow := g.Open("/account").Path
		g.SignIn("ada@acme.example")
		there := strings.Replace(h.url, "/t/acme", "/t/globex", 1)
		ask := func(path string) int {
			r, err := http.NewRequest(http.MethodGet, there+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{"session", "browser"} {
				r.AddCookie(&http.Cookie{Name: "gh_" + n, Value: g.Cookie(n)})
			}
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			return res.StatusCode
		}
		if got := ask("/account/session"); got != http.StatusUnauthorized {
			t.Errorf("another tenant's session answers %d, want 401", got)
		}
		if got := ask(flow); got != http.StatusNotFound {
			t.Errorf("another tenant's flow answers %d, want 404", got)
		}
	})
}
