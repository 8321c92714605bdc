package pages

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
)

// The page of consent says of a scope of a built-in API what the table of those APIs says.
func TestScopesOfBuiltInAPIs(t *testing.T) {
	file, err := localeFiles.ReadFile("locales/active.en.json")
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]any
	if err := json.Unmarshal(file, &texts); err != nil {
		t.Fatal(err)
	}
	for _, a := range resourceserver.BuiltIn("") {
		for _, s := range a.Scopes {
			id := "scope." + strings.TrimPrefix(s.Name, "gatehouse:")
			if texts[id] != s.Description || scopeWords(s.Name).ID != id {
				t.Errorf("%s: the page says %v (%s), the API %q", s.Name, texts[id], scopeWords(s.Name).ID,
					s.Description)
			}
		}
	}
}
