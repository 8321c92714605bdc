package web

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
)

// longNumberRE matches the digits of a whole number that a float64 may change: 2^53 has 16.
var longNumberRE = regexp.MustCompile(`[0-9]{16}`)

// InexactNumber returns the path of the first whole number that would change in silence, or "".
//
// Free-form members, such as attributes, are decoded into float64, which keeps whole numbers up to
// 2^53 only (RFC 8259, section 6). A number that no float64 equals is refused, whatever its member.
func InexactNumber(text []byte) string {
	inexact := ""
	if longNumberRE.Match(text) {
		walk(text, func(open []*container, t json.Token, _ bool) bool {
			if n, ok := t.(json.Number); ok && changes(n) {
				inexact = pathOf(open)
				return false
			}
			return true
		})
	}
	return inexact
}

// changes reports whether no float64 equals a whole number.
func changes(n json.Number) bool {
	if strings.ContainsAny(n.String(), ".eE") || len(n) > 400 { // json.Unmarshal refuses what is longer
		return false
	}
	f, err := n.Float64()
	if err != nil {
		return false
	}
	whole, ok := new(big.Int).SetString(n.String(), 10)
	kept, _ := big.NewFloat(f).Int(nil)
	return ok && kept.Cmp(whole) != 0
}
