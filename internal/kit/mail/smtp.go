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

// SMTP sends over a mail server. Each mail has a connection of its own, so that a
// server that was restarted is no special case. It is safe for concurrent use.
type SMTP struct {
	host    string
	options []gomail.Option
	from    *netmail.Address
}

// sendTimeout bounds a whole delivery, and each step of it.
const sendTimeout = 30 * time.Second

// NewSMTP makes a sender for a server given as a URL: smtps://user:password@host:465
// for TLS from the start, smtp://user:password@host:587 for STARTTLS, which must then
// succeed. smtp://…?tls=optional also sends where the server has no TLS, and ?tls=none
// never asks for it: for a server on the same machine. A password is never sent
// without TLS. from is the sender, "Name <address>". roots is nil for the machine's
// certificate authorities.
func NewSMTP(server *url.URL, from string, roots *tls.Config) (*SMTP, error) {
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
		// Auto-discovery takes the strongest mechanism that both sides have and never
		// one that shows the password where there is no TLS.
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(user), gomail.WithPassword(password))
	}
	s := &SMTP{host: server.Hostname(), options: options, from: sender}
	_, err = s.client()
	return s, err
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
	// RFC 3834 §5: nobody's holiday notice should answer this.
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
