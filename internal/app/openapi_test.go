package app_test

import (
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

var write = flag.Bool("write", false, "write docs/openapi.json instead of comparing it")

const openAPIFile = "../../docs/openapi.json"

// TestOpenAPIIsCurrent compares docs/openapi.json with the server's description of itself. Clients
// are generated from the file.
func TestOpenAPIIsCurrent(t *testing.T) {
	w := world.OnSQLite(t)
	got := w.Send(must(http.NewRequest("GET", w.Origin+"/t/platform"+admin.Prefix+"/openapi.json", nil))).Body
	if !strings.Contains(got, w.Base("platform")) {
		t.Error("the served description does not name the issuer that it was asked at")
	}
	got = strings.Replace(got, w.Base("platform"), api.ExampleIssuer, 1)
	if *write {
		if err := os.WriteFile(openAPIFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/openapi.json is out of date: run `make generate`")
	}
}
