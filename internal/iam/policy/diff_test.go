package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
)

func compareNow(t *testing.T, old, now compiler.Files) Diff {
	t.Helper()
	d, err := Compare(t.Context(), old, now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCompare(t *testing.T) {
	moved := album("view")
	old := compiler.Files{"same.yaml": []byte("x\n"), "gone.yaml": []byte("a\nb\n"), "album.yaml": moved,
		"photo.yaml": []byte(strings.ReplaceAll(string(album("view")), "album", "photo"))}
	now := compiler.Files{"same.yaml": []byte("x\n"), "albums/album.yaml": moved, "new.yaml": []byte("c"),
		"photo.yaml": []byte("# only a comment\n" + strings.ReplaceAll(string(album("edit")), "album", "photo"))}
	d := compareNow(t, old, now)
	var files []string
	for _, f := range d.Files {
		files = append(files, f.Change+" "+f.Path)
	}
	if diff := cmp.Diff([]string{"removed album.yaml", "added albums/album.yaml", "removed gone.yaml",
		"added new.yaml", "changed photo.yaml"}, files); diff != "" {
		t.Error(diff)
	}
	// A policy that moved to another file is the same policy.
	if diff := cmp.Diff([]compiler.PolicyChange{{Policy: "resource.photo.vdefault", Change: compiler.Changed,
		File: "photo.yaml"}}, d.Policies); diff != "" {
		t.Error(diff)
	}
	now["photo.yaml"] = []byte("# only a comment\n" + string(old["photo.yaml"]))
	if d := compareNow(t, old, now); len(d.Policies) != 0 {
		t.Errorf("a comment changed %v", d.Policies)
	}
	if d := compareNow(t, old, old); len(d.Files) != 0 || len(d.Policies) != 0 || d.Text() != "" {
		t.Errorf("the same files differ: %+v", d)
	}
	want := "--- a/x\n+++ b/x\n@@ -1,5 +1,5 @@\n-one\n+ONE\n two\n three\n four\n-five\n\\ No newline at end of " +
		"file\n+five\n"
	if got := compareNow(t, compiler.Files{"x": []byte("one\ntwo\nthree\nfour\nfive")},
		compiler.Files{"x": []byte("ONE\ntwo\nthree\nfour\nfive\n")}).Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever two texts are: the hunks, applied to the old one, give the new one, and every line of a
// hunk is where it says.
func TestHunksLeadFromTheOldToTheNew(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range random.IntN(40) {
			fmt.Fprintf(&b, "line %d\n", random.IntN(12))
		}
		s := b.String()
		if random.IntN(4) == 0 {
			s = strings.TrimSuffix(s, "\n")
		}
		return s
	}
	for range 3000 {
		a, b := text(), text()
		if random.IntN(3) == 0 { // a small change of a long text
			lines := split([]byte(a))
			if len(lines) > 0 {
				lines[random.IntN(len(lines))] = "changed\n"
				b = strings.Join(lines, "")
			}
		}
		if got := apply(t, split([]byte(a)), hunks([]byte(a), []byte(b))); got != b {
			t.Fatalf("from %q to %q: %q", a, b, got)
		}
	}
}

// split cuts text into lines. Only the last may lack its newline.
func split(b []byte) []string { return slices.Collect(strings.Lines(string(b))) }

const noNewline = `\ No newline at end of file`

// apply does what patch does, strictly.
func apply(t *testing.T, old []string, hs []Hunk) string {
	t.Helper()
	var out strings.Builder
	at := 0
	for _, h := range hs {
		start := h.OldStart - 1
		if h.OldLines == 0 {
			start++
		}
		if start < at {
			t.Fatalf("hunks overlap: %+v", hs)
		}
		for ; at < start; at++ {
			out.WriteString(old[at])
		}
		if n := strings.Count(out.String(), "\n"); h.NewLines > 0 && h.NewStart != n+1 || h.NewLines == 0 &&
			h.NewStart != n {
			t.Fatalf("new start %d after %d lines", h.NewStart, n)
		}
		oldLines, newLines := 0, 0
		for i, l := range h.Lines {
			if l == noNewline {
				continue
			}
			line := l[1:] + "\n"
			if i+1 < len(h.Lines) && h.Lines[i+1] == noNewline {
				line = l[1:]
			}
			if l[0] != '+' {
				if old[at] != line {
					t.Fatalf("line %d is %q, the hunk says %q", at, old[at], line)
				}
				at++
				oldLines++
			}
			if l[0] != '-' {
				out.WriteString(line)
				newLines++
			}
		}
		if oldLines != h.OldLines || newLines != h.NewLines {
			t.Fatalf("lines counted wrongly: %+v", h)
		}
	}
	for ; at < len(old); at++ {
		out.WriteString(old[at])
	}
	return out.String()
}

// Files that end the process that reads them are compared as files.
func TestComparingHostileFiles(t *testing.T) {
	d := compareNow(t, compiler.Files{}, compiler.Files{"a.yaml": []byte("apiVersion: " + strings.Repeat("[",
		900<<10))})
	if len(d.Files) != 1 || len(d.Policies) != 0 {
		t.Errorf("%+v", d)
	}
}

// Two large texts with nothing, or everything, in common take no time worth limiting.
func TestLargeDiffsAreBounded(t *testing.T) {
	a, b := make([]string, compiler.MaxFile/2), make([]string, compiler.MaxFile/2)
	for i := range a {
		a[i], b[i] = "a\n", fmt.Sprint(i%1000, "\n")
	}
	d := compareNow(t, compiler.Files{"x": []byte(strings.Join(a, "")[:compiler.MaxFile])},
		compiler.Files{"x": []byte(strings.Join(b, "")[:compiler.MaxFile])})
	lines := 0
	for _, f := range d.Files {
		for _, h := range f.Hunks {
			lines += len(h.Lines)
		}
	}
	if !d.Truncated || lines > maxDiffLines {
		t.Errorf("truncated %v with %d lines", d.Truncated, lines)
	}
}
