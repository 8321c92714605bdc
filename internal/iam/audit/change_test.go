package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type thing struct {
	Name   string         `json:"name"`
	Count  int64          `json:"count"`
	On     bool           `json:"on"`
	List   []string       `json:"list"`
	Free   map[string]any `json:"free"`
	Hidden string         `json:"-"`
}

func TestAChangeHasTheOldAndTheNewValue(t *testing.T) {
	long := strings.Repeat("long ", 100)
	many := make([]string, 0, 50)
	for i := range 50 {
		many = append(many, fmt.Sprintf("https://app.example/%d", i))
	}
	for name, c := range map[string]struct {
		before, after any
		want          string
	}{
		"nothing":    {thing{Name: "a"}, thing{Name: "a", Hidden: "x"}, `{}`},
		"a text":     {thing{Name: "a"}, thing{Name: "b"}, `{"name":{"from":"a","to":"b"}}`},
		"from empty": {thing{}, thing{Name: "b"}, `{"name":{"to":"b"}}`},
		"a false":    {thing{On: true}, thing{}, `{"on":{"from":true,"to":false}}`},
		"a large number": {thing{Count: 1<<53 + 1}, thing{Count: 1 << 53},
			`{"count":{"from":9007199254740993,"to":9007199254740992}}`},
		"no list": {thing{}, thing{List: []string{}}, `{}`},
		"a list":  {thing{List: []string{"a"}}, thing{List: []string{"b"}}, `{"list":{"from":["a"],"to":["b"]}}`},
		"a long list": {thing{List: many}, thing{List: append(many[1:50:50], "evil")},
			`{"list":{"removed":["https://app.example/0"],"added":["evil"]}}`},
		"an object": {thing{Free: map[string]any{"a": 1, "b": 2}}, thing{Free: map[string]any{"a": 1, "c": 3}},
			`{"free.b":{"from":2},"free.c":{"to":3}}`},
		"a new thing": {nil, thing{Name: "a"}, `{"count":{"to":0},"name":{"to":"a"},"on":{"to":false}}`},
		"a long text": {thing{}, thing{Name: long}, `{"name":{"to":{}}}`},
	} {
		got, err := json.Marshal(Changed(c.before, c.after))
		if name == "a long text" {
			if !strings.Contains(string(got), `"digest":"sha256:`) || strings.Contains(string(got), "long long") {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, c.want, err)
		}
	}
}

// However large a change is, its event says at least which members changed.
func TestALargeChangeKeepsItsNames(t *testing.T) {
	for _, n := range []int{1, 20, 60, 500} {
		after := map[string]any{"free": map[string]any{}}
		for i := range n {
			after["free"].(map[string]any)[fmt.Sprintf("member%d", i)] = strings.Repeat("x", 200)
		}
		text := detail(map[string]any{"kept": true}, Changed(nil, after))
		if len(text) > maxDetail || !strings.Contains(text, `"kept":true`) || !strings.Contains(text, `"changed"`) ||
			!strings.Contains(text, "free") {
			t.Errorf("%d members: %d bytes, %.200s", n, len(text), text)
		}
	}
}
