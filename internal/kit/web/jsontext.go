package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Nested reports whether a JSON text nests objects and lists deeper than limit levels.
//
// A decoder allocates for each open level, so a reader asks this before it decodes: 1 MiB of "["
// would otherwise cost more than a hundred times as much memory.
func Nested(text []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// maxWalked is how deep RepeatedMember and InexactNumber follow a text, in levels. Callers refuse a
// deeper text first, by Nested.
const maxWalked = 200

// RepeatedMember returns the path of the first member that an object in a JSON text names a second
// time, such as "settings.block[0].roles". It returns "" if there is none, or none before an error.
//
// Decoders disagree about which of two members counts (RFC 8259 §4). What one of them has checked
// is then not what another one uses, so a body that has two must be refused.
func RepeatedMember(text []byte) string {
	repeated := ""
	walk(text, func(open []*container, _ json.Token, again bool) bool {
		if again {
			repeated = pathOf(open)
		}
		return !again
	})
	return repeated
}

// walk calls visit for each name and each value that begins in a JSON text, until visit returns
// false. open has the containers around it, and again reports that the object has the name already.
// walk ends at an error, which the decoder that reads the text for its values reports.
func walk(text []byte, visit func(open []*container, token json.Token, again bool) bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var open []*container
	for {
		t, err := d.Token()
		if err != nil {
			return
		}
		if delim, ok := t.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
		} else {
			again := len(open) > 0 && !open[len(open)-1].next(t)
			if !visit(open, t, again) || len(open) >= maxWalked {
				return
			}
			switch t {
			case json.Delim('{'):
				open = append(open, &container{object: true, atName: true})
			case json.Delim('['):
				open = append(open, &container{index: -1})
			}
		}
		if len(open) == 0 {
			return
		}
	}
}

// container is an object or a list that has begun.
type container struct {
	object bool
	atName bool            // the next token is a name or the end
	name   string          // an object's last name
	names  map[string]bool // an object's names so far
	index  int             // of a list's last element
}

// next notes a name or the beginning of a value. It returns false for a name that has come before.
func (c *container) next(t json.Token) bool {
	if !c.object {
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
	if c.names == nil {
		c.names = map[string]bool{}
	}
	c.names[c.name] = true
	return true
}

// maxPath bounds the paths that RepeatedMember and InexactNumber return, in bytes. The sender chose
// their names.
const maxPath = 200

func pathOf(open []*container) string {
	var b strings.Builder
	for _, c := range open {
		switch {
		case b.Len() > maxPath:
		case !c.object:
			fmt.Fprintf(&b, "[%d]", c.index)
		case b.Len() == 0:
			b.WriteString(c.name)
		default:
			b.WriteString("." + c.name)
		}
	}
	path := b.String()
	return strings.ToValidUTF8(path[:min(len(path), maxPath)], "")
}
