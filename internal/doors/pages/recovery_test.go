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
	"github.com/gatehouse-iam/gatehouse/internal/testkit/smtp"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
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

// A reset leads on to the application that the sign-in was for, in the browser that began it and
// only there.
func TestResetGoesOnWhereItWasAsked(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g, phone := h.guest(), h.guest()
		start := g.Open("/account/sessions") // on the way there
		flow := start.Find(t, flowRE)
		g.Fill(g.Open("/forgotten?flow="+flow), "email", "ada@acme.example")
		link := h.linkIn(h.Work(), "ada@acme.example")
		g.Fill(g.Open("/forgotten?flow="+flow), "email", "ada@acme.example")
		second := h.linkIn(h.Work(), "ada@acme.example")

		done := g.Fill(g.Open(link), "password", "another long passphrase")
		says(t, done, 200, "Your new password is set.")
		if !strings.Contains(done.Path, flow) {
			t.Errorf("the reset goes on at %s, want the flow %s", done.Path, flow)
		}
		only(t, h.Work(), "was changed")
		says(t, g.Fill(done, "username", "ada@acme.example", "password", "another long passphrase"), 200,
			"Where you are signed in")

		// A link that a newer password has ended; and a new one, opened in another browser.
		says(t, phone.Open(second), 404, "This link no longer works")
		g = h.guest()
		g.Fill(g.Open("/forgotten"), "email", "ada@acme.example")
		link = h.linkIn(h.Work(), "ada@acme.example")
		done = phone.Fill(phone.Open(link), "password", "a third long passphrase")
		says(t, done, 200, "Your new password is set.")
		says(t, phone.Fill(done, "username", "ada@acme.example", "password", "a third long passphrase"), 200, "Hello")
	})
}

// TestOpeningALinkUsesNothing: mail scanners open links, some of them often.
func TestOpeningALinkUsesNothing(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g := h.guest()
		g.Fill(g.Open("/register"), registration("ada@acme.example")...)
		confirm := h.linkIn(h.Work(), "ada@acme.example")
		scanner := h.guest()
		for range 3 {
			says(t, scanner.Open(confirm), 200, "Confirm your address")
			res, err := scanner.HTTP.Head(h.url + confirm)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("HEAD: %v %v", res, err)
			}
			_ = res.Body.Close()
		}
		says(t, g.Fill(g.Open(confirm)), 200, "Hello, Ada")
		asker := h.guest()
		asker.Fill(asker.Open("/forgotten"), "email", "ada@acme.example")
		reset := h.linkIn(h.Work(), "ada@acme.example")
		for range 3 {
			says(t, scanner.Open(reset), 200, "Set a new password")
		}
		says(t, asker.Fill(asker.Open(reset), "password", "another long passphrase"), 200, "Your new password is set.")

		// A link is for its own page.
		asker.Fill(asker.Open("/forgotten"), "email", "ada@acme.example")
		h.Work()
		for _, cross := range []string{strings.Replace(reset, "/reset", "/confirm", 1),
			strings.Replace(confirm, "/confirm", "/reset", 1), strings.Replace(confirm, "/confirm", "/setup", 1)} {
			if a := scanner.Open(cross); a.Status != http.StatusNotFound {
				t.Errorf("%s answers %d", cross, a.Status)
			}
		}
	})
}

// TestRegisterTwiceInOneBrowser: after a typing error in the password, the person goes back and
// corrects it.
func TestRegisterTwiceInOneBrowser(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g := h.guest()
		form := g.Open("/register")
		first := registration("ada@acme.example")
		first[len(first)-1] = "a mistyped long passphrase"
		g.Fill(form, first...)
		h.Work()
		says(t, g.Fill(form, registration("ada@acme.example")...), 200, "We sent an email to ada@acme.example")
		link := h.linkIn(h.Work(), "ada@acme.example")
		says(t, g.Fill(g.Open(link)), 200, "Hello, Ada")
		says(t, h.guest().SignIn("ada@acme.example"), 200, "Hello, Ada")

		// Another browser cannot: the address is taken, confirmed or not.
		fresh, stranger := h.guest(), h.guest()
		fresh.Fill(fresh.Open("/register"), registration("bob@acme.example")...)
		h.Work()
		theirs := registration("bob@acme.example")
		theirs[len(theirs)-1] = "the stranger's passphrase"
		says(t, stranger.Fill(stranger.Open("/register"), theirs...), 200, "We sent an email to bob@acme.example")
		only(t, h.Work(), "has an account")
		x := h.guest()
		says(t, x.Fill(x.Open("/signin"), "username", "bob@acme.example", "password", "the stranger's passphrase"), 422,
			"isn't right")
	})
}

// TestSentAgainIsCountedByAddress: a flow's login hint does not reset the count of
// the mails that one address gets.
func TestSentAgainIsCountedByAddress(t *testing.T) {
	both(t, open, func(t *testing.T, h *house) {
		g := h.guest()
		g.Fill(g.Open("/register"), registration("ada@acme.example")...)
		n, status := len(h.Work()), 0
		for range 8 {
			x := h.guest() // a new flow each time, whose hint is empty
			sent := x.SignIn("ada@acme.example")
			says(t, sent, 200, "Check your email")
			a := x.FillForm(sent, "/register/again")
			if status = a.Status; status == 200 && !strings.Contains(a.Text(), "Sent again.") {
				t.Errorf("it is not said that it was sent: %s", a.Text())
			}
			n += len(h.Work())
		}
		if status != http.StatusOK || n > 3 {
			t.Errorf("the last answer is %d, and %d mails were sent to one address", status, n)
		}
	})
}

