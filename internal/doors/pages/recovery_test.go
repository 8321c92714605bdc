package pages_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	kitmail "github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/smtp"
)

// only returns the one mail of sent whose subject has the words.
func only(t *testing.T, sent []kitmail.Message, words string) kitmail.Message {
	t.Helper()
	var found []kitmail.Message
	for _, m := range sent {
		if strings.Contains(m.Subject, words) {
			found = append(found, m)
		}
	}
	if len(found) != 1 || len(sent) != 1 {
		t.Fatalf("%d mails, %d of them with %q; want that one: %+v", len(sent), len(found), words, sent)
	}
	return found[0]
}

// TestResetGoesOnWhereItWasAsked: the application somebody was on the way to is
// not forgotten over a forgotten password, in the browser that asked and there only.
func TestResetGoesOnWhereItWasAsked(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g, phone := h.guest(), h.guest()
		start := g.get("/account/sessions") // on the way there
		flow := hiddenRE.FindStringSubmatch(start.body)[2]
		g.fill(g.get("/forgotten?flow="+flow), "email", "ada@acme.example")
		link := h.linkIn(h.work(), "ada@acme.example")
		g.fill(g.get("/forgotten?flow="+flow), "email", "ada@acme.example")
		second := h.linkIn(h.work(), "ada@acme.example")

		done := g.fill(g.get(link), "password", "another long passphrase")
		says(t, done, 200, "Your new password is set.")
		if !strings.Contains(done.path, flow) {
			t.Errorf("the reset goes on at %s, want the flow %s", done.path, flow)
		}
		only(t, h.work(), "was changed")
		says(t, g.fill(done, "username", "ada@acme.example", "password", "another long passphrase"), 200, "Where you are signed in")

		// A link that a newer password has ended; and a new one, opened in another browser.
		says(t, phone.get(second), 404, "This link does not work any more")
		g = h.guest()
		g.fill(g.get("/forgotten"), "email", "ada@acme.example")
		link = h.linkIn(h.work(), "ada@acme.example")
		done = phone.fill(phone.get(link), "password", "a third long passphrase")
		says(t, done, 200, "Your new password is set.")
		says(t, phone.fill(done, "username", "ada@acme.example", "password", "a third long passphrase"), 200, "Hello")
	})
}

// TestOpeningALinkUsesNothing: mail scanners open links, some of them often.
func TestOpeningALinkUsesNothing(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g := h.guest()
		g.fill(g.get("/register"), registration("ada@acme.example")...)
		confirm := h.linkIn(h.work(), "ada@acme.example")
		scanner := h.guest()
		for range 3 {
			says(t, scanner.get(confirm), 200, "Confirm your address")
			res, err := scanner.http.Head(h.url + confirm)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("HEAD: %v %v", res, err)
			}
			_ = res.Body.Close()
		}
		says(t, g.fill(g.get(confirm)), 200, "Hello, Ada")
		asker := h.guest()
		asker.fill(asker.get("/forgotten"), "email", "ada@acme.example")
		reset := h.linkIn(h.work(), "ada@acme.example")
		for range 3 {
			says(t, scanner.get(reset), 200, "Set a new password")
		}
		says(t, asker.fill(asker.get(reset), "password", "another long passphrase"), 200, "Your new password is set.")

		// A link is for its own page.
		asker.fill(asker.get("/forgotten"), "email", "ada@acme.example")
		h.work()
		for _, cross := range []string{strings.Replace(reset, "/reset", "/confirm", 1), strings.Replace(confirm, "/confirm", "/reset", 1), strings.Replace(confirm, "/confirm", "/setup", 1)} {
			if a := scanner.get(cross); a.status != http.StatusNotFound {
				t.Errorf("%s answers %d", cross, a.status)
			}
		}
	})
}

