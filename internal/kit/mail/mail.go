package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
)

// JobKind is the kind of job that sends a Message.
const JobKind = "mail.send"

// Limits of a message.
const (
	maxSubject = 200      // code points
	maxBody    = 64 << 10 // bytes, of each of the two forms
)

// Message is one mail to one person.
type Message struct {
	ID       string `json:"id"`        // made by Enqueue; the left side of the Message-ID
	To       string `json:"to"`        // a bare address: ada@example.com
	FromName string `json:"from_name"` // shown as the sender: the tenant's name; may be empty
	Subject  string `json:"subject"`
	Text     string `json:"text"`
	HTML     string `json:"html,omitempty"`
}

// ErrMessage is wrapped by the error for a message that must not be sent as it is.
var ErrMessage = errors.New("mail: the message cannot be sent")

// Check reports what is wrong with m. What reaches a header must be one line.
func (m Message) Check() error {
	a, err := netmail.ParseAddress(m.To)
	switch {
	case err != nil || a.Address != m.To || a.Name != "" || !oneLine(m.To):
		return fmt.Errorf("%w: the recipient must be one bare address", ErrMessage)
	case m.Subject == "" || !oneLine(m.Subject) || utf8.RuneCountInString(m.Subject) > maxSubject:
		return fmt.Errorf("%w: the subject must be one line of at most %d characters", ErrMessage, maxSubject)
	case !oneLine(m.FromName) || utf8.RuneCountInString(m.FromName) > maxSubject:
		return fmt.Errorf("%w: the sender's name must be one line", ErrMessage)
	case strings.TrimSpace(m.Text) == "":
		return fmt.Errorf("%w: it has no text", ErrMessage)
	case len(m.Text) > maxBody || len(m.HTML) > maxBody:
		return fmt.Errorf("%w: its text or HTML is larger than %d bytes", ErrMessage, maxBody)
	case !utf8.ValidString(m.Text) || !utf8.ValidString(m.HTML) || strings.ContainsRune(m.Text, 0):
		return fmt.Errorf("%w: its text is not UTF-8", ErrMessage)
	}
	return nil
}

func oneLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}

// Enqueue sends m once tx has been committed.
func Enqueue(q *job.Queue, tx *db.Tx, m Message) error {
	m.ID = id.New().String()
	if err := m.Check(); err != nil {
		return err
	}
	return q.Enqueue(tx, job.New{Kind: JobKind, Payload: m})
}

// Sender sends a message or fails; a failure is tried again later.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Handle returns the handler of JobKind.
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

// Printer is the Sender of development: it writes mail to the log, links and all.
// It is not for production, where a log must not hold a link that signs in.
type Printer struct{ Log *slog.Logger }

// Send implements Sender.
func (p Printer) Send(ctx context.Context, m Message) error {
	p.Log.InfoContext(ctx, "mail, printed because no SMTP server is configured", "to", m.To, "subject", m.Subject, "text", m.Text)
	return nil
}
