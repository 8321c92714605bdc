// Package typed reads the logins, addresses and codes that a person types or pastes.
//
// Chat programs, web pages and input methods add characters that cannot be seen, or write the same
// character in another width. Such a text looks right, so a refusal of it helps no one. Texts for
// people to read, such as display names, are not for this package: a joiner has a meaning there.
package typed

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// maxTyped is how many bytes may be typed for one that counts: invisible characters and wide forms
// have up to four each.
const maxTyped = 4

// Text returns a login or an address as the person sees it. Full-width characters become narrow,
// and invisible ones and outer blanks are removed.
func Text(s string) string {
	return strings.TrimSpace(strings.Map(visible, width.Fold.String(s)))
}

// Code returns a one-time code without what people and programs put between its characters: blanks
// and dashes of any kind. It has the digits 0 to 9 instead of those of other scripts.
func Code(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == minus {
			return -1
		}
		return digit(r)
	}, Text(s))
}

// minus is U+2212, which typesetting makes of a hyphen.
const minus = '\u2212'

// visible drops the characters that have no look of their own, such as U+200B, U+00AD and U+202E.
func visible(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
		return -1
	}
	return r
}

// digit returns the decimal digit 0 to 9 that r is in its script, or r. Keyboards for Arabic and
// Persian type digits of their own.
func digit(r rune) rune {
	if r <= unicode.MaxASCII {
		return r
	}
	for _, block := range unicode.Nd.R16 { // each holds whole sets of ten
		if lo := rune(block.Lo); lo <= r && r <= rune(block.Hi) {
			return '0' + (r-lo)%10
		}
	}
	return r
}