// TestRegisterTwiceInOneBrowser: who mistyped the password goes back and corrects it.
func TestRegisterTwiceInOneBrowser(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g := h.guest()
		form := g.get("/register")
		first := registration("ada@acme.example")
		first[len(first)-1] = "a mistyped long passphrase"
		g.fill(form, first...)
		h.work()
		says(t, g.fill(form, registration("ada@acme.example")...), 200, "We sent a message to ada@acme.example")
		link := h.linkIn(h.work(), "ada@acme.example")
		says(t, g.fill(g.get(link)), 200, "Hello, Ada")
		says(t, h.guest().signIn("ada@acme.example"), 200, "Hello, Ada")

		// Another browser cannot: the address is taken, confirmed or not.
		fresh, stranger := h.guest(), h.guest()
		fresh.fill(fresh.get("/register"), registration("bob@acme.example")...)
		h.work()
		theirs := registration("bob@acme.example")
		theirs[len(theirs)-1] = "the stranger's passphrase"
		says(t, stranger.fill(stranger.get("/register"), theirs...), 200, "We sent a message to bob@acme.example")
		only(t, h.work(), "has an account")
		x := h.guest()
		says(t, x.fill(x.get("/signin"), "username", "bob@acme.example", "password", "the stranger's passphrase"), 422, "is not right")
	})
}

// TestSentAgainIsCountedByAddress: a flow's login hint does not reset the count of
// the mails that one address gets.
func TestSentAgainIsCountedByAddress(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g := h.guest()
		g.fill(g.get("/register"), registration("ada@acme.example")...)
		n, status := len(h.work()), 0
		for range 8 {
			x := h.guest() // a new flow each time, whose hint is empty
			sent := x.signIn("ada@acme.example")
			says(t, sent, 200, "Check your mail")
			a := x.fillForm(sent, "/register/again")
			if status = a.status; status == 200 && !strings.Contains(a.text(), "Sent again.") {
				t.Errorf("it is not said that it was sent: %s", a.text())
			}
			n += len(h.work())
		}
		if status != http.StatusTooManyRequests || n > 3 {
			t.Errorf("the last answer is %d, and %d mails were sent to one address", status, n)
		}
	})
}

// TestSetupMakesTheFirstOwnerOnly: a link that was printed is void once somebody
// owns the tenant by another way, and of many who use it one makes an account.
func TestSetupMakesTheFirstOwnerOnly(t *testing.T) {
	link := func(t *testing.T, h *house) (link string) {
		t.Helper()
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			token, err := credential.NewLink(ctx, tx, credential.Setup, user.User{})
			link = "/setup?token=" + token.Reveal()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return link
	}
	both(t, nil, func(t *testing.T, h *house) {
		l := link(t, h)
		g := h.guest()
		form := g.get(l)
		says(t, form, 200, "Make the first owner")
		ada := h.person("ada@acme.example")
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			return role.Give(ctx, tx, role.Everything(), role.OfUser(ada.ID), role.Owner, time.Time{})
		}); err != nil {
			t.Fatal(err)
		}
		says(t, g.get(l), 404, "This set-up link was used")
		says(t, g.fill(form, registration("bob@acme.example")...), 404, "This set-up link was used")
	})
	both(t, nil, func(t *testing.T, h *house) {
		l := link(t, h)
		token, _ := url.ParseQuery(strings.TrimPrefix(l, "/setup?"))
		answers := make([]answer, 16)
		h.Race(t, len(answers), func(i int) {
			form := url.Values{"token": token["token"], "given_name": {"Ada"}, "family_name": {"L"}, "password": {password}}
			form.Set("email", "owner"+string(rune('a'+i))+"@acme.example")
			answers[i] = h.guest().post("/setup", form)
		})
		won := 0
		for _, a := range answers {
			switch a.status {
			case http.StatusOK:
				won++
			case http.StatusNotFound, http.StatusTooManyRequests, http.StatusConflict:
			default:
				t.Errorf("answer %d: %s", a.status, a.text())
			}
		}
		if won != 1 {
			t.Errorf("%d first owners", won)
		}
	})
}

