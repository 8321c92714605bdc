package internal

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The widths of lines in columns. A tab counts as tabColumns.
const (
	commentColumns = 100
	codeColumns    = 120
	proseColumns   = 120
	tabColumns     = 4
)

// sentenceWords is the most words a comment's sentence may have.
const sentenceWords = 30

// phrases are the worst patterns of prose that is hard to read, each with what to write instead.
// A blank in a pattern also matches a line break.
var phrases = []phrase{
	{`anew`, `"again"`},
	{`any ?more`, `"no longer"`},
	{`whoever`, `the role: "the caller", "a client that"`},
	{`(somebody|nobody)`, `the role: "a user", "no caller"`},
	{`who (asks?|asked)`, `"the caller"`},
	{`what (is|was) (told|asked)`, `the thing: "the answer", "the request"`},
	{`(go|goes|going|gone|went) by`, `"use"`},
	{`(put|puts|putting) off`, `"defer"`},
	{`(keep|keeps|keeping|kept) back`, `"delay"`},
	{`(pass|passes|passed|passing) over`, `"skip" or "ignore"`},
	{`(look|looks|looked|looking) at`, `"inspect", "read" or "check"`},
	{`as many(?: [a-z]+){0,3} as`, `"at most" or "the same number of"`},
	{`where[^.;:]{1,80}, else`, `"if" and "otherwise"`},
	{`where ((it|he|she) (is|has)|none|anything|nothing|there (is|are)|(a|the) [a-z]+ (has|names))`, `"if"`},
	{`(is|are|was|were) no [a-z]+`, `"is not a"`},
}

type phrase struct{ pattern, instead string }

// goodNo are phrases with "is no" that are plain English.
var goodNo = regexp.MustCompile(`(?i)\b(there (is|are|was|were) no|` +
	`(is|are|was|were) no (longer|more|less|later|earlier|older|newer))\b`)

// TestWords rejects phrases, widths, long sentences and named results that the house's language
// rules out. Messages count too: those of string literals, and of the tags doc and help.
//
// Each folder of code and each Markdown page is a subtest, named by its path without "internal/":
//
//	go test ./internal -run 'TestWords/iam/user'
//	go test ./internal -run 'TestWords/docs/ARCHITECTURE.md'
func TestWords(t *testing.T) {
	units := map[string][]string{} // file paths by unit
	for _, p := range files(t, "..") {
		if checkFor(p) == nil {
			continue
		}
		rel := strings.TrimPrefix(filepath.ToSlash(p), "../")
		unit := rel
		if !strings.HasSuffix(rel, ".md") {
			unit = path.Dir(rel)
		}
		unit = strings.TrimPrefix(unit, "internal/")
		units[unit] = append(units[unit], p)
	}
	for unit, paths := range units {
		t.Run(unit, func(t *testing.T) {
			for _, p := range paths {
				text, err := os.ReadFile(p)
				if err != nil {
					t.Fatal(err)
				}
				for _, finding := range checkFor(p)(t, p, text) {
					t.Errorf("%s:%d: %s", strings.TrimPrefix(p, "../"), finding.line, finding.text)
				}
			}
		})
	}
}

// checkFor returns the check for a file by its name, nil if it has none.
func checkFor(name string) func(t *testing.T, name string, text []byte) []finding {
	scripts, folder := []string{"scripts", ".ci"}, path.Base(path.Dir(filepath.ToSlash(name)))
	switch ext := path.Ext(name); {
	case ext == ".go":
		return checkGo
	case ext == ".md":
		return checkProse
	case ext == ".sql":
		return checkComments("--")
	case ext == ".mjs", ext == ".proto":
		return checkComments("//")
	case ext == ".yaml", ext == ".sh", path.Base(name) == "Makefile", ext == "" && slices.Contains(scripts, folder):
		return checkComments("#")
	}
	return nil
}

type finding struct {
	line int
	text string
}

