package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	policyv1 "github.com/cerbos/cerbos/api/genpb/cerbos/policy/v1"
	"github.com/cerbos/cerbos/private/parser"
	cerbospolicy "github.com/cerbos/cerbos/private/policy"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
)

// Changes of files and of policies.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Diff is how two sets of files differ.
type Diff struct {
	Files     []FileDiff     `json:"files" doc:"By path; equal files are left out."`
	Policies  []PolicyChange `json:"policies" doc:"Which policies mean something else now. A comment changes a file and no policy."`
	Truncated bool           `json:"truncated,omitempty" doc:"There are more lines than are shown."`
}

// FileDiff is how a file differs.
type FileDiff struct {
	Path   string `json:"path"`
	Change string `json:"change" enum:"added,removed,changed"`
	Hunks  []Hunk `json:"hunks"`
}

// Hunk is a run of lines as in a unified diff.
type Hunk struct {
	OldStart int      `json:"old_start" doc:"The first line in the old file, from 1; 0 where it has none here."`
	OldLines int      `json:"old_lines"`
	NewStart int      `json:"new_start"`
	NewLines int      `json:"new_lines"`
	Lines    []string `json:"lines" doc:"Each begins with a space, + or -."`
}

// PolicyChange is a policy that came, went or changed.
type PolicyChange struct {
	Policy string `json:"policy" example:"resource.album.vdefault/acme" doc:"The policy as Cerbos names it: kind, name, version and scope."`
	Change string `json:"change" enum:"added,removed,changed"`
	File   string `json:"file" doc:"Where it is, or was."`
}

const (
	contextLines = 3      // around a change
	maxDiffLines = 20_000 // of all files together
)

