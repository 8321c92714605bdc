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
)

// Limits of what a user may hold.
const (
	maxEmail      = 254 // bytes, RFC 5321 §4.5.3.1.3 less the angle brackets
	maxLocalPart  = 64  // bytes, RFC 5321 §4.5.3.1.1
	maxUsername   = 64  // code points
	maxName       = 128 // code points
	maxAttributes = 8 << 10
	maxTerms      = 16
)

// EmailKey returns the form of an email address that is unique in a tenant, and
// whether the address can be mail's at all. Addresses are ASCII: domains with
// other letters are written in their xn-- form.
func EmailKey(email string) (string, bool) {
	if len(email) > maxEmail {
		return "", false
	}
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" || len(local) > maxLocalPart || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", false
	}
	for _, c := range []byte(local) { // RFC 5321 §4.1.2 Dot-string
		if !letterOrDigit(c) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", rune(c)) {
			return "", false
		}
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for _, c := range []byte(label) {
			if !letterOrDigit(c) && c != '-' {
				return "", false
			}
		}
	}
	return strings.ToLower(email), true
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// UsernameKey returns the form of a username that is unique in a tenant: RFC 8265
// UsernameCaseMapped.
func UsernameKey(username string) (string, bool) {
	if username == "" || len(username) > maxUsername*utf8.UTFMax {
		return "", false
	}
	key, err := precis.UsernameCaseMapped.String(username)
	if err != nil || utf8.RuneCountInString(key) > maxUsername || strings.Contains(key, "@") {
		return "", false
	}
	return key, true
}

// stored is what is kept of a user beside the visible fields.
type stored struct {
	emailKey, usernameKey *string
	attributes            string
	terms                 []string
}

// normalise checks and cleans u in place and derives what is stored with it. It
// says everything that is wrong at once.
func normalise(u *User) (stored, error) {
	var n stored
	var wrong fault.Fields
	u.Email, u.Username = strings.TrimSpace(u.Email), strings.TrimSpace(u.Username)
	if u.Email == "" && u.Username == "" {
		wrong.Add("email", "A user needs an email address or a username.")
	}
	if u.Email == "" {
		u.EmailVerified = false
	} else if key, ok := EmailKey(u.Email); ok {
		n.emailKey = &key
	} else {
		wrong.Add("email", "This is not an email address. Write it like name@example.com.")
	}
	if u.Username != "" {
		if key, ok := UsernameKey(u.Username); ok {
			n.usernameKey = &key
		} else {
			wrong.Add("username", "A username has at most %d letters, digits and marks, no spaces and no @.", maxUsername)
		}
	}
	for _, f := range []struct {
		name  string
		value *string
	}{{"given_name", &u.GivenName}, {"family_name", &u.FamilyName}} {
		clean, ok := cleanName(*f.value)
		if !ok {
			wrong.Add(f.name, "A name has at most %d characters and no line breaks.", maxName)
		}
		*f.value = clean
	}
	if u.Locale != "" {
		tag, err := language.Parse(u.Locale[:min(len(u.Locale), 36)])
		if err != nil || len(u.Locale) > 35 {
			wrong.Add("locale", "This is not a language tag. Write it like en or de-CH.")
		} else {
			u.Locale = tag.String()
		}
	}
	if u.Attributes == nil {
		u.Attributes = map[string]any{}
	}
	attributes, err := json.Marshal(u.Attributes)
	switch {
	case err != nil:
		wrong.Add("attributes", "The attributes are not JSON.")
	case len(attributes) > maxAttributes:
		wrong.Add("attributes", "The attributes are larger than %d bytes.", maxAttributes)
	case bytes.Contains(attributes, []byte(`\u0000`)):
		wrong.Add("attributes", "The attributes contain a NUL character.")
	}
	n.attributes = string(attributes)
	n.terms = terms(*u)
	return n, wrong.Err("user.invalid")
}

func cleanName(s string) (string, bool) {
	if len(s) > maxName*utf8.UTFMax || !utf8.ValidString(s) {
		return "", false
	}
	s = strings.TrimSpace(norm.NFC.String(s))
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return "", false
		}
	}
	return s, utf8.RuneCountInString(s) <= maxName
}

// fold is how search compares: without case, without accents, compatibility forms
// made plain.
func fold(s string) string {
	s = s[:min(len(s), 2*maxName*utf8.UTFMax+1)]
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	t := transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), cases.Fold(), norm.NFC)
	out, _, err := transform.String(t, s)
	if err != nil {
		return strings.ToLower(s)
	}
	return out
}

// terms lists what the user can be found by: the beginning of any of them.
func terms(u User) []string {
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if s = fold(strings.TrimSpace(s)); s != "" && !seen[s] && len(out) < maxTerms {
			seen[s] = true
			out = append(out, s)
		}
	}
	add(u.Email)
	add(u.Username)
	if _, domain, ok := strings.Cut(u.Email, "@"); ok {
		add(domain)
	}
	add(u.GivenName + " " + u.FamilyName)
	add(u.FamilyName)
	for _, w := range strings.FieldsFunc(u.GivenName+" "+u.FamilyName, func(r rune) bool { return unicode.IsSpace(r) || r == '-' }) {
		add(w)
	}
	return out
}
