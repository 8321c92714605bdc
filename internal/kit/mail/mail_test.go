package mail

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/url"
	"strings"
	"testing"

	gomail "github.com/wneessen/go-mail"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/smtp"
)

func sender(t *testing.T, s *smtp.Server, scheme, user, query string, trust *tls.Config) *SMTP {
	t.Helper()
	u, err := url.Parse(scheme + "://" + user + s.Addr + query)
	if err != nil {
		t.Fatal(err)
	}
	out, err := NewSMTP(u, "Gatehouse <gatehouse@auth.example>", trust)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var hello = Message{
	ID: "0198", To: "ada@example.com", FromName: "Acme, \"Inc\" <x@y>", Subject: "Grüße aus Zürich 世界",
	Text: "Line one\n.\n.leading dot\nhttps://auth.example/t/acme/reset?token=gh_ml_x\n", HTML: "<p>Grüße</p>",
}

// parts returns the decoded text and HTML of a mail.
func parts(t *testing.T, raw []byte) (netmail.Header, string, string) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s %v", kind, err)
	}
	var text, html string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return m.Header, text, html
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		s := strings.ReplaceAll(string(b), "\r\n", "\n")
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
			html = s
		} else {
			text = s
		}
	}
}

func TestSend(t *testing.T) {
	guarded := smtp.Options{STARTTLS: true, User: "gate", Password: "p:ss w/rd"}
	for name, tc := range map[string]struct {
		opts                smtp.Options
		scheme, user, query string
		trusted, tls        bool
	}{
		"TLS from the start":       {smtp.Options{TLS: true}, "smtps", "", "", true, true},
		"STARTTLS":                 {smtp.Options{STARTTLS: true}, "smtp", "", "", true, true},
		"no TLS on this machine":   {smtp.Options{}, "smtp", "", "", true, false},
		"STARTTLS with a password": {guarded, "smtp", "gate:p%3Ass%20w%2Frd@", "", true, true},
		"TLS if there is some":     {smtp.Options{STARTTLS: true}, "smtp", "", "?tls=optional", true, true},
		"no TLS available":         {smtp.Options{}, "smtp", "", "?tls=optional", true, false},
		"no TLS requested":         {smtp.Options{STARTTLS: true}, "smtp", "", "?tls=none", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtp.Start(t, tc.opts)
			s := sender(t, srv, tc.scheme, tc.user, tc.query, srv.Trust)
			if err := s.Send(t.Context(), hello); err != nil {
				t.Fatal(err)
			}
			got := srv.Mails()
			if len(got) != 1 || got[0].From != "gatehouse@auth.example" || len(got[0].To) != 1 ||
				got[0].To[0] != hello.To || got[0].TLS != tc.tls {
				t.Fatalf("%+v", got)
			}
			h, text, html := parts(t, got[0].Raw)
			if text != hello.Text || html != hello.HTML {
				t.Errorf("text %q, HTML %q", text, html)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
			from, ferr := netmail.ParseAddress(h.Get("From"))
			if err != nil || subject != hello.Subject ||
				ferr != nil || from.Name != hello.FromName || from.Address != "gatehouse@auth.example" ||
				h.Get("Message-ID") != "<0198@auth.example>" || h.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("%v %v: %v", err, ferr, h)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	guarded := smtp.Options{STARTTLS: true, User: "gate", Password: "right"}
	inClear := smtp.Options{User: "gate", Password: "right"}
	for name, tc := range map[string]struct {
		opts                smtp.Options
		scheme, user, query string
		trusted             bool
	}{
		"a server without TLS":          {smtp.Options{}, "smtp", "", "?tls=required", true},
		"an untrusted certificate":      {smtp.Options{STARTTLS: true}, "smtp", "", "", false},
		"the same under TLS":            {smtp.Options{TLS: true}, "smtps", "", "", false},
		"optional TLS, not trusted":     {smtp.Options{STARTTLS: true}, "smtp", "", "?tls=optional", false},
		"a wrong password":              {guarded, "smtp", "gate:wrong@", "", true},
		"a password in the clear":       {inClear, "smtp", "gate:right@", "?tls=none", true},
		"a password, optional, no TLS":  {inClear, "smtp", "gate:right@", "?tls=optional", true},
		"a mailbox that does not exist": {smtp.Options{STARTTLS: true, Refuse: hello.To}, "smtp", "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtp.Start(t, tc.opts)
			trust := srv.Trust
			if !tc.trusted {
				trust = nil
			}
			err := sender(t, srv, tc.scheme, tc.user, tc.query, trust).Send(t.Context(), hello)
			if err == nil || len(srv.Mails()) > 0 {
				t.Errorf("it was sent: %v", srv.Mails())
			} else if strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// TestNoTextMakesAHeader sends texts that try to add a header or a recipient.
func TestNoTextMakesAHeader(t *testing.T) {
	srv := smtp.Start(t, smtp.Options{})
	s := sender(t, srv, "smtp", "", "?tls=none", nil)
	for _, evil := range []string{
		"x\r\nBcc: eve@example.com", "x\nBcc: eve@example.com", "x\rBcc: eve@example.com",
		"x\u2028Bcc: eve@example.com", "x\x00y", "\xff",
	} {
		for name, m := range map[string]Message{
			"subject":   {To: "ada@example.com", Subject: evil, Text: "t"},
			"recipient": {To: "ada@example.com" + evil[1:], Subject: "s", Text: "t"},
			"sender":    {To: "ada@example.com", FromName: evil, Subject: "s", Text: "t"},
		} {
			if name == "recipient" && len(evil) < 2 {
				continue
			}
			if err := s.Send(t.Context(), m); !errors.Is(err, errMessage) {
				t.Errorf("%s %q: %v", name, evil, err)
			}
		}
	}
	for _, to := range []string{
		"", "ada", "ada@example.com, eve@example.com", "Ada <ada@example.com>", "<ada@example.com>",
		"ada@example.com>", "a b@example.com", "ada@example.com (x)",
	} {
		if err := s.Send(t.Context(), Message{To: to, Subject: "s", Text: "t"}); !errors.Is(err, errMessage) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	for _, m := range []Message{
		{To: "ada@example.com", Text: "t"},
		{To: "ada@example.com", Subject: "s"},
		{To: "ada@example.com", Subject: strings.Repeat("s", 201), Text: "t"},
		{To: "ada@example.com", Subject: "s", Text: strings.Repeat("t", 64<<10+1)},
		{To: "ada@example.com", Subject: "s", Text: "\xff"},
	} {
		if err := s.Send(t.Context(), m); !errors.Is(err, errMessage) {
			t.Errorf("%.60v: %v", m, err)
		}
	}
	if got := srv.Mails(); len(got) != 0 {
		t.Errorf("sent: %v", got)
	}
	body := Message{To: "ada@example.com", Subject: "s", Text: "\r\n.\r\nMAIL FROM:<eve@example.com>\r\n", HTML: "x"}
	if err := s.Send(t.Context(), body); err != nil || len(srv.Mails()) != 1 {
		t.Errorf("a body that looks like commands: %v, %d mails", err, len(srv.Mails()))
	}
}

func TestServerURLs(t *testing.T) {
	for _, bad := range []string{"http://h", "smtp://h?tls=maybe", "smtp://h:0", "smtp://h:99999999"} {
		u, err := url.Parse(bad)
		if err != nil {
			continue
		}
		if _, err := NewSMTP(u, "g@example.com", nil); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	u, _ := url.Parse("smtp://h")
	if _, err := NewSMTP(u, "nobody", nil); err == nil {
		t.Error("a sender without address is accepted")
	}
}

// A server elsewhere must offer TLS. One on this machine need not.
func TestTLSIsRequiredOfOtherMachines(t *testing.T) {
	for server, want := range map[string]gomail.TLSPolicy{
		"smtp://mail.example":               gomail.TLSMandatory,
		"smtp://192.0.2.1":                  gomail.TLSMandatory,
		"smtp://localhost.example":          gomail.TLSMandatory,
		"smtp://localhost":                  gomail.TLSOpportunistic,
		"smtp://127.0.0.1:25":               gomail.TLSOpportunistic,
		"smtp://[::1]":                      gomail.TLSOpportunistic,
		"smtp://localhost?tls=required":     gomail.TLSMandatory,
		"smtp://mail.example?tls=optional":  gomail.TLSOpportunistic,
		"smtp://mail.example:2525?tls=none": gomail.NoTLS,
	} {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tlsPolicy(u); err != nil || got != want {
			t.Errorf("%s: %v (%v), want %v", server, got, err, want)
		}
	}
}

// Check signs in, and sends nothing.
func TestCheck(t *testing.T) {
	srv := smtp.Start(t, smtp.Options{STARTTLS: true, User: "gate", Password: "right"})
	if err := sender(t, srv, "smtp", "gate:right@", "", srv.Trust).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := sender(t, srv, "smtp", "gate:wrong@", "", srv.Trust).Check(t.Context()); err == nil {
		t.Error("a wrong password is not noticed")
	}
	if got := srv.Mails(); len(got) != 0 {
		t.Errorf("sent: %v", got)
	}
}

// TestMailRidesInItsTransaction rolls one transaction back and commits another.
func TestMailRidesInItsTransaction(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := t.Context()
		keys, err := secret.ParseKeyRing(secret.NewKey("k"))
		if err != nil {
			t.Fatal(err)
		}
		srv := smtp.Start(t, smtp.Options{})
		q := job.NewQueue(keys)
		r := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		r.Handle(JobKind, Handle(sender(t, srv, "smtp", "", "?tls=none", nil)))
		c := d.Tenant(t, "acme")
		stop := errors.New("stop")
		err = d.Update(ctx, c, func(tx *db.Tx) error { return errors.Join(Enqueue(q, tx, hello), stop) })
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		for r.Work(ctx) {
		}
		if got := srv.Mails(); len(got) != 0 {
			t.Fatalf("a mail without its transaction: %v", got)
		}
		if err := d.Update(ctx, c, func(tx *db.Tx) error { return Enqueue(q, tx, hello) }); err != nil {
			t.Fatal(err)
		}
		for r.Work(ctx) {
		}
		if got := srv.Mails(); len(got) != 1 || bytes.Contains(got[0].Raw, []byte("<0198@")) {
			t.Errorf("%d mails, want one with an id of its own", len(got))
		}
		err = d.Update(ctx, c, func(tx *db.Tx) error { return Enqueue(q, tx, Message{To: "x"}) })
		if !errors.Is(err, errMessage) {
			t.Errorf("a bad message is enqueued: %v", err)
		}
	})
}

// A deployment without mail logs that a mail was not sent, but not the link in it.
func TestDiscarder(t *testing.T) {
	var b bytes.Buffer
	if err := (Discarder{Log: slog.New(slog.NewTextHandler(&b, nil))}).Send(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "ada@example.com") || strings.Contains(b.String(), "gh_ml_x") {
		t.Error(b.String())
	}
}

func TestPrinter(t *testing.T) {
	var b bytes.Buffer
	if err := (Printer{Log: slog.New(slog.NewTextHandler(&b, nil))}).Send(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "ada@example.com") || !strings.Contains(b.String(), "/reset?token=gh_ml_x") {
		t.Error(b.String())
	}
}
