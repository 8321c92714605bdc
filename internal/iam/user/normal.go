package user

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/runes"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
)

// Limits of what a user may hold. A login is an email address or a username, so it has at most
// MaxEmail characters.
const (
	MaxEmail      = typed.MaxAddress // bytes
	maxUsername   = 64               // code points
	MaxName       = 128              // code points
	maxAttributes = 8 << 10
	maxTerms      = 16
)

// EmailKey returns the form of an email address that is unique in a tenant, and whether mail can be
// sent to it. All spellings of an address have the same key.
func EmailKey(email string) (string, bool) {
	address, ok := typed.Address(email)
	if !ok {
		return "", false
	}
	return strings.ToLower(address), true
}

// parseUsername returns a username in the form that is stored, its form that is unique in a tenant
// (RFC 8265 UsernameCaseMapped), and whether it is valid. Invisible characters are removed only if
// it is not valid with them: Persian and Indic names contain joiners.
func parseUsername(s string) (string, string, bool) {
	if len(s) > MaxEmail*utf8.UTFMax {
		return "", "", false
	}
	for _, name := range [...]string{strings.TrimSpace(s), typed.Text(s)} {
		key, err := precis.UsernameCaseMapped.String(name)
		if err == nil && key != "" && utf8.RuneCountInString(key) <= maxUsername && !strings.Contains(key, "@") {
			return name, key, true
		}
	}
	return "", "", false
}

// LoginKey returns the one form of a login, whichever way it is typed: all spellings of a username
// or an address have the same.
func LoginKey(login string) string {
	if key, ok := EmailKey(login); ok {
		return key
	}
	if _, key, ok := parseUsername(login); ok {
		return key
	}
	return strings.ToLower(typed.Text(login))
}

// derived is what is stored of a profile besides its fields.
type derived struct {
	emailKey, usernameKey *string
	terms                 []string
}

// Normalise brings the fields of a profile that has no user yet into the form that is stored. It
// fails as Create does, except with ErrEmailTaken and ErrUsernameTaken.
func (p *Profile) Normalise() error {
	_, err := p.normalise()
	return err
}

// normalise cleans p in place and derives what is stored with it. It fails with an Invalid fault
// that names every wrong field.
func (p *Profile) normalise() (derived, error) {
	var d derived
	var wrong fault.Fields
	p.Email, p.Username = strings.TrimSpace(p.Email), strings.TrimSpace(p.Username)
	if p.Email == "" && p.Username == "" {
		wrong.Add("email", "A user needs an email address or a username.")
	}
	if p.Email == "" {
		p.EmailVerified = false
	} else if address, ok := typed.Address(p.Email); ok {
		key := strings.ToLower(address)
		p.Email, d.emailKey = address, &key
	} else {
		wrong.Add("email", "This is not an email address. Write it like name@example.com.")
	}
	if p.Username != "" {
		if name, key, ok := parseUsername(p.Username); ok {
			p.Username, d.usernameKey = name, &key
		} else {
			wrong.Add("username", "A username has at most %d letters, digits and marks, no spaces and no @.",
				maxUsername)
		}
	}
	for i, value := range p.pointers() {
		if f := fields[i]; f.line {
			text := value.(*string)
			clean, ok := cleanLine(*text, f.limit)
			if !ok {
				wrong.Add(f.name, "Use at most %d characters and no line breaks.", f.limit)
			}
			*text = clean
		}
	}
	if p.Locale != "" {
		tag, err := language.Parse(p.Locale[:min(len(p.Locale), 36)])
		if err != nil || len(p.Locale) > 35 {
			wrong.Add("locale", "This is not a language tag. Write it like en or de-CH.")
		} else {
			p.Locale = tag.String()
		}
	}
	p.normaliseClaims(&wrong)
	if p.Attributes == nil {
		p.Attributes = map[string]any{}
	}
	attributes, err := json.Marshal(p.Attributes)
	switch {
	case err != nil:
		wrong.Add("attributes", "The attributes are not JSON.")
	case len(attributes) > maxAttributes:
		wrong.Add("attributes", "The attributes are larger than %d bytes.", maxAttributes)
	case bytes.Contains(attributes, []byte(`\u0000`)):
		wrong.Add("attributes", "The attributes contain a NUL character.")
	}
	d.terms = p.terms()
	return d, wrong.Err("user.invalid")
}

// Check fails as Create would, before there is a database.
func (p Profile) Check() error {
	_, err := p.normalise()
	return err
}

// cleanLine trims a text and reports whether it is one line of at most limit characters.
func cleanLine(s string, limit int) (string, bool) {
	if len(s) > limit*utf8.UTFMax || !utf8.ValidString(s) {
		return "", false
	}
	s = strings.TrimSpace(norm.NFC.String(s))
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return "", false
		}
	}
	return s, utf8.RuneCountInString(s) <= limit
}

// fold returns the form of a text that search compares: without case and accents, compatibility
// forms resolved.
func fold(s string) string {
	s = s[:min(len(s), 2*MaxName*utf8.UTFMax+1)]
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	t := transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), cases.Fold(), norm.NFC)
	out, _, err := transform.String(t, s)
	if err != nil {
		return strings.ToLower(s)
	}
	return out
}

// terms returns the texts whose beginning finds the user in a search.
func (p *Profile) terms() []string {
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if s = fold(strings.TrimSpace(s)); s != "" && !seen[s] && len(out) < maxTerms {
			seen[s] = true
			out = append(out, s)
		}
	}
	add(p.Email)
	add(p.Username)
	if _, domain, ok := strings.Cut(p.Email, "@"); ok {
		add(domain)
	}
	add(p.GivenName + " " + p.FamilyName)
	add(p.FamilyName)
	for _, w := range strings.FieldsFunc(p.GivenName+" "+p.FamilyName,
		func(r rune) bool { return unicode.IsSpace(r) || r == '-' }) {
		add(w)
	}
	return out
}
