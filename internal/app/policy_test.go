package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/app"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

const albumPolicy = `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: album
  version: default
  rules:
    - actions: [view]
      effect: EFFECT_ALLOW
      roles: [user]
`

const albumSuite = `name: albums
principals:
  ann: {id: ann, roles: [user]}
resources:
  one: {id: one, kind: album}
tests:
  - name: a user may view
    input: {principals: [ann], resources: [one], actions: [view]}
    expected:
      - {principal: ann, resource: one, actions: {view: EFFECT_ALLOW}}
`

// The policy commands run on a directory, and on a server as a machine application.
func TestPolicyCommands(t *testing.T) {
	w := world.OnSQLite(t)
	operator := w.Operator()
	w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
	client, secret := w.Machine("acme", "admin", "")
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"GATEHOUSE_URL=" + w.Origin + "/t/acme/", "GATEHOUSE_CLIENT_ID=" + client,
		"GATEHOUSE_CLIENT_SECRET_FILE=" + secretFile}
	run := func(code int, want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if got := app.Main(append([]string{"policy"}, args...), environ, &out, &out); got != code ||
			!strings.Contains(out.String(), want) {
			t.Errorf("policy %s: %d, want %d with %q\n%s", strings.Join(args, " "), got, code, want, out.String())
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "album.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(albumPolicy)
	run(0, "The policies are valid.", "validate", dir)
	run(1, "no test ran: check the path", "test", dir)
	run(0, "+  resource: album", "diff", dir) // nothing is published yet
	run(1, "no change to publish", "publish", "--reason", "first")
	run(0, "Revision 1 is in force.", "publish", dir, "--reason", "first")
	run(0, "Nothing differs.", "diff", dir)
	write(strings.Replace(albumPolicy, "[view]", "[view, edit]", 1))
	run(0, "changed resource.album.vdefault (album.yaml)", "diff", dir)
	run(0, "The draft has the 1 files", "import", dir)
	run(0, "-    - actions: [view]", "diff")
	run(0, "The policies are valid.", "validate")
	run(1, "no test ran", "test")
	empty := t.TempDir()
	run(1, "no test ran", "test", empty)
	run(1, "--allow-empty", "validate", empty)
	run(0, "The policies are valid.", "validate", empty, "--allow-empty")
	run(1, "(policy.archive)", "import", empty)
	run(0, "Revision 2 is in force.", "publish", "--reason", "second")
	run(0, "+    - actions: [view, edit]", "diff", "--revision", "2")
	run(0, "Revision 3, the same as revision 1", "rollback", "1", "--reason", "back")
	run(1, "(policy.in_force)", "rollback", "1", "--reason", "back")
	run(1, "--allow-empty", "publish", empty, "--reason", "nothing")
	run(0, "Revision 4 is in force.", "publish", empty, "--reason", "nothing", "--allow-empty")
	run(0, "0 files", "export", filepath.Join(t.TempDir(), "none"))
	run(0, "Revision 5, the same as revision 3", "rollback", "3", "--reason", "back")
	run(1, "(policy.revision_not_found)", "rollback", "9", "--reason", "back")
	suite := filepath.Join(dir, "album_test.yaml")
	if err := os.WriteFile(suite, []byte(albumSuite), 0o600); err != nil {
		t.Fatal(err)
	}
	run(0, "1 passed", "test", dir)
	if err := os.WriteFile(suite, []byte("skip: true\n"+albumSuite), 0o600); err != nil {
		t.Fatal(err)
	}
	run(1, "no test ran", "test", dir)
	if err := os.Remove(suite); err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(t.TempDir(), "out")
	run(0, "1 files", "export", exported)
	run(1, "is not empty", "export", exported)
	if got, err := os.ReadFile(filepath.Join(exported, "album.yaml")); err != nil || string(got) != albumPolicy {
		t.Errorf("exported %q: %v", got, err)
	}
	for _, name := range []string{"out.zip", "out.tar.gz"} {
		to := filepath.Join(t.TempDir(), name)
		run(0, "1 files", "export", to, "--revision", "2")
		run(0, "The draft has the 1 files", "import", to)
	}
	write(strings.Replace(albumPolicy, "rules:", "rulez:", 1))
	run(1, `album.yaml:5:3: unknown field "rulez"`, "validate", dir)
	run(1, `album.yaml:5:3: unknown field "rulez"`, "publish", dir, "--reason", "x")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	run(1, "is a link", "publish", dir, "--reason", "x")
	run(2, "reason", "publish", dir)
	run(1, "token.invalid", "validate", "--token", "nonsense")
	run(1, "no token from", "validate", "--client-secret", "nonsense")
	run(1, "tenant.not_found", "validate", "--url", w.Origin+"/t/nobody", "--token", "x")
	environ = nil
	run(1, "GATEHOUSE_URL", "validate", "--token", "x")
	run(0, "gatehouse policy publish ./policies", "--help")
}
