package pages_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// The public host asks which tenant's console the person looks for. It says of no tenant whether
// there is one.
func TestConsoles(t *testing.T) {
	w := world.OnSQLite(t)
	w.Tenant("acme", nil)
	b := w.Browser("platform")
	for query, want := range map[string]string{
		"?tenant=acme":                       "/t/acme/console/",
		"?tenant=%20ACME%20":                 "/t/acme/console/",
		"?tenant=unknown":                    "/t/unknown/console/",
		"":                                   "",
		"?tenant=":                           "",
		"?tenant=a%2Fb":                      "",
		"?tenant=..":                         "",
		"?tenant=%2F%2Fevil.example":         "",
		"?tenant=" + strings.Repeat("a", 64): "",
	} {
		a := b.Visit(w.Origin + "/console/" + query)
		status := 303
		if want == "" {
			status = 422
		}
		if query == "" {
			status = 200
		}
		if a.Status != status || a.Location != want {
			t.Errorf("%q: %d to %q, want %d to %q", query, a.Status, a.Location, status, want)
		}
		if want == "" && !strings.Contains(a.Body, `href="/t/platform/console/"`) {
			t.Errorf("%q: %s", query, a.Text())
		}
	}
	if a := b.Visit(w.Origin + "/console"); a.Location != "/console/" {
		t.Errorf("without a slash: %d to %q", a.Status, a.Location)
	}
}
