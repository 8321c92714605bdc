package typed

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Limits of an address, in bytes of the form that Address returns.
const (
	MaxAddress   = 254 // RFC 5321 §4.5.3.1.3 less the angle brackets
	maxLocalPart = 64  // RFC 5321 §4.5.3.1.1
	maxLabel     = 63  // RFC 1035 §2.3.4
)

// Address returns an email address in the form that is stored, and whether mail can be sent to it.
//
// The form is ASCII. It keeps the case of the letters that were typed, so an address that was ASCII
// stays as it is. A domain with other letters gets its A-labels (RFC 5891 §4.4). The part before
// the @ must be ASCII, because few mail servers know RFC 6531.
func Address(s string) (string, bool) {
	if len(s) > maxTyped*MaxAddress {
		return "", false
	}
	local, domain, ok := strings.Cut(Text(s), "@")
	if !ok || !validLocalPart(local) {
		return "", false
	}
	if strings.ContainsFunc(domain, func(r rune) bool { return r > unicode.MaxASCII }) {
		var err error
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", false
		}
	}
	address := local + "@" + domain
	return address, len(address) <= MaxAddress && validDomain(domain)
}

// validLocalPart reports whether s is a Dot-string of RFC 5321 §4.1.2.
func validLocalPart(s string) bool {
	if s == "" || len(s) > maxLocalPart || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", rune(c)) {
			return false
		}
	}
	return true
}

func validDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !letterOrDigit(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
