package cerbos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestVersion compares the version of the server with that of go.mod.
func TestVersion(t *testing.T) {
	root := process.Root(t)
	for _, file := range []string{"go.mod", "e2e/cerbos/go.mod"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(string(text), " // indirect", ""),
			"github.com/cerbos/cerbos v"+Version+"\n") {
			t.Errorf("%s does not require github.com/cerbos/cerbos v%s", file, Version)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "e2e/package.json"))
	if want := `"@cerbos/cerbos-linux-x64": "` + Version + `"`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("e2e/package.json has no %s: %v", want, err)
	}
	out, err := exec.Command(Build(t), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), Version) {
		t.Errorf("cerbos --version: %s %v", out, err)
	}
}

// TestNoneOfItsStorageDrivers keeps Cerbos' server and its drivers out of our binary.
func TestNoneOfItsStorageDrivers(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/gatehouse")
	cmd.Dir = process.Root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		for _, part := range []string{"cerbos/internal/server", "cerbos/internal/storage/git",
			"cerbos/internal/storage/blob", "cerbos/internal/storage/db", "go-git", "gocloud.dev/blob", "badger",
			"helm.sh"} {
			if strings.Contains(line, part) {
				t.Errorf("cmd/gatehouse links %s", strings.TrimSpace(line))
			}
		}
	}
}