// files returns the paths below root that end in one of the suffixes (none: all paths), without
// hidden and foreign folders.
func files(t *testing.T, root string, suffixes ...string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(e.Name(), ".") && e.Name() != ".." && e.Name() != ".ci"
		foreign := []string{"node_modules", "venv", "gatehouse-data", "tmp", "bin"}
		if e.IsDir() && (hidden || slices.Contains(foreign, e.Name())) {
			return fs.SkipDir
		}
		if !e.IsDir() && (len(suffixes) == 0 || slices.Contains(suffixes, path.Ext(p))) {
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// findPhrases looks for phrases in text, whose first line has the given number.
func findPhrases(text string, first int) []finding {
	var out []finding
	for _, p := range phrases {
		re := regexp.MustCompile(`(?i)\b` + strings.ReplaceAll(p.pattern, " ", `\s+`) + `\b`)
		for _, at := range re.FindAllStringIndex(text, -1) {
			found := strings.Join(strings.Fields(text[at[0]:at[1]]), " ")
			around := strings.Join(strings.Fields(text[max(0, at[0]-7):at[1]]), " ")
			if goodNo.MatchString(around) {
				continue
			}
			line := first + strings.Count(text[:at[0]], "\n")
			out = append(out, finding{line, fmt.Sprintf("%q: write %s", found, p.instead)})
		}
	}
	return out
}

var (
	sentenceEnd = regexp.MustCompile(`[.!?]["'` + "`" + `)\]]*(\s+|$)`)
	listItem    = regexp.MustCompile(`^\s*([-*•]|[0-9]+[.)])\s`)
	verbatim    = regexp.MustCompile(`^(\t| {3,})`)
	countable   = regexp.MustCompile(`[\pL\pN]`)
)

// findLongSentences looks for sentences over sentenceWords in a comment, whose first line has the
// given number. A blank line, a list item and indented text end a sentence. Indented text outside
// of a list has none.
func findLongSentences(comment string, first int) []finding {
	var out []finding
	var words, from int
	list := false
	end := func() {
		if words > sentenceWords {
			out = append(out, finding{from, fmt.Sprintf("a sentence of %d words, over %d", words, sentenceWords)})
		}
		words = 0
	}
	for i, line := range strings.Split(comment, "\n") {
		blank := strings.TrimSpace(line) == ""
		switch {
		case listItem.MatchString(line):
			line, list = listItem.ReplaceAllString(line, ""), true
			end()
		case blank, verbatim.MatchString(line) && !list:
			list = list && !blank
			end()
			continue
		}
		for rest := line; rest != ""; {
			part, stop := rest, sentenceEnd.FindStringIndex(rest)
			rest = ""
			if stop != nil {
				part, rest = line[len(line)-len(part):][:stop[1]], part[stop[1]:]
			}
			for _, word := range strings.Fields(part) {
				if !countable.MatchString(word) {
					continue
				}
				if words == 0 {
					from = first + i
				}
				words++
			}
			if stop != nil {
				end()
			}
		}
	}
	end()
	return out
}

// checkComments returns a check of the comments that fill their lines, which begin with mark.
func checkComments(mark string) func(t *testing.T, name string, text []byte) []finding {
	return func(_ *testing.T, _ string, text []byte) []finding {
		var out []finding
		var comment strings.Builder
		for i, line := range strings.Split(string(text), "\n") {
			trimmed := strings.TrimSpace(line)
			prose, is := strings.CutPrefix(trimmed, mark)
			if n := columns(line); is && n > commentColumns && !strings.Contains(line, "://") {
				out = append(out, finding{i + 1, fmt.Sprintf("a comment of %d columns, over %d", n, commentColumns)})
			}
			if is && !strings.HasPrefix(prose, "!") {
				comment.WriteString(prose)
			}
			comment.WriteByte('\n')
		}
		out = append(out, findPhrases(comment.String(), 1)...)
		return append(out, findLongSentences(comment.String(), 1)...)
	}
}

// columns returns the width of a line.
func columns(line string) int {
	return utf8.RuneCountInString(line) + (tabColumns-1)*strings.Count(line, "\t")
}

var (
	generatedCode = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	structTag     = regexp.MustCompile("`[a-z_]+:\"")
	longWord      = regexp.MustCompile(`\S{90}`) // a hash or a token, which cannot be broken
	directive     = regexp.MustCompile(`^//[a-z]+:[a-z]`)
)

func checkGo(t *testing.T, name string, text []byte) []finding {
	t.Helper()
	if generatedCode.Match(text) {
		return nil
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out []finding
	for _, g := range file.Comments {
		var prose strings.Builder
		for _, c := range g.List {
			if !directive.MatchString(c.Text) {
				prose.WriteString(strings.TrimPrefix(c.Text, "//"))
			}
			prose.WriteByte('\n')
		}
		line := fset.Position(g.Pos()).Line
		out = append(out, findPhrases(prose.String(), line)...)
		out = append(out, findLongSentences(prose.String(), line)...)
	}
	raw := rawStringLines(fset, file)
	for i, line := range strings.Split(string(text), "\n") {
		comment := strings.TrimSpace(line)
		switch n := columns(line); {
		case raw[i+1], directive.MatchString(comment), structTag.MatchString(line), strings.Contains(line, "://"),
			longWord.MatchString(line):
		case strings.HasPrefix(comment, "//") && n > commentColumns:
			out = append(out, finding{i + 1, fmt.Sprintf("a comment of %d columns, over %d", n, commentColumns)})
		case n > codeColumns:
			out = append(out, finding{i + 1, fmt.Sprintf("a line of %d columns, over %d", n, codeColumns)})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch f := n.(type) {
		case *ast.FuncDecl:
			out = append(out, namedResults(fset, f.Type, f.Body)...)
		case *ast.FuncLit:
			out = append(out, namedResults(fset, f.Type, f.Body)...)
		case *ast.Field:
			out = append(out, findDescribed(fset, f)...)
		}
		return true
	})
	if !strings.HasSuffix(name, "_test.go") {
		out = append(out, findMessages(fset, file)...)
	}
	return out
}

// rawStringLines returns the lines inside raw strings of several lines: they are data, such as SQL.
func rawStringLines(fset *token.FileSet, file *ast.File) map[int]bool {
	out := map[int]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, "`") {
			first, last := fset.Position(lit.Pos()).Line, fset.Position(lit.End()).Line
			for l := first; first < last && l <= last; l++ {
				out[l] = true
			}
		}
		return true
	})
	return out
}

