package pages

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	texttemplate "text/template"

	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
)

//go:embed mails/letter.txt mails/letter.html
var letterFiles embed.FS

// letter is a mail to one person about their account. It contains no text that a stranger typed
// but the address it goes to: our mail cannot be made to carry a stranger's message.
type letter struct {
	Subject message // what happened, and to which account
	Text    message
	Action  message // what the link does
	Small   message
	Link    string // absolute; "" for a letter without a link

	// Of a letter that tells about a change.
	When    string // UTC
	Device  message
	Address string

	// Filled in by write.
	Lang, Tenant, Base string
	Button             htmltemplate.CSS
}

// letterhead names the tenant that writes, and the language.
type letterhead struct {
	Tenant string // its name
	Base   string // its base URL
	Accent string
	Locale string // of the request that the letter comes from
}

func (v *visit) letterhead() letterhead {
	return letterhead{Tenant: v.site.Name, Base: v.site.Base, Accent: v.look.Accent, Locale: v.look.Locale}
}

// to returns a message about u's account at the tenant.
func (h letterhead) to(id string, u user.User) message {
	return say(id, "Tenant", h.Tenant, "Address", u.Email)
}

// confirmLetter asks a person who registered to confirm the address.
func confirmLetter(h letterhead, u user.User, path string) letter {
	return letter{Subject: h.to("mail.confirm_subject", u), Text: h.to("mail.confirm_text", u),
		Action: say("mail.confirm_action"), Small: say("mail.confirm_small"), Link: h.Base + path}
}

// existsLetter answers a registration with an address that has an account.
func existsLetter(h letterhead, u user.User, path string) letter {
	return letter{Subject: h.to("mail.exists_subject", u), Text: h.to("mail.exists_text", u),
		Action: say("mail.exists_action"), Small: say("mail.exists_small"), Link: h.Base + path}
}

// resetLetter carries the link to a new password.
func resetLetter(h letterhead, u user.User, path string) letter {
	return letter{Subject: h.to("mail.reset_subject", u), Text: h.to("mail.reset_text", u),
		Action: say("mail.reset_action"), Small: say("mail.reset_small"), Link: h.Base + path}
}

// changed is a change that a letter reports.
type changed uint8

const (
	passwordChanged changed = iota
	totpEnrolled
	totpRemoved
	codesRenewed
)

// changeLetter reports a change to the owner of the account, who may not have made it.
func changeLetter(h letterhead, u user.User, what changed) letter {
	l := letter{Small: say("mail.change_small")}
	switch what {
	case passwordChanged:
		l.Subject, l.Text = h.to("mail.password_subject", u), h.to("mail.password_text", u)
	case totpEnrolled:
		l.Subject, l.Text = h.to("mail.enrolled_subject", u), h.to("mail.enrolled_text", u)
	case totpRemoved:
		l.Subject, l.Text = h.to("mail.removed_subject", u), h.to("mail.removed_text", u)
	case codesRenewed:
		l.Subject, l.Text = h.to("mail.codes_subject", u), h.to("mail.codes_text", u)
	}
	return l
}

// letters writes mail in every language. It is immutable.
type letters struct {
	words map[string]*words
	text  map[string]*texttemplate.Template
	html  map[string]*htmltemplate.Template
}

func newLetters(w map[string]*words) (*letters, error) {
	l := &letters{words: w, text: map[string]*texttemplate.Template{}, html: map[string]*htmltemplate.Template{}}
	for locale, w := range w {
		var err error
		if l.text[locale], err = texttemplate.New("letter.txt").Funcs(texttemplate.FuncMap(w.funcs())).ParseFS(
			letterFiles, "mails/letter.txt"); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		if l.html[locale], err = htmltemplate.New("letter.html").Funcs(w.funcs()).ParseFS(letterFiles,
			"mails/letter.html"); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
	}
	return l, nil
}

// write renders p for u, in u's language if u has one.
func (l *letters) write(h letterhead, u user.User, p letter) (mail.Message, error) {
	locale := chooseLocale(h.Locale, u.Locale)
	colours := paletteOf(h.Accent)
	p.Lang, p.Tenant, p.Base = locale, h.Tenant, h.Base
	// The colours are hexadecimal numbers of our own making, whatever the tenant has set.
	p.Button = htmltemplate.CSS(fmt.Sprintf("display:inline-block;padding:10px "+
		"20px;border-radius:10px;font-weight:600;text-decoration:none;background:%s;color:%s", colours.Accent,
		colours.OnAccent))
	var text, html bytes.Buffer
	if err := l.text[locale].Execute(&text, p); err != nil {
		return mail.Message{}, fmt.Errorf("pages: letter: %w", err)
	}
	if err := l.html[locale].Execute(&html, p); err != nil {
		return mail.Message{}, fmt.Errorf("pages: letter: %w", err)
	}
	return mail.Message{To: u.Email, FromName: h.Tenant, Subject: line(l.words[locale].text(p.Subject)),
		Text: text.String(), HTML: html.String()}, nil
}

// line cuts a subject to the length of a header line.
func line(s string) string {
	const limit = 150
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// post mails p to u once tx is committed. It does nothing for a user without an address.
func (d *Door) post(tx *db.Tx, h letterhead, u user.User, p letter) error {
	if u.Email == "" {
		return nil
	}
	m, err := d.letters.write(h, u, p)
	if err != nil {
		return err
	}
	if err := mail.Enqueue(d.Queue, tx, m); err != nil {
		return fmt.Errorf("pages: mail: %w", err)
	}
	return nil
}

// report mails u what was changed in this visit, when and from where.
func (d *Door) report(v *visit, tx *db.Tx, u user.User, what changed) error {
	h := v.letterhead()
	p := changeLetter(h, u, what)
	p.When, p.Device = utcMinute(tx.Now()), deviceOf(v.caller.Agent)
	if v.caller.Address.IsValid() {
		p.Address = v.caller.Address.String()
	}
	return d.post(tx, h, u, p)
}
