package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// Bounds on what an event stores of a value, as JSON in bytes. A longer value is stored as its
// digest.
const (
	maxText  = 256
	maxValue = 1024
)

// Change is the old and the new value of one member. A value that is missing or empty is left out.
// A long list has only the elements that left and that joined it.
type Change struct {
	From    json.RawMessage `json:"from,omitempty"`
	To      json.RawMessage `json:"to,omitempty"`
	Removed json.RawMessage `json:"removed,omitempty"`
	Added   json.RawMessage `json:"added,omitempty"`
}

// Changes are the members in which a thing differs from what it was, by their JSON names. Members
// of objects have the names of both, with a dot between them.
type Changes map[string]Change

// digest stands for a value that is secret or long.
type digest struct {
	Digest string `json:"digest"`
	Bytes  int    `json:"bytes,omitempty"`
	Count  int    `json:"count,omitempty"` // of the elements of a list
}

// Digest returns what an event stores of a secret: enough to see that it changed, and to compare
// it. Pass the stored hash of a secret, never a secret that can be guessed.
func Digest(stored []byte) any {
	if len(stored) == 0 {
		return nil
	}
	return digest{Digest: sum(stored)}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:16])
}

// Changed compares two states of a thing, as JSON. Nil stands for a thing that does not exist, so
// that Changed(nil, t) tells what a new thing is.
func Changed(before, after any) Changes {
	c := Changes{}
	c.compare("", tree(before), tree(after))
	return c
}

// With adds the change of a member that is not in a thing's JSON.
func (c Changes) With(name string, before, after any) Changes {
	c.compare(name, tree(before), tree(after))
	return c
}

// Has reports whether a member changed, or a part of it.
func (c Changes) Has(member string) bool { return slices.Contains(c.names(), member) }

// tree returns v as maps, lists, texts and json.Number, which keeps large numbers exact.
func tree(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	_ = d.Decode(&out) // json.Marshal wrote it
	return out
}

func (c Changes) compare(name string, before, after any) {
	b, isObject := before.(map[string]any)
	a, too := after.(map[string]any)
	if isObject && too || isObject && after == nil || too && before == nil {
		for member := range b {
			c.compare(below(name, member), b[member], a[member])
		}
		for member := range a {
			if _, had := b[member]; !had {
				c.compare(below(name, member), nil, a[member])
			}
		}
		return
	}
	if empty(before) && empty(after) {
		return
	}
	from, to := text(before), text(after)
	if bytes.Equal(from, to) {
		return
	}
	old, isList := before.([]any)
	now, listToo := after.([]any)
	if isList && listToo && len(from)+len(to) > maxText {
		c[name] = Change{Removed: stored(without(old, now)), Added: stored(without(now, old))}
		if c[name].Removed == nil && c[name].Added == nil { // only the order differs
			c[name] = Change{From: stored(before), To: stored(after)}
		}
		return
	}
	c[name] = Change{From: stored(before), To: stored(after)}
}

func below(name, member string) string {
	if name == "" {
		return member
	}
	return name + "." + member
}

// without returns the elements of list that other lacks.
func without(list, other []any) any {
	has := make(map[string]bool, len(other))
	for _, e := range other {
		has[string(text(e))] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(e any) bool { return has[string(text(e))] })
}

// empty reports whether v says no more than a missing member.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func text(v any) []byte {
	b, _ := json.Marshal(v) // it came from JSON
	return b
}

// stored returns the JSON of a value, or of its digest if it is long. It is nil for an empty value.
func stored(v any) json.RawMessage {
	if empty(v) {
		return nil
	}
	b := text(v)
	limit := maxValue
	if _, isText := v.(string); isText {
		limit = maxText
	}
	if len(b) > limit {
		return shortened(b)
	}
	return b
}

func shortened(b json.RawMessage) json.RawMessage {
	var list []json.RawMessage
	_ = json.Unmarshal(b, &list) // only a list has a count
	return text(digest{sum(b), len(b), len(list)})
}

// brief returns c with the digests of all values. It is for an event that would be too large.
func (c Changes) brief() Changes {
	out := Changes{}
	for name, change := range c {
		for _, v := range []*json.RawMessage{&change.From, &change.To, &change.Removed, &change.Added} {
			if len(*v) > maxText/2 {
				*v = shortened(*v)
			}
		}
		out[name] = change
	}
	return out
}

// names returns only what changed, by the first part of its name.
func (c Changes) names() []string {
	var out []string
	for name := range c {
		first, _, _ := strings.Cut(name, ".")
		out = append(out, first)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
