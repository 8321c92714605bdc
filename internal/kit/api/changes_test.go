package api

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
)

type Named struct {
	Name string `json:"name" limit:"8"`
}

type thing struct {
	Named
	Size   int            `json:"size" minimum:"1"`
	Extra  map[string]any `json:"extra"`
	Secret string         `json:"-"`
}

func TestChangesReplaceTheMembersThatTheBodyHas(t *testing.T) {
	before := thing{Named{"old"}, 3, map[string]any{"kept": true}, "secret"}
	for body, want := range map[string]thing{
		`{}`:                     before,
		`{"name":"new"}`:         {Named{"new"}, 3, map[string]any{"kept": true}, "secret"},
		`{"name":"","size":0}`:   {Named{""}, 0, map[string]any{"kept": true}, "secret"},
		`{"extra":{"other":1}}`:  {Named{"old"}, 3, map[string]any{"other": 1.0}, "secret"},
		`{"Secret":"x","-":"y"}`: before,
	} {
		var c Changes[thing]
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			t.Fatal(err)
		}
		got := before
		if c.Apply(&got); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
		if c.Has("name") != (got.Name != "old") {
			t.Errorf("%s: Has is %t", body, c.Has("name"))
		}
	}
	if !cmp.Equal(before.Extra, map[string]any{"kept": true}) {
		t.Error("a change reached the map of the thing it was applied to")
	}
	var c Changes[thing]
	if err := json.Unmarshal([]byte(`{"size":"three"}`), &c); err == nil {
		t.Error("a text was taken for a number")
	}
}

func TestChangesAreDescribedAsTheirTypeWithNothingRequired(t *testing.T) {
	n := &namer{operation: "make-thing"}
	r := huma.NewMapRegistry("#/", n.name)
	r.Schema(reflect.TypeFor[Changes[thing]](), true, "makeInputBody")
	answer := r.Schema(reflect.TypeFor[thing](), false, "")
	if len(answer.Required) != 3 || answer.Properties["name"].MaxLength != nil {
		t.Errorf("the answer requires %v, and its name has the limit %v", answer.Required,
			answer.Properties["name"].MaxLength)
	}
	body := r.Map()["MakeThingRequest"]
	if body == nil || len(body.Required) > 0 || len(body.Properties) != 3 || *body.Properties["name"].MaxLength != 8 {
		t.Fatalf("the body is %+v", body)
	}
	for text, errors := range map[string]int{`{}`: 0, `{"name":"12345678"}`: 0, `{"name":"123456789"}`: 1,
		`{"size":0}`: 1, `{"other":1}`: 1} {
		var v any
		_ = json.Unmarshal([]byte(text), &v)
		var res huma.ValidateResult
		if huma.Validate(r, body, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, v,
			&res); len(res.Errors) != errors {
			t.Errorf("%s: %v, want %d errors", text, res.Errors, errors)
		}
	}
}
