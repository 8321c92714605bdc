package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

var (
	// row is a line of docs/clients.md with a name and a whole version.
	row = regexp.MustCompile(`(?m)^\| (\S+) \| (\d+\.\d+\.\d+) \|`)
	// quoted is a block of a guide that names the file it is from.
	quoted = regexp.MustCompile("(?m)^```\\w+ (e2e/\\S+)\n((?:.*\n)+?)```$")
)

// TestClientsPage compares docs/clients.md with the versions that are pinned.
func TestClientsPage(t *testing.T) {
	t.Parallel()
	pinned := read(t, "e2e/package.json") + read(t, "e2e/python/requirements.txt") + read(t, "e2e/go/go.mod")
	rows := row.FindAllStringSubmatch(read(t, "docs/clients.md"), -1)
	if len(rows) < 15 {
		t.Fatalf("docs/clients.md has %d rows with a version", len(rows))
	}
	for _, r := range rows {
		name, version := r[1], r[2]
		if !strings.Contains(pinned, `"`+name+`": "`+version+`"`) &&
			!strings.Contains(pinned, "\n"+name+"=="+version+"\n") &&
			!regexp.MustCompile(regexp.QuoteMeta(name+" v"+version)+`\s`).MatchString(pinned) {
			t.Errorf("docs/clients.md says %s %s, which is not what is pinned", name, version)
		}
	}
}

// TestSignInGuideQuotes compares the lines of the guides with the programs that they name.
func TestSignInGuideQuotes(t *testing.T) {
	t.Parallel()
	blocks := quoted.FindAllStringSubmatch(read(t, "docs/guides/sign-people-in.md")+
		read(t, "docs/guides/devices.md"), -1)
	if len(blocks) < 10 {
		t.Fatalf("the guide has %d blocks that name a file", len(blocks))
	}
	for _, b := range blocks {
		program := read(t, b[1])
		for line := range strings.Lines(b[2]) {
			if line = strings.TrimSpace(line); !strings.Contains(program, line) {
				t.Errorf("%s has no line %q", b[1], line)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(process.Root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