// A printed link is void once the tenant has an owner, and of concurrent users of the link one
// creates an account.
func TestSetupMakesTheFirstOwnerOnly(t *testing.T) {
	link := func(t *testing.T, h *house) string {
		var link string
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
		form := g.Open(l)
		says(t, form, 200, "Create the first owner account")
		ada := h.person("ada@acme.example")
		if err := h.Update(ctx, h.c, func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfUser(ada.ID), role.Owner, time.Time{})
		}); err != nil {
			t.Fatal(err)
		}
		says(t, g.Open(l), 404, "This set-up link was used")
		says(t, g.Fill(form, registration("bob@acme.example")...), 404, "This set-up link was used")
	})
	both(t, nil, func(t *testing.T, h *house) {
		l := link(t, h)
		token, _ := url.ParseQuery(strings.TrimPrefix(l, "/setup?"))
		answers := make([]world.Answer, 16)
		h.Race(t, len(answers), func(i int) {
			form := url.Values{"token": token["token"], "given_name": {"Ada"}, "family_name": {"L"},
				"password": {password}}
			form.Set("email", "owner"+string(rune('a'+i))+"@acme.example")
			answers[i] = h.guest().Post("/setup", form)
		})
		won := 0
		for _, a := range answers {
			switch a.Status {
			case http.StatusOK:
				won++
			case http.StatusNotFound, http.StatusTooManyRequests, http.StatusConflict:
			default:
				t.Errorf("answer %d: %s", a.Status, a.Text())
			}
		}
		if won != 1 {
			t.Errorf("%d first owners", won)
		}
	})
}

// The owner of a changed account gets a mail.
func TestChangesAreReported(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		g.SignIn("ada@acme.example")
		form := g.Open("/account/authenticator")
		g.FillForm(form, "/account/authenticator", "code", h.code(form.Find(t, secretRE)))
		m := only(t, h.Work(), "An authenticator app was set up for ada@acme.example at Acme")
		if !strings.Contains(m.Text, "127.0.0.1") ||
			!strings.Contains(m.Text, h.Clock.Now().Format("2006-01-02 15:04 UTC")) {
			t.Errorf("it does not say when and from where:\n%s", m.Text)
		}
		manage := g.Open("/account/authenticator")
		g.FillForm(manage, "/authenticator/codes")
		only(t, h.Work(), "New recovery codes were created")
		g.FillForm(manage, "/authenticator/remove")
		only(t, h.Work(), "was removed")
		g.FillForm(g.Open("/account/password"), "/account/password", "current_password", password, "password",
			"another long passphrase")
		only(t, h.Work(), "The password of ada@acme.example at Acme was changed")
	})
}

// A request for a new password is in the audit log, whether or not the account exists.
func TestForgottenLeavesATrace(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		g := h.guest()
		g.Fill(g.Open("/forgotten"), "email", "nobody@acme.example")
		if err := h.View(ctx, h.c, func(tx *db.Tx) error {
			list, err := audit.List(ctx, tx, audit.Filter{Action: "password.forget"}, page.Request{Limit: 10})
			if err == nil && (len(list.Items) != 1 || list.Items[0].Target.Name != "nobody@acme.example" ||
				list.Items[0].Address == "") {
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
	both(t, func(s *tenant.Settings) { s.Locale = "de" }, func(t *testing.T, h *house) {
		server := smtp.Start(t, smtp.Options{STARTTLS: true, User: "gatehouse", Password: "not a secret"})
		sender, err := kitmail.NewSMTP(&url.URL{Scheme: "smtp", User: url.UserPassword("gatehouse", "not a secret"),
			Host: server.Addr}, "Gatehouse <gatehouse@id.example>", server.Trust)
		if err != nil {
			t.Fatal(err)
		}
		h.Jobs.Handle(kitmail.JobKind, kitmail.Handle(sender))
		h.person("ada@acme.example")
		g := h.guest()
		g.Fill(g.Open("/forgotten"), "email", "ada@acme.example")
		for h.Jobs.Work(ctx) {
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
		if err != nil || subject != "Neues Passwort für ada@acme.example bei Acme festlegen" {
			t.Errorf("subject %q, %v", subject, err)
		}
		text, html := alternatives(t, m)
		link := linkRE.FindString(text)
		if !strings.Contains(html, strings.ReplaceAll(link, "&", "&amp;")) {
			t.Errorf("the two forms have different links:\n%s\n%s", text, html)
		}
		says(t, g.Fill(g.Open(strings.TrimPrefix(link, h.url)), "password", "another long passphrase"), 200,
			"Ihr neues Passwort ist festgelegt.")
	})
}

// alternatives returns the decoded text and HTML of a message.
func alternatives(t *testing.T, m *mail.Message) (string, string) {
	var text string
	var html string
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