// namedResults rejects named results of a function that defers nothing: only a deferred function
// needs their names.
func namedResults(fset *token.FileSet, f *ast.FuncType, body *ast.BlockStmt) []finding {
	if body == nil || f.Results == nil || len(f.Results.List) == 0 || len(f.Results.List[0].Names) == 0 {
		return nil
	}
	defers := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.DeferStmt:
			defers = true
		case *ast.FuncLit:
			return false
		}
		return true
	})
	if defers {
		return nil
	}
	return []finding{{fset.Position(f.Results.Pos()).Line, "named results without a defer"}}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`) // to a file

// checkProse checks a Markdown page, and that the files it links to exist. Code blocks are exempt,
// and tables and links have any width.
func checkProse(_ *testing.T, name string, text []byte) []finding {
	var out []finding
	lines := strings.Split(string(bytes.TrimSuffix(text, []byte("\n"))), "\n")
	fence := ""
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		mark := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
		switch {
		case fence == "" && len(mark) >= 3:
			fence = mark
		case fence != "" && mark == fence:
			fence = ""
		}
		if fence != "" || len(mark) >= 3 {
			lines[i] = ""
			continue
		}
		if n := columns(line); n > proseColumns && !strings.HasPrefix(trimmed, "|") && !strings.Contains(line, "://") {
			out = append(out, finding{i + 1, fmt.Sprintf("a line of %d columns, over %d", n, proseColumns)})
		}
		for _, l := range link.FindAllStringSubmatch(line, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), l[1])); err != nil {
				out = append(out, finding{i + 1, "a link to a file that does not exist: " + l[1]})
			}
		}
	}
	return append(out, findPhrases(strings.Join(lines, "\n"), 1)...)
}

func TestWordsFinds(t *testing.T) {
	page := "# Page\n\nThe caller goes\nby it. There is no flow, and it is no longer one.\n" +
		"```sh\necho anew\n```\nIt is no flow.\n| " + strings.Repeat("x", proseColumns) + " |\n" +
		strings.Repeat("x", proseColumns+1) +
		"\n[a](words_test.go) [b](#c) [d](https://e) [f](none.go#g)\n"
	source := "// Package p asks anew.\npackage p\n\n//lint:ignore X anew\n// as many of them\n// as there are\n" +
		"func f() (n int) { return 0 }\n\nfunc g() (err error) { defer f(); return nil }\n\n" +
		"//" + strings.Repeat(" xxx", commentColumns/4) + "\nvar s = \"" + strings.Repeat(" xxxxx", codeColumns/6) +
		"\"\n"
	long := strings.Repeat("x ", sentenceWords/2)
	sentences := "// f is " + long + "\n// and " + long + "on. Then it ends. " + long + "on.\n//\n" +
		"// It lists:\n//   - " + long + "\n//     on\n//   - " + long + "\n//     " + long + "on\n" +
		"//\n//     " + long + long + "on\n//\n// - " + long + "\npackage p\n"
	messages := "package p\n\ntype t struct {\n\tA int `json:\"anew\" doc:\"Asked anew.\"`\n" +
		"\tB int `help:\"Where it is left out, " + long + long + "\"`\n}\n\n" +
		"var a, b = \"the caller \"+x+\" asks \"+\n\t\"it anew\", \"anew\"\nvar c = \"" + long + "\" +\n\t\"" +
		long + "on\"\nvar d = `\n" + long + "\n" + long + "on` // a template\n"
	script := "#!/bin/sh " + long + "\n# " + long + "\n\n# It is " + long + "\n# and " + long +
		"on (e.g.\n# here).\necho " + long + long + "on\n  # on " + long + "\nx: 1 # anew\n# asks anew\n"
	for name, c := range map[string]struct {
		got  []finding
		want []int
	}{
		"page":   {checkProse(t, "p.md", []byte(page)), []int{3, 8, 10, 11}},
		"source": {checkGo(t, "p.go", []byte(source)), []int{1, 5, 7, 11, 12}},
		// the first sentence and the second list item
		"messages":  {checkGo(t, "p.go", []byte(messages)), []int{4, 5, 5, 8, 10}},
		"tests":     {checkGo(t, "p_test.go", []byte(messages)), []int{4, 5, 5}},
		"sentences": {checkGo(t, "p.go", []byte(sentences)), []int{1, 7}},
		"script":    {checkComments("#")(t, "p.sh", []byte(script)), []int{4, 10}},
	} {
		var got []int
		for _, f := range c.got {
			got = append(got, f.line)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: findings in lines %v, want %v: %v", name, got, c.want, c.got)
		}
	}
}