// Compare says what becomes of old when it is replaced by now.
func Compare(old, now compiler.Files) Diff {
	d := Diff{Files: []FileDiff{}}
	paths := slices.Sorted(maps.Keys(old))
	for p := range now {
		if _, both := old[p]; !both {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	lines := 0
	before, after := map[string]named{}, map[string]named{}
	for _, p := range paths {
		a, inOld := old[p]
		b, inNew := now[p]
		if inOld && inNew && bytes.Equal(a, b) {
			continue
		}
		f := FileDiff{Path: p, Change: Changed, Hunks: []Hunk{}}
		switch {
		case !inOld:
			f.Change = Added
		case !inNew:
			f.Change = Removed
		}
		namePolicies(before, p, a)
		namePolicies(after, p, b)
		for _, h := range hunks(edits(split(a), split(b))) {
			if lines += len(h.Lines); lines > maxDiffLines {
				d.Truncated = true
				break
			}
			f.Hunks = append(f.Hunks, h)
		}
		d.Files = append(d.Files, f)
	}
	d.Policies = comparePolicies(before, after)
	return d
}

// Text is the diff in the unified form of diff -u and git.
func (d Diff) Text() string {
	var b strings.Builder
	for _, f := range d.Files {
		from, to := "a/"+f.Path, "b/"+f.Path
		switch f.Change {
		case Added:
			from = "/dev/null"
		case Removed:
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

type named struct {
	file   string
	policy *policyv1.Policy
}

// namePolicies notes the policies of a file by their names. A file that is no policy (a test
// suite, a schema), or cannot be read, has none.
func namePolicies(into map[string]named, path string, content []byte) {
	switch {
	case !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml") && !strings.HasSuffix(path, ".json"),
		strings.HasPrefix(path, "_schemas/"), len(content) == 0:
		return
	}
	policies, err := parser.Unmarshal[policyv1.Policy](content)
	if err != nil {
		return
	}
	for _, p := range policies {
		if p.GetPolicyType() != nil {
			into[cerbospolicy.Wrap(p).GetKey()] = named{path, p}
		}
	}
}

func comparePolicies(before, after map[string]named) []PolicyChange {
	out := []PolicyChange{}
	for name, b := range before {
		if a, still := after[name]; !still {
			out = append(out, PolicyChange{name, Removed, b.file})
		} else if !proto.Equal(a.policy, b.policy) {
			out = append(out, PolicyChange{name, Changed, a.file})
		}
	}
	for name, a := range after {
		if _, was := before[name]; !was {
			out = append(out, PolicyChange{name, Added, a.file})
		}
	}
	slices.SortFunc(out, func(a, b PolicyChange) int { return strings.Compare(a.Policy, b.Policy) })
	return out
}

// split cuts text into lines; only the last may lack its newline, and then is another line
// than with it.
func split(b []byte) []string {
	lines := strings.SplitAfter(string(b), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// edit is a line that stays (' '), goes ('-') or comes ('+').
type edit struct {
	kind byte
	line string
}

// edits turns a into b. Lines that both have exactly once are the anchors, as in the patience
// diff: that is linear but for a sort, whatever the texts are, and reads well.
func edits(a, b []string) []edit {
	var out []edit
	i, j := 0, 0
	same := func() {
		for i < len(a) && j < len(b) && a[i] == b[j] {
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		}
	}
	same()
	for _, at := range append(anchors(a, b), [2]int{len(a), len(b)}) {
		x, y := at[0], at[1]
		if x < i || y < j {
			continue // already among the same
		}
		for x > i && y > j && a[x-1] == b[y-1] {
			x, y = x-1, y-1
		}
		for ; i < x; i++ {
			out = append(out, edit{'-', a[i]})
		}
		for ; j < y; j++ {
			out = append(out, edit{'+', b[j]})
		}
		same()
	}
	return out
}

// anchors are the longest series of places where both texts have a line that each has once.
func anchors(a, b []string) [][2]int {
	type seen struct{ inA, inB, a, b int }
	lines := map[string]*seen{}
	for i, l := range a {
		if lines[l] == nil {
			lines[l] = &seen{}
		}
		lines[l].inA++
		lines[l].a = i
	}
	for j, l := range b {
		if s := lines[l]; s != nil {
			s.inB++
			s.b = j
		}
	}
	var pairs [][2]int // in the order of a
	for i, l := range a {
		if s := lines[l]; s.inA == 1 && s.inB == 1 {
			pairs = append(pairs, [2]int{i, s.b})
		}
	}
	// The longest increasing series of places in b: tails[n] ends the best one of length n+1.
	tails, previous := []int{}, make([]int, len(pairs))
	for k, p := range pairs {
		n, _ := slices.BinarySearchFunc(tails, p[1], func(t, place int) int { return pairs[t][1] - place })
		previous[k] = -1
		if n > 0 {
			previous[k] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, k)
		} else {
			tails[n] = k
		}
	}
	out := make([][2]int, len(tails))
	if len(tails) > 0 {
		k := tails[len(tails)-1]
		for n := len(tails) - 1; n >= 0; n-- {
			out[n] = pairs[k]
			k = previous[k]
		}
	}
	return out
}

// hunks cuts edits into runs with contextLines around every change.
func hunks(edits []edit) []Hunk {
	var out []Hunk
	var h *Hunk
	quiet := 0           // unchanged lines since the last change
	oldAt, newAt := 1, 1 // the line that the next edit is at
	for i, e := range edits {
		if e.kind != ' ' {
			if h == nil {
				from := max(0, i-contextLines)
				out = append(out, Hunk{OldStart: oldAt - (i - from), NewStart: newAt - (i - from)})
				h = &out[len(out)-1]
				for _, c := range edits[from:i] {
					h.add(c)
				}
			}
			quiet = 0
		} else {
			quiet++
		}
		if h != nil {
			h.add(e)
			if quiet > 2*contextLines {
				h.cut(quiet - contextLines)
				h = nil
			}
		}
		if e.kind != '+' {
			oldAt++
		}
		if e.kind != '-' {
			newAt++
		}
	}
	if h != nil && quiet > contextLines {
		h.cut(quiet - contextLines)
	}
	for i := range out { // an empty side starts at the line before, as in diff -u
		if out[i].OldLines == 0 {
			out[i].OldStart--
		}
		if out[i].NewLines == 0 {
			out[i].NewStart--
		}
	}
	return out
}

const noNewline = `\ No newline at end of file`

func (h *Hunk) add(e edit) {
	line, ended := strings.CutSuffix(e.line, "\n")
	h.Lines = append(h.Lines, string(e.kind)+line)
	if !ended {
		h.Lines = append(h.Lines, noNewline)
	}
	if e.kind != '+' {
		h.OldLines++
	}
	if e.kind != '-' {
		h.NewLines++
	}
}

// cut removes the last n lines, which are unchanged ones.
func (h *Hunk) cut(n int) {
	for range n {
		if h.Lines[len(h.Lines)-1] == noNewline {
			h.Lines = h.Lines[:len(h.Lines)-1]
		}
		h.Lines = h.Lines[:len(h.Lines)-1]
		h.OldLines--
		h.NewLines--
	}
}
