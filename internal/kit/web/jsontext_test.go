package web

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestRepeatedMember(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}`: "",
		`[1,"a","a",null,{}]`:                       "",
		`"a"`:                                       "",
		`{"a":"a","b":"a"}`:                         "",
		`{"a":1,"A":2}`:                             "",
		`{"a":1,"a":null}`:                          "a",
		`{"a":{},"\u0061":[]}`:                      "a",
		`{"a":[],"b":{"c":[1,{"d":1,"d":2}]}}`:      "b.c[1].d",
		`[[],[{"":1,"":2}]]`:                        "[1][0].",
		`{"a":1,"b":`:                               "",
		`{"a":1,"a":`:                               "a",
		`{"a":1} {"a":1,"a":2}`:                     "", // the second value is another text
		``:                                          "",
	} {
		if got := RepeatedMember([]byte(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	long := strings.Repeat("n", 1<<20)
	if got := RepeatedMember([]byte(`{"` + long + `":1,"` + long + `":1}`)); len(got) != maxPath {
		t.Errorf("the path has %d bytes", len(got))
	}
}

// A text without a repeated member and its decoded value have the same number of members.
func FuzzRepeatedMember(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1,"b":2}],"c":{}}`))
	f.Add([]byte(`{"a":{"a":{"a":[]}},"b":"a"}`))
	deep := strings.Repeat("[", maxWalked+1) + `{"a":1,"a":2}` + strings.Repeat("]", maxWalked+1)
	f.Add([]byte(deep))
	f.Fuzz(func(t *testing.T, text []byte) {
		var value any
		if json.Unmarshal(text, &value) != nil || Nested(text, maxWalked) {
			RepeatedMember(text)
			return
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, text)
		written, inString := 0, false // colons outside of strings
		for b := compact.Bytes(); len(b) > 0; b = b[1:] {
			switch {
			case inString && b[0] == '\\':
				b = b[1:]
			case b[0] == '"':
				inString = !inString
			case b[0] == ':' && !inString:
				written++
			}
		}
		if got := RepeatedMember(text); (got == "" && members(value) != written) ||
			(got != "" && members(value) == written) {
			t.Errorf("%q, but %d members were written and %d read", got, written, members(value))
		}
	})
}

func members(value any) int {
	n := 0
	switch v := value.(type) {
	case map[string]any:
		n = len(v)
		for _, x := range v {
			n += members(x)
		}
	case []any:
		for _, x := range v {
			n += members(x)
		}
	}
	return n
}

func TestNested(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":[1,{"b":2}]}`:             false,
		`{"a":[1,{"b":[]}]}`:            true,
		`[[],[],[[]],[[]]]`:             false,
		`"[[[["`:                        false,
		`{"\"[[[[":"[[[[\\","a":[[1]]}`: false,
		`[[[[`:                          true,
		``:                              false,
	} {
		if got := Nested([]byte(text), 3); got != want {
			t.Errorf("%s: nested deeper than 3 levels is %v, want %v", text, got, want)
		}
	}
}
