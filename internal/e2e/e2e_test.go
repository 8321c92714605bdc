package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// onBoth runs fn against the real binary, on SQLite and beside it on Postgres.
func onBoth(t *testing.T, fn func(t *testing.T, cfg process.Config)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, process.Config{})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, process.Config{Database: testkit.EmptyPostgres(t)})
	})
}

// TestForeignClients runs every file of e2e/test against the real binary: openid-client and
// oauth4webapi from npm, Cerbos' own clients, and a browser.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	testkit.SkipFast(t, "Node")
	root := process.Root(t)
	node := command(t, "Node 20 or newer (Debian: apt-get install nodejs npm)", "node")
	browser := os.Getenv("GATEHOUSE_TEST_CHROMIUM")
	if browser == "" {
		browser = command(t, "Chromium (Debian: apt-get install chromium)", "chromium", "chromium-browser",
			"google-chrome")
	}
	if _, err := os.Stat(filepath.Join(root, "e2e", "node_modules", "openid-client")); err != nil {
		t.Fatal("the packages of e2e/package.json are not installed: run `make test`, or `npm ci` in e2e")
	}
	files, err := filepath.Glob(filepath.Join(root, "e2e", "test", "*.test.mjs"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in e2e/test: %v", err)
	}
	onBoth(t, func(t *testing.T, cfg process.Config) {
		server := process.Start(t, cfg)
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".test.mjs"), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, node, "--test", "--test-reporter=spec", file)
				cmd.Dir = filepath.Join(root, "e2e")
				cmd.WaitDelay = 5 * time.Second
				cmd.Env = append(os.Environ(),
					"GATEHOUSE_E2E_URL="+server.URL,
					"GATEHOUSE_E2E_GRPC="+server.GRPC,
					"GATEHOUSE_E2E_CLIENT_ID="+server.Client,
					"GATEHOUSE_E2E_CLIENT_SECRET="+server.Secret,
					"GATEHOUSE_E2E_BINARY="+process.Build(t, "cmd/gatehouse"),
					"GATEHOUSE_E2E_WEBAPP="+process.Build(t, "examples/webapp"),
					"GATEHOUSE_E2E_CHROMIUM="+browser)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	})
}

// command finds one of these programs, or fails the test and says what to install.
func command(t *testing.T, install string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs %s", install)
	return ""
}
