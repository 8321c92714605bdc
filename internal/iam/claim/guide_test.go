package claim

import (
	"os"
	"regexp"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

var celRE = regexp.MustCompile("(?s)```cel\n(.*?)\n```")

// The expressions of the guide have a value for a person without attributes.
func TestTheGuidesExpressions(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/guides/claim-mappings.md")
	if err != nil {
		t.Fatal(err)
	}
	all := celRE.FindAllSubmatch(guide, -1)
	if len(all) != 5 {
		t.Errorf("%d expressions, the guide promises five", len(all))
	}
	for _, m := range all {
		if a, _ := mapped(IDToken, nil, in("claim", string(m[1]), application.InIDToken)); a.Mapped()[0].Err != nil {
			t.Errorf("%s: %v", m[1], a.Mapped()[0].Err)
		}
	}
}
