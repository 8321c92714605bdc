package compiler

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Cerbos is built with replaced modules, of which Go takes no notice here. Ours are the same.
func TestOurReplacesAreCerbos(t *testing.T) {
	type module struct {
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	read := func(file string) module {
		var m module
		out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", file).Output()
		if err == nil {
			err = json.Unmarshal(out, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}",
		"github.com/cerbos/cerbos").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := read(filepath.Join(strings.TrimSpace(string(dir)), "go.mod"))
	if len(theirs.Replace) == 0 {
		t.Error("Cerbos replaces nothing any longer")
	}
	for _, file := range []string{"../../../go.mod", "../../../e2e/cerbos/go.mod"} {
		ours := read(file)
		for _, r := range theirs.Replace {
			if strings.HasPrefix(r.New.Path, ".") {
				continue // a directory of Cerbos' repository
			}
			found := false
			for _, o := range ours.Replace {
				found = found || o.Old.Path == r.Old.Path && o.New == r.New
			}
			if !found {
				t.Errorf("%s does not replace %s by %s %s", file, r.Old.Path, r.New.Path, r.New.Version)
			}
		}
	}
}
