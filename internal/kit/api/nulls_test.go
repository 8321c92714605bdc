package api

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type limits struct {
	Names []string `json:"names"`
}

type patch struct {
	Title *string         `json:"title,omitempty" minLength:"1"`
	Kind  *string         `json:"kind,omitempty" enum:"a,b"`
	About *string         `json:"about,omitempty" maxLength:"9"`
	URIs  *[]string       `json:"uris,omitempty"`
	Keys  *map[string]any `json:"keys,omitempty"`
	On    *bool           `json:"on,omitempty"`
	Until *time.Time      `json:"until,omitempty"`
	Limit *limits         `json:"limit,omitempty"`
	Inner *Changes[inner] `json:"inner,omitempty"`
}

type inner struct {
	Note string   `json:"note"`
	Size int      `json:"size"`
	List []limits `json:"list"`
}

// Null in a merge patch empties a member or is refused by its name (RFC 7396), and is refused in
// every other body.
func TestNulls(t *testing.T) {
	pointer := func(s string) *string { return &s }
	for body, want := range map[string]struct {
		got   patch
		named string // the member that a merge patch refuses
		other string // the member that another body refuses
	}{
		`{"about":"null"}`:            {got: patch{About: pointer("null")}},
		`{"about":null}`:              {got: patch{About: pointer("")}, other: "about"},
		`{"uris":null}`:               {got: patch{URIs: &[]string{}}, other: "uris"},
		`{"keys":null}`:               {got: patch{Keys: &map[string]any{}}, other: "keys"},
		`{"keys":{"a":null}}`:         {got: patch{Keys: &map[string]any{"a": nil}}},
		`{"limit":null}`:              {got: patch{Limit: &limits{}}, other: "limit"},
		`{"limit":{"names":null}}`:    {named: "limit.names", other: "limit.names"},
		`{"uris":["a",null]}`:         {named: "uris[1]", other: "uris[1]"},
		`{"title":null}`:              {named: "title", other: "title"},
		`{"kind":null}`:               {named: "kind", other: "kind"},
		`{"on":null}`:                 {named: "on", other: "on"},
		`{"until":null}`:              {named: "until", other: "until"},
		`{"inner":null}`:              {named: "inner", other: "inner"},
		`{"inner":{"size":null}}`:     {named: "inner.size", other: "inner.size"},
		`{"inner":{"list":[null]}}`:   {named: "inner.list[0]", other: "inner.list[0]"},
		`{"on":null,"keys":null}`:     {named: "on", other: "keys"},
		`{"surprise":null,"keys":{}}`: {got: patch{Keys: &map[string]any{}}}, // refused by the schema
	} {
		for _, merge := range []bool{true, false} {
			named := want.other
			if merge {
				named = want.named
			}
			var got patch
			err := unmarshal([]byte(body), &got)
			if err == nil {
				err = applyNulls([]byte(body), &got, merge)
			}
			switch {
			case named != "":
				if err == nil || err.Error() != nullMember+named {
					t.Errorf("%s, merge patch %v: %v, want %s refused", body, merge, err, named)
				}
			case err != nil || !reflect.DeepEqual(got, want.got):
				t.Errorf("%s, merge patch %v: %v %s", body, merge, err, cmp.Diff(want.got, got, cmp.AllowUnexported()))
			}
		}
	}
	var c Changes[inner]
	body := []byte(`{"note":null,"list":null}`)
	if err := unmarshal(body, &c); err != nil {
		t.Fatal(err)
	}
	if err := applyNulls(body, &c, true); err != nil {
		t.Fatal(err)
	}
	was := inner{Note: "was", Size: 3, List: []limits{{}}}
	c.Apply(&was)
	if !reflect.DeepEqual(was, inner{Size: 3, List: []limits{}}) || c.Len() != 2 {
		t.Errorf("null emptied %+v", was)
	}
}
