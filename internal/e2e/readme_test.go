package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestReadme follows README.md and the guides as a reader does: one `make run`, and the commands of
// every page against it. It also types `make run` where that cannot work, and ends the first with
// Ctrl-C.
func TestReadme(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "make"} {
		command(t, program, program)
	}
	run := startRun(t)
	t.Run("make run says what each person may do and what to open", func(t *testing.T) {
		run.wants(t, "olga@platform.example   owner", "grace@acme.example      none", "Open this:                  http://"+run.address["WEBAPP_LISTEN"], "client_id operator")
	})
	t.Run("a second make run says that the first is running", func(t *testing.T) {
		wants(t, run.refused(t, run.data), "make run is already running on "+run.data, "GATEHOUSE_DATA=")
	})
	t.Run("a taken address is named with its setting", func(t *testing.T) {
		out := run.refused(t, t.TempDir())
		for setting, address := range run.address {
			wants(t, out, setting+"="+address)
		}
	})
	t.Run("a setting that cannot be used is named", func(t *testing.T) {
		free := &makeRun{root: run.root, address: map[string]string{"GATEHOUSE_SMTP_URL": "localhost:25"}}
		for setting := range run.address {
			free.address[setting] = testkit.FreeAddress(t)
		}
		wants(t, free.refused(t, t.TempDir()), "GATEHOUSE_SMTP_URL")
	})
	t.Run("README.md", func(t *testing.T) {
		wants(t, run.page(t, "README.md"),
			`"issuer"`, `"authorization_endpoint"`, `"active":true`, `"user.create"`, `"view":"EFFECT_ALLOW"`,
			`"delete":"EFFECT_DENY"`)
	})
	t.Run("docs/guides/first-policy.md", func(t *testing.T) {
		wants(t, run.page(t, "docs/guides/first-policy.md"),
			"The policies are valid.", "3 passed, 0 failed", "Revision 1 is in force.",
			`"edit":"EFFECT_DENY"`, "+    - actions: [edit]", "changed resource.album.vdefault (album.yaml)",
			"Revision 2 is in force.", `"edit":"EFFECT_ALLOW"`,
			`album.yaml:12:3: unknown field "rulez"`, "wanted EFFECT_DENY, got EFFECT_ALLOW", "(policy.invalid)",
			"Revision 3, the same as revision 1, is in force.", `"rolled_back_to":1`, "2 files are in")
	})
	t.Run("docs/guides/sign-out-everywhere.md", func(t *testing.T) {
		wants(t, run.page(t, "docs/guides/sign-out-everywhere.md"),
			`"backchannel_logout_uri":"http://`+run.address["WEBAPP_LISTEN"]+`/backchannel-logout"`,
			`"frontchannel_logout_session_required":true`, `"frontchannel_logout_session_supported":true`,
			`"check_session_iframe":"`)
	})
	t.Run("docs/guides/invite-people.md", func(t *testing.T) {
		wants(t, run.page(t, "docs/guides/invite-people.md"), `"status":"pending"`, "<title>Accept your invitation",
			`"invited_by":{"kind":"application"`, `"withdrawn_at"`, `"code":"invitation.user_exists"`)
	})
	t.Run("docs/guides/from-a-cerbos-sidecar.md", func(t *testing.T) {
		if _, err := os.Stat(filepath.Join(run.root, "e2e", "node_modules", "@cerbos", "grpc")); err != nil {
			t.Fatal("the packages of e2e/package.json are not installed: run `make modules`")
		}
		cerbos.Build(t)
		wants(t, run.page(t, "docs/guides/from-a-cerbos-sidecar.md"),
			"design: true, approved by mia", "sales: false", `"revision":1`, "the answers are the same", `"revision":2`,
			`"approve":"EFFECT_ALLOW"`, `"approve":"EFFECT_DENY"`, "the export compiles")
	})
	t.Run("lines about requests are in the log only", func(t *testing.T) {
		log, err := os.ReadFile(filepath.Join(run.data, "server.log"))
		if err != nil || !bytes.Contains(log, []byte("msg=request")) {
			t.Errorf("the log has no lines about requests: %v", err)
		}
		if out := run.out.String(); strings.Contains(out, "level=INFO msg=request") {
			t.Errorf("make run prints lines about requests:\n%s", out)
		}
	})
	t.Run("Ctrl-C ends all that make run started", func(t *testing.T) {
		run.interrupt(t)
		for _, address := range run.address {
			if conn, err := net.Dial("tcp", address); err == nil {
				_ = conn.Close()
				t.Errorf("something still listens at %s", address)
			}
		}
	})
}

