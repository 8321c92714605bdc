package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// smtpSender sends through a mail server, with a connection for each mail. It is safe for
// concurrent use.
type smtpSender struct {
	host    string
	options []gomail.Option
	from    *netmail.Address
}

// sendTimeout bounds a delivery and each step of it.
const sendTimeout = 30 * time.Second

// NewSMTP returns a sender for the mail server at a URL.
//
//   - smtps://user:password@host:465 uses TLS from the start.
//   - smtp://user:password@host:587 requires STARTTLS.
//   - smtp://…?tls=optional uses STARTTLS if the server offers it.
//   - smtp://…?tls=none uses no TLS, for a server on the same machine.
//
// It never sends a password without TLS. from is the sender, "Name <address>". roots may be nil,
// for the certificate authorities of the machine.
func NewSMTP(server *url.URL, from string, roots *tls.Config) (Sender, error) {
	sender, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("mail: the sender must be an address such as \"Gatehouse <gatehouse@example.com>\"")
	}
	_, domain, _ := strings.Cut(sender.Address, "@")
	config := &tls.Config{}
	if roots != nil {
		config = roots.Clone()
	}
	config.ServerName = server.Hostname()
	config.MinVersion = tls.VersionTLS12
	options := []gomail.Option{gomail.WithTimeout(sendTimeout), gomail.WithHELO(domain)}
	port := "587"
	switch mode := server.Query().Get("tls"); {
	case server.Scheme == "smtps":
		port = "465"
		options = append(options, gomail.WithSSL())
	case server.Scheme != "smtp":
		return nil, fmt.Errorf("mail: the server's URL must begin with smtp:// or smtps://")
	case mode == "" || mode == "required":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case mode == "optional":
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case mode == "none":
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("mail: tls in the server's URL is required, optional or none")
	}
	options = append(options, gomail.WithTLSConfig(config))
	if p := server.Port(); p != "" {
		port = p
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("mail: the server's port must be from 1 to 65535")
	}
	options = append(options, gomail.WithPort(n))
	if user := server.User.Username(); user != "" {
		password, _ := server.User.Password()
		// Auto-discovery chooses the strongest mechanism that both sides have. Without TLS it never
		// chooses one that shows the password.
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(user), gomail.WithPassword(password))
	}
	s := &smtpSender{host: server.Hostname(), options: options, from: sender}
	if _, err := s.client(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *smtpSender) client() (*gomail.Client, error) {
	c, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return c, nil
}

// Send implements Sender.
func (s *smtpSender) Send(ctx context.Context, m Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	from := *s.from
	if m.FromName != "" {
		from.Name = m.FromName
	}
	msg.FromMailAddress(&from)
	msg.ToMailAddress(&netmail.Address{Address: m.To})
	msg.Subject(m.Subject)
	_, domain, _ := strings.Cut(s.from.Address, "@")
	if m.ID != "" {
		msg.SetMessageIDWithValue(m.ID + "@" + domain)
	}
	// RFC 3834 §5: holiday notices should not answer this.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := c.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}
