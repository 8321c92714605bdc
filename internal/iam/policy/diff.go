package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// Diff is how two sets of files differ.
type Diff struct {
	Files     []FileDiff              `json:"files" doc:"By path; equal files are left out."`
	Policies  []compiler.PolicyChange `json:"policies" doc:"Which policies mean something else now. A comment changes a file and no policy."`
	Settings  []SettingDiff           `json:"settings,omitempty" doc:"The engine's settings that differ."`
	Truncated bool                    `json:"truncated,omitempty" doc:"There are more lines than are shown."`
}

// SettingDiff is how a setting of the engine differs.
type SettingDiff struct {
	Name string `json:"name" example:"strict_evaluation"`
	Old  any    `json:"old"`
	New  any    `json:"new"`
}

// Version is what a diff compares: a draft or a revision.
type Version struct {
	Files    compiler.Files
	Settings engine.Settings
}

// compareSettings returns the settings that differ, by name.
func compareSettings(old, now engine.Settings) []SettingDiff {
	var before, after map[string]any
	_ = json.Unmarshal([]byte(settingsText(old)), &before) // our own JSON
	_ = json.Unmarshal([]byte(settingsText(now)), &after)
	var out []SettingDiff
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if !reflect.DeepEqual(before[name], after[name]) {
			out = append(out, SettingDiff{name, before[name], after[name]})
		}
	}
	return out
}

// FileDiff is how a file differs.
type FileDiff struct {
	Path   string `json:"path"`
	Change string `json:"change" enum:"added,removed,changed"`
	Hunks  []Hunk `json:"hunks"`
}

// Hunk is a run of lines as in a unified diff.
type Hunk struct {
	OldStart int      `json:"old_start" doc:"The first line in the old file, from 1. It is 0 if the hunk has no line of that file."`
	OldLines int      `json:"old_lines"`
	NewStart int      `json:"new_start"`
	NewLines int      `json:"new_lines"`
	Lines    []string `json:"lines" doc:"Each begins with a space, + or -."`
}

// maxDiffLines bounds the lines of a diff, all files together.
const maxDiffLines = 20_000

// Compare returns how the files differ when now replaces old. The error is a fault of ours.
func Compare(ctx context.Context, old, now compiler.Files) (Diff, error) {
	d := Diff{Files: []FileDiff{}, Policies: []compiler.PolicyChange{}}
	paths := slices.Sorted(maps.Keys(old))
	for p := range now {
		if _, both := old[p]; !both {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	lines := 0
	before, after := compiler.Files{}, compiler.Files{}
	for _, p := range paths {
		a, inOld := old[p]
		b, inNew := now[p]
		if inOld && inNew && bytes.Equal(a, b) {
			continue
		}
		f := FileDiff{Path: p, Change: compiler.Changed, Hunks: []Hunk{}}
		switch {
		case !inOld:
			f.Change = compiler.Added
		case !inNew:
			f.Change = compiler.Removed
		}
		if inOld {
			before[p] = a
		}
		if inNew {
			after[p] = b
		}
		for _, h := range hunks(a, b) {
			if lines += len(h.Lines); lines > maxDiffLines {
				d.Truncated = true
				break
			}
			f.Hunks = append(f.Hunks, h)
		}
		d.Files = append(d.Files, f)
	}
	if len(d.Files) == 0 {
		return d, nil
	}
	var err error
	d.Policies, err = compiler.ComparePolicies(ctx, before, after)
	return d, err
}

// Text is the diff in the unified form of diff -u and git.
func (d Diff) Text() string {
	var b strings.Builder
	for _, s := range d.Settings {
		before, _ := json.Marshal(s.Old) // both are JSON values
		after, _ := json.Marshal(s.New)
		fmt.Fprintf(&b, "setting %s\n-%s\n+%s\n", s.Name, before, after)
	}
	for _, f := range d.Files {
		from, to := "a/"+f.Path, "b/"+f.Path
		switch f.Change {
		case compiler.Added:
			from = "/dev/null"
		case compiler.Removed:
			to = "/dev/null"
		}
		b.WriteString("--- " + from + "\n+++ " + to + "\n")
		for _, h := range f.Hunks {
			b.WriteString(h.head() + "\n")
			for _, l := range h.Lines {
				b.WriteString(l + "\n")
			}
		}
	}
	return b.String()
}

func (h Hunk) head() string {
	return fmt.Sprintf("@@ -%d,%d +%d,%d @@", h.OldStart, h.OldLines, h.NewStart, h.NewLines)
}

// hunks returns the hunks of two texts. They are anchored at lines that each text has once, so that
// the work is O(n log n) whatever the texts are.
func hunks(old, now []byte) []Hunk {
	var out []Hunk
	for line := range strings.Lines(string(diff.Diff("old", old, "new", now))) {
		line = strings.TrimSuffix(line, "\n")
		if h, ok := parseHead(line); ok {
			out = append(out, h)
		} else if len(out) > 0 { // after the names of the two texts
			h := &out[len(out)-1]
			h.Lines = append(h.Lines, line)
		}
	}
	return out
}

// parseHead reads the head of a hunk. Lines of the texts themselves begin with a space, + or -.
func parseHead(line string) (Hunk, bool) {
	var h Hunk
	n, err := fmt.Sscanf(line, "@@ -%d,%d +%d,%d @@", &h.OldStart, &h.OldLines, &h.NewStart, &h.NewLines)
	return h, err == nil && n == 4
}
