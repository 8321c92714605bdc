package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
)

// JobKind is the kind of job that sends a Message.
const JobKind = "mail.send"

// Limits of a message.
const (
	maxSubject = 200      // code points
	maxBody    = 64 << 10 // bytes, of each of the two forms
)

// Message is one mail to one recipient.
type Message struct {
	ID       string `json:"id"`        // set by Enqueue; the left side of the Message-ID
	To       string `json:"to"`        // a bare address: ada@example.com
	FromName string `json:"from_name"` // shown as the sender: the tenant's name; may be empty
	Subject  string `json:"subject"`
	Text     string `json:"text"`
	HTML     string `json:"html,omitempty"`
}

// errMessage is wrapped by the error of a message that must not be sent as it is.
var errMessage = errors.New("mail: the message cannot be sent")

// Check returns an error that wraps errMessage if m cannot be sent. The recipient, the sender's
// name and the subject must each be one line, because they reach a header.
func (m Message) Check() error {
	to, ok := typed.Address(m.To)
	switch {
	case !ok || to != m.To:
		return fmt.Errorf("%w: the recipient must be one bare address", errMessage)
	case m.Subject == "" || !oneLine(m.Subject) || utf8.RuneCountInString(m.Subject) > maxSubject:
		return fmt.Errorf("%w: the subject must be one line of at most %d characters", errMessage, maxSubject)
	case !oneLine(m.FromName) || utf8.RuneCountInString(m.FromName) > maxSubject:
		return fmt.Errorf("%w: the sender's name must be one line", errMessage)
	case strings.TrimSpace(m.Text) == "":
		return fmt.Errorf("%w: it has no text", errMessage)
	case len(m.Text) > maxBody || len(m.HTML) > maxBody:
		return fmt.Errorf("%w: its text or HTML is larger than %d bytes", errMessage, maxBody)
	case !utf8.ValidString(m.Text) || !utf8.ValidString(m.HTML) || strings.ContainsRune(m.Text, 0):
		return fmt.Errorf("%w: its text is not UTF-8", errMessage)
	}
	return nil
}

func oneLine(s string) bool {
	breaks := func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
	return utf8.ValidString(s) && !strings.ContainsFunc(s, breaks)
}

// Enqueue sends m after tx commits. It fails for a message that cannot be sent.
func Enqueue(q *job.Queue, tx *db.Tx, m Message) error {
	m.ID = id.New().String()
	if err := m.Check(); err != nil {
		return err
	}
	return q.Enqueue(tx, job.New{Kind: JobKind, Payload: m})
}

// Sender sends messages. The job of a message that it fails to send is retried.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Handle returns the handler of JobKind, which sends with s.
func Handle(s Sender) job.Handler {
	return func(ctx context.Context, _ caller.Caller, payload []byte) error {
		var m Message
		if err := json.Unmarshal(payload, &m); err != nil {
			return fmt.Errorf("mail: %w", err)
		}
		if err := m.Check(); err != nil {
			return err
		}
		return s.Send(ctx, m)
	}
}

// Discarder is the Sender of a deployment without mail. It logs that a mail was not sent, without
// its text.
type Discarder struct{ Log *slog.Logger }

// Send implements Sender.
func (d Discarder) Send(ctx context.Context, m Message) error {
	d.Log.WarnContext(ctx, "mail not sent, because smtp-url names no server", "to", m.To, "subject", m.Subject)
	return nil
}

// Printer is the Sender of development. It writes mail to the log with all links, which a log in
// production must not hold.
type Printer struct{ Log *slog.Logger }

// Send implements Sender.
func (p Printer) Send(ctx context.Context, m Message) error {
	p.Log.InfoContext(
		ctx,
		"mail, printed because no SMTP server is configured",
		"to",
		m.To,
		"subject",
		m.Subject,
		"text",
		m.Text,
	)
	return nil
}
