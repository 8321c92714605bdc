package compiler

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on a tenant's policies: far above what a person writes, far below what slows other
// tenants.
const (
	MaxFiles     = 500     // files of a draft
	MaxFile      = 1 << 20 // bytes of one file
	MaxTotal     = 8 << 20 // bytes of all files
	MaxPath      = 255     // bytes of a path
	MaxPathDepth = 12      // directories above a file
)

// Files are the files of a Cerbos directory, by path. Paths are relative, with slashes, as in
// fs.ValidPath.
type Files map[string][]byte

// Problem is one error in policies.
type Problem struct {
	File    string `json:"file,omitempty" doc:"Where: the path in the directory of policies."`
	Line    int    `json:"line,omitempty" doc:"From 1. Absent if the problem has no line."`
	Column  int    `json:"column,omitempty" doc:"From 1."`
	Message string `json:"message" doc:"What is wrong."`
}

// Problems are the reasons why policies are refused, in the order of files and lines. There is at
// least one.
type Problems []Problem

// Error implements error.
func (ps Problems) Error() string {
	p := ps[0]
	s := p.Message
	if p.File != "" {
		s = fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
	if len(ps) > 1 {
		s += fmt.Sprintf(" (and %d more)", len(ps)-1)
	}
	return s
}

// Bounds on a report: its problems, and the bytes of a message.
const (
	maxProblems = 200
	maxMessage  = 1000
)

// sorted orders problems by place, drops duplicates, and truncates messages and lists.
func (ps Problems) sorted() Problems {
	for i := range ps {
		if len(ps[i].Message) > maxMessage {
			ps[i].Message = strings.ToValidUTF8(ps[i].Message[:maxMessage], "") + "…"
		}
	}
	slices.SortFunc(ps, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Column != b.Column {
			return a.Column - b.Column
		}
		return strings.Compare(a.Message, b.Message)
	})
	ps = slices.Compact(ps)
	if len(ps) > maxProblems {
		ps = append(ps[:maxProblems:maxProblems], Problem{Message: fmt.Sprintf("There are %d more problems.",
			len(ps)-maxProblems)})
	}
	return ps
}

// CheckPath returns what is wrong with a path, or "".
func CheckPath(p string) string {
	switch {
	case !utf8.ValidString(p):
		return "The path is not valid UTF-8."
	case len(p) > MaxPath:
		return fmt.Sprintf("The path is longer than %d bytes.", MaxPath)
	case strings.ContainsFunc(p, func(r rune) bool {
		return unicode.IsControl(r) || strings.ContainsRune(`\:*?"<>|`,
			r)
	}):
		return `The path has a control character or one of \ : * ? " < > |.`
	case !fs.ValidPath(p) || p == ".":
		return "The path must be relative, with slashes, without . and .. and empty parts."
	case strings.Count(p, "/") > MaxPathDepth:
		return fmt.Sprintf("The path is deeper than %d directories.", MaxPathDepth)
	case strings.HasPrefix(p, ".") || strings.Contains(p, "/."):
		return "Hidden files and directories are not part of a directory of policies."
	}
	return ""
}

// Check returns the Problems of paths, sizes and characters, or nil. It does not read YAML.
func (f Files) Check() error {
	var wrong Problems
	if len(f) > MaxFiles {
		return Problems{{Message: fmt.Sprintf("There are %d files; at most %d are accepted.", len(f), MaxFiles)}}
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(f)) {
		content := f[name]
		total += len(content)
		if why := CheckPath(name); why != "" {
			wrong = append(wrong, Problem{File: strings.ToValidUTF8(name, "\uFFFD"), Message: why})
			continue
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, both := f[dir]; both {
				wrong = append(wrong, Problem{File: name, Message: dir + " is a file and a directory."})
			}
		}
		if len(content) > MaxFile {
			wrong = append(wrong, Problem{File: name, Message: fmt.Sprintf("The file has %d bytes; at most %d are "+
				"accepted.", len(content), MaxFile)})
			continue
		}
		if line := notText(content); line > 0 {
			wrong = append(wrong, Problem{File: name, Line: line, Column: 1, Message: "The file is not text in UTF-8."})
		}
	}
	if total > MaxTotal {
		wrong = append(wrong, Problem{Message: fmt.Sprintf("The files have %d bytes; at most %d are accepted.",
			total, MaxTotal)})
	}
	if len(wrong) > 0 {
		return wrong.sorted()
	}
	return nil
}

// Size returns the bytes of all files together.
func (f Files) Size() int64 {
	n := int64(0)
	for _, b := range f {
		n += int64(len(b))
	}
	return n
}

// notText returns the first line that is not UTF-8 or has a NUL, or 0.
func notText(content []byte) int {
	if utf8.Valid(content) && bytes.IndexByte(content, 0) < 0 {
		return 0
	}
	for i, line := range bytes.Split(content, []byte("\n")) {
		if !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
			return i + 1
		}
	}
	return 1
}

// directory presents files as the file system that Cerbos reads.
type directory struct {
	files Files
	dirs  map[string][]fs.DirEntry // by path, "." the root

	opened func(name string) // called before a file is opened; nil: not
}

func (f Files) directory() directory {
	d := directory{files: f, dirs: map[string][]fs.DirEntry{".": nil}}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		d.add(entry{path.Base(name), int64(len(f[name])), 0o444}, path.Dir(name))
	}
	for _, entries := range d.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return d
}

func (d directory) add(e entry, dir string) {
	if _, known := d.dirs[dir]; !known {
		d.dirs[dir] = nil
		d.add(entry{path.Base(dir), 0, fs.ModeDir | 0o555}, path.Dir(dir))
	}
	d.dirs[dir] = append(d.dirs[dir], e)
}

// Open implements fs.FS.
func (d directory) Open(name string) (fs.File, error) {
	if content, ok := d.files[name]; ok {
		if d.opened != nil {
			d.opened(name)
		}
		return &file{entry{path.Base(name), int64(len(content)), 0o444}, bytes.NewReader(content)}, nil
	}
	if entries, ok := d.dirs[name]; ok {
		return &dir{entry{path.Base(name), 0, fs.ModeDir | 0o555}, entries}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// entry is the name, size and mode of a file or directory.
type entry struct {
	name string
	size int64
	mode fs.FileMode
}

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return e.size }
func (e entry) Mode() fs.FileMode          { return e.mode }
func (e entry) Type() fs.FileMode          { return e.mode.Type() }
func (e entry) IsDir() bool                { return e.mode.IsDir() }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }

type file struct {
	entry
	*bytes.Reader
}

func (f *file) Size() int64                { return f.entry.size }
func (f *file) Stat() (fs.FileInfo, error) { return f.entry, nil }
func (f *file) Close() error               { return nil }

type dir struct {
	entry
	rest []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.entry, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.rest) {
		if n > 0 && len(d.rest) == 0 {
			return nil, io.EOF
		}
		n = len(d.rest)
	}
	some := d.rest[:n]
	d.rest = d.rest[n:]
	return some, nil
}
