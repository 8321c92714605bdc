package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestConsole drives the admin console in a browser. Its pages differ in what they ask the API for,
// and not in the storage. One database serves.
func TestConsole(t *testing.T) {
	t.Parallel()
	testkit.SkipFast(t, "Node and a browser")
	built := filepath.Join(process.Root(t), "internal", "doors", "console", "dist", "index.html")
	if _, err := os.Stat(built); err != nil {
		t.Fatal("the admin console is not built: run `make console`")
	}
	runNode(t, process.Start(t, process.Config{Plain: true}), "console")
}
