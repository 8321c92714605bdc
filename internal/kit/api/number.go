package api

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// longNumberRE matches the digits of a whole number that a float64 may change: 2^53 has 16.
var longNumberRE = regexp.MustCompile(`[0-9]{16}`)

// inexactNumber returns the path of the first whole number that would change in silence, or "".
//
// Free-form members, such as attributes, are decoded into float64, which keeps whole numbers up to
// 2^53 only (RFC 8259, section 6). A number that no float64 equals is refused, whatever its member.
func inexactNumber(data []byte) string {
	if !longNumberRE.Match(data) {
		return ""
	}
	type level struct {
		object, value bool // value: an object's member is named, and its value follows
		name          string
		index         int
	}
	var levels []level
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil { // the end, or an error that json.Unmarshal reports
			return ""
		}
		at := len(levels) - 1
		if name, ok := token.(string); ok && at >= 0 && levels[at].object && !levels[at].value {
			levels[at].name, levels[at].value = name, true
			continue
		}
		if n, ok := token.(json.Number); ok && changes(n) {
			path := ""
			for i, l := range levels {
				switch {
				case !l.object:
					path += "[" + strconv.Itoa(l.index) + "]"
				case i > 0:
					path += "." + l.name
				default:
					path = l.name
				}
			}
			return path
		}
		if delim, ok := token.(json.Delim); ok && (delim == '{' || delim == '[') {
			levels = append(levels, level{object: delim == '{'})
			continue
		} else if ok {
			levels = levels[:at]
			at--
		}
		if at >= 0 { // a value has ended
			levels[at].value = false
			levels[at].index++
		}
	}
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