// TestChangesAreReported: whoever's account is changed hears of it by mail.
func TestChangesAreReported(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		g.signIn("ada@acme.example")
		form := g.get("/account/authenticator")
		g.fillForm(form, "/account/authenticator", "code", h.code(find(t, secretRE, form)))
		m := only(t, h.work(), "An authenticator app was set up for ada@acme.example at Acme")
		if !strings.Contains(m.Text, "127.0.0.1") || !strings.Contains(m.Text, "2026-01-01 00:00 UTC") {
			t.Errorf("it does not say when and from where:\n%s", m.Text)
		}
		manage := g.get("/account/authenticator")
		g.fillForm(manage, "/authenticator/codes")
		only(t, h.work(), "New recovery codes were made")
		g.fillForm(manage, "/authenticator/remove")
		only(t, h.work(), "was removed")
		g.fillForm(g.get("/account/password"), "/account/password", "current_password", password, "password", "another long passphrase")
		only(t, h.work(), "The password of ada@acme.example at Acme was changed")
	})
}

// TestForgottenLeavesATrace: who asked for whose new password is in the audit log,
// whether there is such an account or not.
func TestForgottenLeavesATrace(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		g := h.guest()
		g.fill(g.get("/forgotten"), "email", "nobody@acme.example")
		if err := h.View(ctx, h.c, func(tx *db.Tx) error {
			list, err := audit.List(ctx, tx, audit.Filter{Action: "password.forget"}, page.Request{Limit: 10})
			if err == nil && (len(list.Items) != 1 || list.Items[0].Target.Name != "nobody@acme.example" || list.Items[0].Address == "") {
				t.Errorf("%+v", list.Items)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMailedLinkOverSMTP carries a reset all the way: form, job, a real SMTP
// server, the message as it arrived, link, new password.
func TestMailedLinkOverSMTP(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		h := build(t, d, func(s *tenant.Settings) { s.Locale = "de" })
		server := smtp.Start(t, smtp.Options{STARTTLS: true, User: "gatehouse", Password: "not a secret"})
		sender, err := kitmail.NewSMTP(&url.URL{Scheme: "smtp", User: url.UserPassword("gatehouse", "not a secret"), Host: server.Addr}, "Gatehouse <gatehouse@id.example>", server.Trust)
		if err != nil {
			t.Fatal(err)
		}
		h.runner.Handle(kitmail.JobKind, kitmail.Handle(sender))
		h.person("ada@acme.example")
		g := h.guest()
		g.fill(g.get("/forgotten"), "email", "ada@acme.example")
		for h.runner.Work(ctx) {
		}
		mails := server.Mails()
		if len(mails) != 1 || len(mails[0].To) != 1 || mails[0].To[0] != "ada@acme.example" || !mails[0].TLS {
			t.Fatalf("arrived: %+v", mails)
		}
		m, err := mail.ReadMessage(bytes.NewReader(mails[0].Raw))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || subject != "Neues Passwort für ada@acme.example bei Acme setzen" {
			t.Errorf("subject %q, %v", subject, err)
		}
		text, html := alternatives(t, m)
		link := linkRE.FindString(text)
		if !strings.Contains(html, strings.ReplaceAll(link, "&", "&amp;")) {
			t.Errorf("the two forms have different links:\n%s\n%s", text, html)
		}
		says(t, g.fill(g.get(strings.TrimPrefix(link, h.url)), "password", "another long passphrase"), 200, "Ihr neues Passwort ist gesetzt.")
	})
}

// alternatives returns the decoded text and HTML of a message.
func alternatives(t *testing.T, m *mail.Message) (text, html string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("the message is %q, %v", kind, err)
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return text, html
		}
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader = p
		switch strings.ToLower(p.Header.Get("Content-Transfer-Encoding")) {
		case "quoted-printable":
			body = quotedprintable.NewReader(p)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, p)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
			html = string(b)
		} else {
			text = string(b)
		}
	}
}
