package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// runnable is a shell block of a page that is marked to be run.
var runnable = regexp.MustCompile("(?ms)^```sh run\n(.*?)^```$")

// TestReadme runs the marked blocks of README.md.
func TestReadme(t *testing.T) {
	runPage(t, "README.md", `"issuer"`, `"authorization_endpoint"`, `"active":true`, `"user.create"`, `"view":"EFFECT_ALLOW"`, `"delete":"EFFECT_DENY"`)
}

// TestFirstPolicy runs the marked blocks of the guide.
func TestFirstPolicy(t *testing.T) {
	runPage(t, "docs/guides/first-policy.md",
		"The policies are valid.", "3 passed, 0 failed", "Revision 1 is in force.",
		`"edit":"EFFECT_DENY"`, "+    - actions: [edit]", "changed resource.album.vdefault (album.yaml)", "Revision 2 is in force.", `"edit":"EFFECT_ALLOW"`,
		`album.yaml:12:3: unknown field "rulez"`, "wanted EFFECT_DENY, got EFFECT_ALLOW", "(policy.invalid)",
		"Revision 3, the same as revision 1, is in force.", `"rolled_back_to":1`, "2 files are in")
}

// TestFromASidecar runs the marked blocks of the guide, beside a real Cerbos server.
func TestFromASidecar(t *testing.T) {
	if _, err := os.Stat(filepath.Join(process.Root(t), "e2e", "node_modules", "@cerbos", "grpc")); err != nil {
		t.Fatal("the packages of e2e/package.json are not installed: run `make test`, or `npm ci` in e2e")
	}
	cerbos.Build(t)
	runPage(t, "docs/guides/from-a-cerbos-sidecar.md",
		"design: true, approved by mia", "sales: false", `"revision":1`, "the answers are the same", `"revision":2`, `"approve":"EFFECT_ALLOW"`, `"approve":"EFFECT_DENY"`, "the export compiles")
}

// runPage runs the marked blocks of a page in one shell and in their order, with the ports changed to free ones, and wants these
// texts in what they print. The page is written in Markdown and named from the root.
func runPage(t *testing.T, page string, wanted ...string) {
	root := process.Root(t)
	for _, program := range []string{"bash", "curl", "openssl", "make"} {
		command(t, program, program)
	}
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	// The shell ends the server with itself, and stops at the first command that fails, as a reader would.
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	blocks := runnable.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatalf("%s has no block marked `sh run`", page)
	}
	for _, block := range blocks {
		script.WriteString(block[1])
	}
	script.WriteString("\necho; echo PAGE-END\n")
	ports := strings.NewReplacer("127.0.0.1:8080", freeAddress(t), "127.0.0.1:8081", freeAddress(t), "127.0.0.1:8082", freeAddress(t),
		"127.0.0.1:3592", freeAddress(t), "127.0.0.1:3593", freeAddress(t))

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", ports.Replace(script.String()))
	cmd.Dir = root
	cmd.WaitDelay = 10 * time.Second
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "GATEHOUSE_") && !strings.HasPrefix(entry, "TMPDIR=") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range append(wanted, "PAGE-END") {
		if !strings.Contains(strings.ReplaceAll(string(out), `": `, `":`), want) {
			t.Errorf("the output has no %s:\n%s", want, out)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
