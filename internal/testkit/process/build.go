package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/race"
)

var builds struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// Build compiles a main package of this module, such as "cmd/gatehouse", once for a test process.
// Call Cleanup from TestMain to remove the binaries.
//
// It uses the race detector and the compiler flags of the tests, so that no package is compiled
// twice.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	testkit.SkipFast(t, "a built binary")
	builds.Lock()
	defer builds.Unlock()
	if path, ok := builds.paths[pkg]; ok {
		return path
	}
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "gatehouse-binary-")
		if err != nil {
			t.Fatal(err)
		}
		builds.dir, builds.paths = dir, map[string]string{}
	}
	path := filepath.Join(builds.dir, filepath.Base(pkg))
	args := []string{"build", "-ldflags=-w", "-o", path} // without a debugger's tables it links sooner
	if race.Detector {
		args = append(args, "-race")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-gcflags" {
				args = append(args, s.Key+"="+s.Value)
			}
		}
	}
	cmd := exec.Command("go", append(args, "./"+pkg)...)
	cmd.Dir = Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build ./%s: %v\n%s", pkg, err, out)
	}
	builds.paths[pkg] = path
	return path
}

// Plain returns the path of the server without the race detector, if make check has made one.
// Otherwise it is that of Build.
func Plain(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("GATEHOUSE_TEST_PLAIN"); path != "" {
		return path
	}
	return Build(t, "cmd/gatehouse")
}

// Cleanup removes the binaries that Build made.
func Cleanup() {
	builds.Lock()
	defer builds.Unlock()
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir)
		builds.dir, builds.paths = "", nil
	}
}

// Root returns the directory of go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = parent
	}
}
