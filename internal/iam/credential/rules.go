package credential

import (
	_ "embed"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Bounds on the length of a password, in code points. A tenant may require more than
// MinPasswordLength, never less.
const (
	MinPasswordLength = 8
	MaxPasswordLength = 256
	// MaxPasswordBytes bounds what is read of a password, whatever its characters.
	MaxPasswordBytes = MaxPasswordLength * utf8.UTFMax
)

// Rules are the requirements for a new password.
type Rules struct {
	MinLength int      // code points; below MinPasswordLength means MinPasswordLength
	Not       []string // the account's email, username and names, which it must not repeat
}

// common holds about three thousand of the passwords that attackers try first
// (those of the zxcvbn list, MIT, that are long enough), one a line, in lower case.
//
//go:embed common_passwords.txt
var common string

var commonSet = sync.OnceValue(func() map[string]struct{} {
	set := make(map[string]struct{}, 3100)
	for line := range strings.Lines(common) {
		set[strings.TrimSpace(line)] = struct{}{}
	}
	return set
})

// Weakness says why a password is refused, so that doors can say it in the user's language.
type Weakness string

// The weaknesses. Good means that the password is acceptable.
const (
	Good       Weakness = ""
	Empty      Weakness = "empty"
	TooShort   Weakness = "too-short" // fewer code points than the minimum
	TooLong    Weakness = "too-long"  // more code points than MaxPasswordLength
	Unusable   Weakness = "unusable"  // a character that RFC 8265 OpaqueString refuses
	SameAsName Weakness = "same"      // the account's email address or a name
	Guessable  Weakness = "guessable" // common, or one or two characters over and over
)

// minimum returns the minimum length of a password under r, in code points.
func (r Rules) minimum() int { return max(r.MinLength, MinPasswordLength) }

// Judge returns why rules refuse password, or Good.
func Judge(password secret.String, rules Rules) Weakness {
	raw := password.Reveal()
	// Bytes first, so that the code below never reads a text longer than any password.
	if len(raw) > MaxPasswordBytes {
		return TooLong
	}
	if raw == "" {
		return Empty
	}
	p, err := precis.OpaqueString.String(raw)
	if err != nil || !utf8.ValidString(raw) {
		return Unusable
	}
	switch n := utf8.RuneCountInString(p); {
	case n < rules.minimum():
		return TooShort
	case n > MaxPasswordLength:
		return TooLong
	}
	folded := strings.ToLower(p)
	for _, not := range rules.Not {
		not = strings.ToLower(strings.TrimSpace(not))
		local, _, _ := strings.Cut(not, "@")
		if not != "" && (folded == not || folded == local) {
			return SameAsName
		}
	}
	if _, listed := commonSet()[folded]; listed || repeats(folded) {
		return Guessable
	}
	return Good
}

// CheckPassword returns an Invalid fault about the field "password" if rules refuse the password.
func CheckPassword(password secret.String, rules Rules) error {
	refuse := func(format string, args ...any) error {
		return fault.InvalidField("credential.password_refused", "password", format, args...)
	}
	switch Judge(password, rules) {
	case Good:
		return nil
	case Empty:
		return refuse("Choose a password of at least %d characters.", rules.minimum())
	case TooShort:
		return refuse("The password is too short. Use at least %d characters; several words work well.",
			rules.minimum())
	case TooLong:
		return refuse("The password is longer than %d characters. Choose a shorter one.", MaxPasswordLength)
	case SameAsName:
		return refuse("The password is the same as the email address or name. Choose one that others cannot guess.")
	case Guessable:
		return refuse(
			"This password is among the first that attackers try. Choose another; several unrelated words work well.")
	default:
		return refuse("The password has a character that cannot be used, such as a line break or a tab. Leave it out.")
	}
}

// repeats reports whether s repeats one or two characters.
func repeats(s string) bool {
	r := []rune(s)
	for i := 2; i < len(r); i++ {
		if r[i] != r[i-2] {
			return false
		}
	}
	return true
}

// prepare returns the form of a password that is hashed: RFC 8265 OpaqueString (NFC, one kind of
// space). So the same password typed on another keyboard is the same password. A text that the
// profile refuses stays unchanged. It can only match an imported hash.
func prepare(password secret.String) string {
	if p, err := precis.OpaqueString.String(password.Reveal()); err == nil {
		return p
	}
	return password.Reveal()
}

// spellings returns the texts that may have been hashed: the prepared password, and the one that
// was typed if it differs. Other systems hash what was typed. For a text that is longer than any
// password it is the empty one, which only takes the time of a check.
func spellings(password secret.String) []string {
	if len(password.Reveal()) > MaxPasswordBytes {
		return []string{""}
	}
	prepared := prepare(password)
	if prepared == password.Reveal() {
		return []string{prepared}
	}
	return []string{prepared, password.Reveal()}
}
