package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// SMTP sends through a mail server, with a connection for each mail. It is safe for concurrent use.
type SMTP struct {
	host    string
	options []gomail.Option
	from    *netmail.Address
}

// Limits of the time that a server may take.
const (
	sendTimeout  = 30 * time.Second // a delivery, and each step of it
	checkTimeout = 10 * time.Second
)

// NewSMTP returns a sender for the mail server at a URL.
//
//   - smtps://user:password@host:465 uses TLS from the start.
//   - smtp://user:password@host:587 requires STARTTLS, unless the server is on this machine.
//   - smtp://…?tls=optional uses STARTTLS if the server offers it.
//   - smtp://…?tls=required requires it of a server on this machine too.
//   - smtp://…?tls=none uses no TLS.
//
// It never sends a password without TLS. from is the sender, "Name <address>". roots may be nil,
// for the certificate authorities of the machine.
func NewSMTP(server *url.URL, from string, roots *tls.Config) (*SMTP, error) {
	sender, err := netmail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("the sender must be an address such as \"Gatehouse <gatehouse@example.com>\"")
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
	switch server.Scheme {
	case "smtps":
		port = "465"
		options = append(options, gomail.WithSSL())
	case "smtp":
		policy, err := tlsPolicy(server)
		if err != nil {
			return nil, err
		}
		options = append(options, gomail.WithTLSPolicy(policy))
	default:
		return nil, fmt.Errorf("the server's URL must begin with smtp:// or smtps://")
	}
	options = append(options, gomail.WithTLSConfig(config))
	if p := server.Port(); p != "" {
		port = p
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("the server's port must be from 1 to 65535")
	}
	options = append(options, gomail.WithPort(n))
	if user := server.User.Username(); user != "" {
		password, _ := server.User.Password()
		// Auto-discovery chooses the strongest mechanism that both sides have. Without TLS it never
		// chooses one that shows the password.
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(user), gomail.WithPassword(password))
	}
	s := &SMTP{host: server.Hostname(), options: options, from: sender}
	if _, err := s.client(); err != nil {
		return nil, err
	}
	return s, nil
}

// tlsPolicy returns when STARTTLS is used with a server. A server on this machine needs none: what
// is sent to it does not leave the machine.
func tlsPolicy(server *url.URL) (gomail.TLSPolicy, error) {
	mode := server.Query().Get("tls")
	if mode == "" {
		mode = "required"
		host := server.Hostname()
		if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
			mode = "optional"
		}
	}
	switch mode {
	case "required":
		return gomail.TLSMandatory, nil
	case "optional":
		return gomail.TLSOpportunistic, nil
	case "none":
		return gomail.NoTLS, nil
	}
	return 0, fmt.Errorf("tls in the server's URL is required, optional or none")
}

// Check connects to the server, signs in and disconnects.
func (s *SMTP) Check(ctx context.Context) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := c.DialWithContext(ctx); err != nil {
		return err
	}
	return c.Close()
}

func (s *SMTP) client() (*gomail.Client, error) {
	c, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return c, nil
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
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
