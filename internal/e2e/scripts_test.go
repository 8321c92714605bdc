package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestSetup runs scripts/setup on a machine that lacks curl and git.
func TestSetup(t *testing.T) {
	t.Parallel()
	const install = "apt-get install -y -qq --no-install-recommends curl git"
	for name, c := range map[string]struct {
		uid  string
		sudo bool
		want string
		asks string // what apt-get receives last, or "" for nothing
	}{
		"root installs and says so": {"0", false, "Installing curl git",
			"install -y -qq --no-install-recommends curl git"},
		"sudo installs and is named": {"1000", true, "Installing with sudo: curl git",
			"install -y -qq --no-install-recommends curl git"},
		"without either the command is printed": {"1000", false,
			"Type as root:\n  apt-get update -qq\n  DEBIAN_FRONTEND=noninteractive " + install, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin, asked := t.TempDir(), filepath.Join(t.TempDir(), "asked")
			for _, program := range []string{"bash", "cat", "dirname", "go", "grep", "make", "node", "npm",
				"python3", "sed", "touch"} {
				if err := os.Symlink(command(t, program, program), filepath.Join(bin, program)); err != nil {
					t.Fatal(err)
				}
			}
			fakes := map[string]string{"id": "echo " + c.uid, "apt-get": `echo "$@" >>` + asked}
			if c.sudo {
				fakes["sudo"] = `[ "$1" != -n ] || shift; exec "$@"`
				fakes["true"] = "exit 0"
			}
			for program, script := range fakes {
				if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+script+"\n"),
					0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(filepath.Join(process.Root(t), "scripts", "setup"), "test")
			cmd.Env = []string{"PATH=" + bin, "HOME=" + t.TempDir(), "GATEHOUSE_TEST_POSTGRES=x",
				"GATEHOUSE_TEST_CHROMIUM=x"}
			out, err := cmd.CombinedOutput()
			if (err == nil) != (c.asks != "") {
				t.Errorf("%v\n%s", err, out)
			}
			wants(t, string(out), c.want)
			calls, _ := os.ReadFile(asked)
			lines := strings.Split(strings.TrimSpace(string(calls)), "\n")
			if last := lines[len(lines)-1]; last != c.asks {
				t.Errorf("apt-get was called with %q last, not with %q", last, c.asks)
			}
		})
	}
}

// TestSetupReadsGoVersion runs scripts/setup with several versions of Go.
func TestSetupReadsGoVersion(t *testing.T) {
	t.Parallel()
	root := process.Root(t)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(mod), "\ngo ")
	wanted, _, _ := strings.Cut(after, "\n")
	for _, c := range []struct {
		version, toolchain string
		old                bool
	}{
		{"go1.19.8", "", true}, {"go1.19", "", true}, {"go1.20.14", "", true},
		{"go1.21.0", "auto", false}, {"go1.22.1", "local", true}, {"go" + wanted, "local", false},
		{"go1.100.0", "local", false}, {"devel go1.100-0123456", "local", false},
	} {
		bin := t.TempDir()
		fake := "#!/bin/sh\ncase $2 in GOVERSION) echo '" + c.version + "' ;; *) echo '" + c.toolchain + "' ;; esac\n"
		if err := os.WriteFile(filepath.Join(bin, "go"), []byte(fake), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(root, "scripts", "setup"), "run")
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.old {
			t.Errorf("%s, GOTOOLCHAIN=%s: %v\n%s", c.version, c.toolchain, err, out)
		}
		want := ""
		if c.old {
			want = "Go " + strings.TrimPrefix(c.version, "go") + " is too old. Install " + wanted +
				" or newer from https://go.dev/dl/\n"
		}
		if string(out) != want {
			t.Errorf("%s, GOTOOLCHAIN=%s: it says %q, not %q", c.version, c.toolchain, out, want)
		}
	}
}

// TestSubjects runs scripts/subjects on the history of a small repository.
func TestSubjects(t *testing.T) {
	t.Parallel()
	long := "app: " + strings.Repeat("long ", 20)
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com"},
			args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	commit := func(subject string) { t.Helper(); git("commit", "-q", "--allow-empty", "-m", subject) }
	check := func(want bool, state string) {
		t.Helper()
		if out, err := exec.Command(filepath.Join(dir, "scripts", "subjects")).CombinedOutput(); (err == nil) != want {
			t.Errorf("%s: %v\n%s", state, err, out)
		}
	}

	script, err := os.ReadFile(filepath.Join(process.Root(t), "scripts", "subjects"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scripts", "subjects"), script, 0o700); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	commit(long)
	git("add", ".")
	commit("build: reject long subjects")
	commit("app: " + strings.Repeat("ä", 67))
	check(true, "72 characters, and a long subject before the rule")
	git("checkout", "-q", "-b", "branch")
	commit(long)
	check(false, "a long subject on a branch")
	git("checkout", "-q", "main")
	commit(long)
	check(false, "a long subject on main")
	git("checkout", "-q", "-b", "other")
	commit("app: short")
	check(true, "a branch after a long subject on main")
	git("checkout", "-q", "main")
	for range 50 {
		commit("app: short")
	}
	check(true, "a long subject 50 commits ago on main")
}
