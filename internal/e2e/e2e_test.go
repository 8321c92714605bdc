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

// onBoth runs fn with a configuration of the real binary, on SQLite and beside it on Postgres.
//
// Clients here ask one thing after the other, so their server has no race detector. The server of
// TestKill has it, since it answers requests of every kind at once.
func onBoth(t *testing.T, fn func(t *testing.T, cfg process.Config)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, process.Config{Plain: true})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, process.Config{Database: testkit.EmptyPostgres(t), Plain: true})
	})
}

// TestForeignClients runs every file of e2e/test against the real binary: openid-client and
// oauth4webapi from npm, Cerbos' own clients, and a browser.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	testkit.SkipFast(t, "Node")
	onBoth(t, func(t *testing.T, cfg process.Config) {
		runNode(t, process.Start(t, cfg), "test", "GATEHOUSE_E2E_WEBAPP="+process.Build(t, "examples/webapp"))
	})
}

// TestApplications signs people in to applications that their own documentation configures: see
// docs/clients.md. They differ in what they ask for, and not in the storage. One database serves.
func TestApplications(t *testing.T) {
	t.Parallel()
	testkit.SkipFast(t, "Node, Python and Go modules of their own")
	if _, err := os.Stat(filepath.Join(process.Root(t), "e2e", "python", "venv", "bin", "python")); err != nil {
		t.Fatal("the packages of e2e/python/requirements.txt are not installed: run `make modules`")
	}
	programs := "GATEHOUSE_E2E_GO=" + buildGo(t)
	server := process.Start(t, process.Config{Database: testkit.EmptyPostgres(t), Plain: true})
	runNode(t, server, "clients", programs)
	server = process.Start(t, process.Config{TLS: true, Plain: true})
	runNode(t, server, "https", programs, "NODE_EXTRA_CA_CERTS="+server.Certificate,
		"SSL_CERT_FILE="+server.Certificate)
}

// runNode runs every test file of a directory in e2e against a server.
func runNode(t *testing.T, server *process.Server, dir string, env ...string) {
	t.Helper()
	root := process.Root(t)
	node := command(t, "Node 20 or newer (Debian: apt-get install nodejs npm)", "node")
	browser := os.Getenv("GATEHOUSE_TEST_CHROMIUM")
	if browser == "" {
		browser = command(t, "Chromium (Debian: apt-get install chromium)", "chromium", "chromium-browser",
			"google-chrome")
	}
	for _, name := range []string{"openid-client", "swagger-ui-dist"} {
		if _, err := os.Stat(filepath.Join(root, "e2e", "node_modules", name)); err != nil {
			t.Fatal("the packages of e2e/package.json are not installed: run `make modules`")
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "e2e", dir, "*.test.mjs"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in e2e/%s: %v", dir, err)
	}
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
				"GATEHOUSE_E2E_BINARY="+process.Plain(t),
				"GATEHOUSE_E2E_CHROMIUM="+browser)
			cmd.Env = append(cmd.Env, env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// buildGo compiles the module e2e/go, which shares no dependencies with ours, and oauth2-proxy. It
// returns the directory of both programs.
func buildGo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-w", "-o", dir+"/", ".",
		"github.com/oauth2-proxy/oauth2-proxy/v7")
	cmd.Dir = filepath.Join(process.Root(t), "e2e", "go")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
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
