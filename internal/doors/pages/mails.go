package pages

import (
	"fmt"
	"html"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
)

// letter is a mail of one paragraph, one link and one line of small print.
type letter struct {
	subject, text, action, small string // ids of messages; arguments Tenant and Address
}

var (
	mailConfirmAddress = letter{"mail.confirm_subject", "mail.confirm_text", "mail.confirm_action", "mail.confirm_small"}
	mailAccountExists  = letter{"mail.exists_subject", "mail.exists_text", "mail.exists_action", "mail.exists_small"}
	mailResetLink      = letter{"mail.reset_subject", "mail.reset_text", "mail.reset_action", "mail.reset_small"}
)

// mail enqueues l to an address; link is below the tenant's base.
func (v *visit) mail(d *Door, tx *db.Tx, to string, l letter, link string) error {
	return d.post(tx, v.look.Locale, v.site.Name, to, l, v.site.URL(link))
}

func (d *Door) post(tx *db.Tx, locale, tenant, to string, l letter, link string) error {
	w := d.renderer.words[chooseLocale(locale, locale)]
	text := func(id string) string { return w.text(say(id, "Tenant", tenant, "Address", to)) }
	plain := []string{text(l.text), link, text(l.small)}
	markup := fmt.Sprintf(`<!doctype html><html lang="%s"><body style="font:16px/1.5 system-ui,sans-serif;max-width:560px;margin:24px auto;padding:0 16px"><p>%s</p><p><a href="%s">%s</a></p><p style="color:#59616d;font-size:14px">%s</p></body></html>`,
		w.locale, html.EscapeString(plain[0]), html.EscapeString(link), html.EscapeString(text(l.action)), html.EscapeString(plain[2]))
	if err := mail.Enqueue(d.Queue, tx, mail.Message{To: to, FromName: tenant, Subject: line(text(l.subject)), Text: strings.Join(plain, "\n\n") + "\n", HTML: markup}); err != nil {
		return fmt.Errorf("pages: mail: %w", err)
	}
	return nil
}

// line cuts a subject to what a header takes: an address and a name can be long.
func line(s string) string {
	const limit = 150
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}
