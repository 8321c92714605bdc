package application

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// The API's description and the guide name the scopes that a new application has.
func TestDefaultScopesAreDescribed(t *testing.T) {
	field := reflect.TypeFor[createInput]().Field(0)
	scopes, _ := field.Type.FieldByName("Scopes")
	guide, err := os.ReadFile("../../../docs/guides/applications.md")
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{
		"the description of scopes":   scopes.Tag.Get("doc"),
		"docs/guides/applications.md": strings.Join(strings.Fields(strings.ReplaceAll(string(guide), "`", "")), " "),
	} {
		for _, of := range []Type{Web, SPA, Native} {
			names := defaultScopesOf(of)
			last := len(names) - 1
			want := strings.Join(names[:last], ", ") + " and " + names[last]
			if !strings.Contains(text, " "+want) {
				t.Errorf("%s does not say that %s has %s", where, of, want)
			}
		}
	}
}
