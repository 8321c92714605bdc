package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// RepeatedMember returns the path of the first member that an object in a JSON text names a second
// time, such as "settings.block[0].roles". It returns "" if there is none, or none before an error.
//
// Decoders disagree about which of two members counts (RFC 8259 §4). What one of them has checked
// is then not what another one uses, so a body that has two must be refused.
func RepeatedMember(text []byte) string {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var open []*container
	for {
		t, err := d.Token()
		if err != nil {
			return "" // the decoder that reads the text for its values says what is wrong
		}
		if delim, ok := t.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
		} else {
			if n := len(open); n > 0 && !open[n-1].next(t) {
				return pathOf(open)
			}
			switch t {
			case json.Delim('{'):
				open = append(open, &container{names: map[string]bool{}, atName: true})
			case json.Delim('['):
				open = append(open, &container{index: -1})
			}
		}
		if len(open) == 0 {
			return ""
		}
	}
}

// container is an object or a list that has begun.
type container struct {
	names  map[string]bool // those that came; nil for a list
	atName bool            // the next token is a name or the end
	name   string          // the last one
	index  int             // of a list's last element
}

// next notes a name or the beginning of a value. It returns false for a name that has come before.
func (c *container) next(t json.Token) bool {
	if c.names == nil {
		c.index++
		return true
	}
	if c.atName = !c.atName; c.atName {
		return true
	}
	c.name, _ = t.(string)
	if c.names[c.name] {
		return false
	}
	c.names[c.name] = true
	return true
}

// maxRepeatedPath bounds the path that RepeatedMember returns, in bytes. The sender chose its
// names.
const maxRepeatedPath = 200

func pathOf(open []*container) string {
	var b strings.Builder
	for _, c := range open {
		switch {
		case b.Len() > maxRepeatedPath:
		case c.names == nil:
			fmt.Fprintf(&b, "[%d]", c.index)
		case b.Len() == 0:
			b.WriteString(c.name)
		default:
			b.WriteString("." + c.name)
		}
	}
	path := b.String()
	return strings.ToValidUTF8(path[:min(len(path), maxRepeatedPath)], "")
}
