package pages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/browser"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// TestAWalkInChromium goes from an application to the pages and back as a person
// does, with the keyboard, and listens with axe on the way. The application is
// another origin, so the content security policy has to let the last form lead there.
func TestAWalkInChromium(t *testing.T) {
	h := build(world.OnSQLite(t), func(s *tenant.Settings) { s.MFA = tenant.MFARequired })
	client := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>Billing</title><h1>Welcome to Acme Billing</h1>"))
	}))
	defer client.Close()
	h.person("ada@acme.example")
	callback := client.URL + "/callback"
	app := h.Client(h.c, application.New{Name: "Acme Billing", Type: application.Native,
		RedirectURIs: []string{callback}, Scopes: []string{"email"}})
	pictures := os.Getenv("GATEHOUSE_TEST_SCREENSHOTS")
	p := browser.Start(t).Page(browser.Options{Width: 390, Height: 844, Scale: 2})
	look := func(title string) {
		t.Helper()
		if got := p.Title(); got != title+" · Acme" {
			t.Fatalf("at %s the title is %q, want %q: %s", p.URL(), got, title, p.Text("body"))
		}
		for _, v := range p.Axe() {
			t.Errorf("%s: axe: %s (%s)\n  %s", title, v.Help, v.ID, strings.Join(v.Nodes, "\n  "))
		}
		if pictures != "" {
			p.Screenshot(filepath.Join(pictures, "walk-"+strings.ReplaceAll(title, " ", "-")+".png"))
		}
	}
	challenge := sha256.Sum256([]byte("a verifier of forty-three characters or more"))
	p.Goto(h.url + "/oauth2/authorize?" + url.Values{
		"client_id": {app.ClientID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid email"},
		"state":          {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	for _, c := range p.Cookies() {
		readable := strings.HasSuffix(c.Name, session.StateCookie) // by the page that applications frame
		if c.HTTPOnly == readable || c.SameSite != "Lax" || c.Path != "/t/acme" {
			t.Errorf("cookie %+v", c)
		}
	}
	look("Sign in")
	if f := p.Focused(); f != "username" {
		t.Errorf("the focus is on %q, want the first empty field", f)
	}
	p.Fill("#username", "ada@acme.example")
	p.Press("Tab")
	if f := p.Focused(); f != "password" {
		t.Errorf("Tab leads from the username to %q", f)
	}
	p.Fill("#password", "not the password")
	if status := p.Submit("button[type=submit]"); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong password answers %d", status)
	}
	look("Error: Sign in")
	if f := p.Focused(); f != "problem" {
		t.Errorf("the focus is on %q, want the summary of what is wrong", f)
	}
	if v := p.Value("#username"); v != "ada@acme.example" {
		t.Errorf("the username has to be typed again: %q", v)
	}
	p.Fill("#password", password)
	p.Submit("button[type=submit]")
	look("Set up an authenticator app")
	p.Fill("#code", h.code(p.Text("#totp-secret")))
	p.Submit("text=Turn on")
	look("Save your recovery codes")
	if n := len(strings.Fields(p.Text("#recovery-codes"))); n != credentialCodes {
		t.Errorf("%d recovery codes are shown", n)
	}
	p.Submit("#continue")
	look("Allow access")
	p.Submit("#allow")
	if at := p.URL(); !strings.HasPrefix(at, callback+"?code=") {
		console, _ := p.Seen()
		t.Fatalf("the browser ends at %s, want %s; console: %v", at, callback, console)
	}
	p.Goto(h.url + "/account")
	look("Your account")
	p.Submit("#signout")
	look("You're signed out")
	console, foreign := p.Seen()
	for _, m := range console {
		if !strings.Contains(m, "status of 422") { // the wrong password
			t.Errorf("console: %s", m)
		}
	}
	if len(foreign) > 0 {
		t.Errorf("requests to other hosts: %v", foreign)
	}
}
