package pages

import (
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/browser"
)

// letterSpecimens are all letters; the tenant's name is a hostile one.
func letterSpecimens(h letterhead, u user.User) map[string]letter {
	all := map[string]letter{
		"confirm": confirmLetter(h, u, "/confirm?token=gh_ml_x&flow=1"),
		"exists":  existsLetter(h, u, "/signin"),
		"reset":   resetLetter(h, u, "/reset?token=gh_ml_x&flow=1"),
		"invited": invitationLetter(h, u, invitation.Invitation{}, "https://id.example.com/t/acme/invitation?token=x"),
		"invitation": invitationLetter(h, u, invitation.Invitation{By: caller.Actor{Kind: caller.User,
			Name: "olga@acme.example"}}, "https://id.example.com/t/acme/invitation?token=x"),
	}
	for name, what := range map[string]changed{"password": passwordChanged, "enrolled": totpEnrolled,
		"removed": totpRemoved, "codes": codesRenewed} {
		l := changeLetter(h, u, what)
		l.When, l.Device, l.Address = utcMinute(time.Unix(0, 0)),
			say("sessions.device", "Browser", "Firefox", "System", "Linux"), netip.MustParseAddr("192.0.2.7").String()
		all[name] = l
	}
	return all
}

func TestEveryLetterInEveryLanguage(t *testing.T) {
	w, err := newWords()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLetters(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, locale := range locales {
		h := letterhead{Tenant: `Acme <b>&</b> "Co"`, Base: "https://id.example.com/t/acme", Accent: "red;}body{display:none", Locale: locale}
		u := user.User{Profile: user.Profile{Email: "ada@acme.example"}}
		for name, p := range letterSpecimens(h, u) {
			m, err := l.write(h, u, p)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(); err != nil {
				t.Errorf("%s %s: %v", locale, name, err)
			}
			if !strings.Contains(m.Subject, u.Email) || !strings.Contains(m.Subject, h.Tenant) {
				t.Errorf("%s %s: the subject %q does not say whose account and where", locale, name, m.Subject)
			}
			if p.Link != "" && (!strings.Contains(m.Text, "\n"+p.Link+"\n") ||
				!strings.Contains(m.HTML, `href="`+template.HTMLEscapeString(p.Link)+`"`)) {
				t.Errorf("%s %s: the link is not in both forms:\n%s\n%s", locale, name, m.Text, m.HTML)
			}
			for _, form := range []string{m.Text, m.HTML} {
				if messageRE.MatchString(form) && strings.Contains(form, "mail.") ||
					strings.Contains(form, "no value") {
					t.Errorf("%s %s: words are missing:\n%s", locale, name, form)
				}
				if !strings.Contains(form, u.Email) {
					t.Errorf("%s %s: the account is not named", locale, name)
				}
			}
			if strings.Contains(m.HTML, "<b>") || strings.Contains(m.HTML, "display:none") ||
				!strings.Contains(m.HTML, `lang="`+locale+`"`) {
				t.Errorf("%s %s: the HTML is not escaped, or has no language:\n%s", locale, name, m.HTML)
			}
		}
	}
}

// A mail is in the language of its recipient, not of the request that caused it.
func TestLettersAreInThePersonsLanguage(t *testing.T) {
	w, err := newWords()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLetters(w)
	if err != nil {
		t.Fatal(err)
	}
	h := letterhead{Tenant: "Acme", Base: "https://id.example.com", Locale: "en"}
	for locale, want := range map[string]string{"de-AT": "Neues Passwort", "": "Set a new password",
		"fr": "Set a new password"} {
		u := user.User{Profile: user.Profile{Email: "ada@acme.example", Locale: locale}}
		m, err := l.write(h, u, resetLetter(h, u, "/reset"))
		if err != nil || !strings.HasPrefix(m.Subject, want) {
			t.Errorf("to somebody who reads %q: %q, %v", locale, m.Subject, err)
		}
	}
}

// TestLettersInABrowser checks the letters in the web view of a mail program. It saves pictures if
// GATEHOUSE_TEST_SCREENSHOTS is set.
func TestLettersInABrowser(t *testing.T) {
	w, err := newWords()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLetters(w)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := letterhead{Tenant: "Acme", Base: "https://id.example.com/t/acme", Accent: "#e05a00", Locale: r.URL.Query().Get("locale")}
		u := user.User{Profile: user.Profile{Email: "a.very.long.address.of.ada.lovelace@department.acme.example"}}
		m, err := l.write(h, u, letterSpecimens(h, u)[r.URL.Query().Get("name")])
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(m.HTML))
	}))
	defer server.Close()
	b := browser.Start(t)
	p := b.Page(browser.Options{Width: 360, Height: 640})
	for _, locale := range locales {
		for name := range letterSpecimens(letterhead{}, user.User{}) {
			p.Goto(server.URL + "/?locale=" + locale + "&name=" + name)
			if n := p.Overflow(); n > 0 {
				t.Errorf("%s %s: %d pixels wider than the window", locale, name, n)
			}
			for _, v := range p.Axe() {
				if v.ID != "region" && v.ID != "landmark-one-main" && v.ID != "page-has-heading-one" {
					// rules for pages, not for mail
					t.Errorf("%s %s: axe: %s (%s)\n  %s", locale, name, v.Help, v.ID, strings.Join(v.Nodes, "\n  "))
				}
			}
			if dir := os.Getenv("GATEHOUSE_TEST_SCREENSHOTS"); dir != "" {
				p.Screenshot(filepath.Join(dir, "letter-"+locale+"-"+name+".png"))
			}
		}
	}
}