// makeRun is a `make run` on free addresses, with a data directory of its own.
type makeRun struct {
	root, data string
	address    map[string]string // by setting
	cmd        *exec.Cmd
	out        output
	gone       chan struct{} // closed once the process has ended
}

// output collects what a process writes while the test reads it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startRun starts `make run` and returns once it has printed what to open.
func startRun(t *testing.T) *makeRun {
	t.Helper()
	testkit.SkipFast(t, "make run")
	r := &makeRun{root: process.Root(t), data: filepath.Join(t.TempDir(), "data"), address: map[string]string{},
		gone: make(chan struct{})}
	for _, setting := range []string{"GATEHOUSE_LISTEN", "GATEHOUSE_OPS_LISTEN", "GATEHOUSE_GRPC_LISTEN",
		"WEBAPP_LISTEN"} {
		r.address[setting] = testkit.FreeAddress(t)
	}
	r.cmd = r.command(t.Context(), r.data, "make", "run")
	r.cmd.Cancel = func() error { return r.signal(syscall.SIGKILL) }
	// A group of its own receives Ctrl-C, as a terminal sends it.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.gone)
		_ = r.cmd.Wait() // make fails when it is interrupted
	}()
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(r.out.String(),
		"Open this:"); time.Sleep(50 * time.Millisecond) {
		select {
		case <-r.gone:
			t.Fatalf("make run has ended:\n%s", r.out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("make run is not ready after 5 minutes:\n%s", r.out.String())
		}
	}
	return r
}

// command returns a command in the root of the repository, with the addresses and a data directory
// in its environment.
func (r *makeRun) command(ctx context.Context, data, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = r.root
	cmd.WaitDelay = 10 * time.Second
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "GATEHOUSE_") && !strings.HasPrefix(entry, "MAKE") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "GATEHOUSE_DATA="+data)
	for setting, address := range r.address {
		cmd.Env = append(cmd.Env, setting+"="+address)
	}
	return cmd
}

// refused runs a `make run` that must fail, and returns what it prints.
func (r *makeRun) refused(t *testing.T, data string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := r.command(ctx, data, "make", "run").CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Fatalf("make run did not fail at once:\n%s", out)
	}
	return string(out)
}

func (r *makeRun) signal(s syscall.Signal) error { return syscall.Kill(-r.cmd.Process.Pid, s) }

// interrupt presses Ctrl-C and waits until no process of the group is left.
func (r *makeRun) interrupt(t *testing.T) {
	t.Helper()
	if err := r.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-r.gone
	for deadline := time.Now().Add(time.Minute); !errors.Is(r.signal(0),
		syscall.ESRCH); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = r.signal(syscall.SIGKILL)
			t.Fatal("a process of make run is left after a minute")
		}
	}
}

// runnable is a shell block of a page that is marked to be run.
var runnable = regexp.MustCompile("(?ms)^```sh run\n(.*?)^```$")

// page runs the marked blocks of a page in one shell and in their order, and returns what they
// print. It changes the data directory and the ports of the page's own servers.
func (r *makeRun) page(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.root, page))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	// The shell ends what it started, and stops at the first command that fails, as a reader would.
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n")
	blocks := runnable.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatalf("%s has no block marked `sh run`", page)
	}
	for _, block := range blocks {
		script.WriteString(block[1])
	}
	changed := strings.NewReplacer("./gatehouse-data", r.data,
		"127.0.0.1:3592", testkit.FreeAddress(t), "127.0.0.1:3593", testkit.FreeAddress(t))

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := r.command(ctx, r.data, "bash", "-c", changed.Replace(script.String()))
	// A reader's second terminal knows nothing of the settings.
	cmd.Env = append(cmd.Env[:len(cmd.Env)-len(r.address)-1], "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func (r *makeRun) wants(t *testing.T, texts ...string) {
	t.Helper()
	wants(t, r.out.String(), texts...)
}

// wants reports each text that an output lacks. JSON may have spaces after its colons.
func wants(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(strings.ReplaceAll(out, `": `, `":`), text) {
			t.Errorf("the output has no %s:\n%s", text, out)
		}
	}
}

// later are options that curl 7.81 of Ubuntu 22.04 lacks.
var later = regexp.MustCompile(`curl[^\n|]*\s--(json|variable|expand-\S+|url-query)\b|\scall[^\n|]*\s--json\b`)

// TestPagesUseOldCurl keeps options out of the pages that a reader's curl may lack.
func TestPagesUseOldCurl(t *testing.T) {
	root := process.Root(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "guides", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if found := later.Find(text); found != nil {
			t.Errorf("%s uses an option that curl 7.81 lacks: %s", page, found)
		}
	}
}
