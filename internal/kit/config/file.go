package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// file reads the settings of the YAML file that a flag or the environment names.
func (l *loader) file() {
	f := l.get("config")
	if f.value == "" {
		return
	}
	text, err := readText(f.value)
	if err != nil {
		l.fault("%s: %v", f.from, err)
		return
	}
	doc, err := yamlDocument(text)
	if err != nil {
		l.fault("%s: %v", f.value, err)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		i := slices.IndexFunc(l.settings, func(s setting) bool { return s.name == key && key != "config" })
		if i < 0 {
			l.fault("%s: %q is not a setting%s", f.value, key, l.suggest(key))
			continue
		}
		s := &l.settings[i]
		var value string
		switch v := doc[key].(type) {
		case string:
			value = v
		case nil:
			continue
		default:
			if s.secret { // a number or a bool does not keep the characters that were written
				l.fault("%s: %q must be text: write it in quotes", f.value, key)
				continue
			}
			var ok bool
			if value, ok = plainValue(v); !ok {
				l.fault("%s: %q must be text", f.value, key)
				continue
			}
		}
		l.give(s, value, f.value)
	}
}

// yamlDocument reads the one document of a YAML file.
func yamlDocument(text string) (map[string]any, error) {
	d := yaml.NewDecoder(strings.NewReader(text))
	var doc map[string]any
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) { // empty, or comments only
		return nil, nil
	}
	if err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	var second any
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second document follows (---), and its settings would be ignored: keep one")
	}
	return doc, nil
}

// plainValue returns a YAML value that is not text as the text of a setting.
func plainValue(value any) (string, bool) {
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v], true
	case []any:
		var parts []string
		for _, p := range v {
			parts = append(parts, fmt.Sprint(p))
		}
		return strings.Join(parts, ","), true
	case map[string]any:
		return "", false
	}
	return fmt.Sprint(value), true
}

// suggest returns the end of a fault: the setting that an unknown name most likely means.
func (l *loader) suggest(unknown string) string {
	plain := func(s string) string {
		s = strings.TrimPrefix(strings.ToLower(s), "gatehouse_")
		return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(s, "_file"), "-", ""), "_", "")
	}
	best, bestD := "", 4
	for _, s := range l.settings {
		if d := distance(plain(unknown), plain(s.name)); d < bestD {
			best, bestD = s.name, d
			if strings.HasPrefix(unknown, "GATEHOUSE_") {
				best = s.env
			}
		}
	}
	if best == "" {
		return "; see gatehouse serve --help"
	}
	return "; did you mean " + best + "?"
}

// distance returns the edit distance of two short names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, prev+cost)
		}
	}
	return row[len(b)]
}

// maxText is the maximum size of a file with settings, in bytes.
const maxText = 1 << 20

// ReadSecret reads a secret from a file. A byte order mark and the line end that editors and shells
// append are not part of it. It fails if nothing else is in the file.
func ReadSecret(path string) (secret.String, error) {
	text, err := readText(path)
	if err != nil {
		return "", err
	}
	if text = trimLine(text); text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret.String(text), nil
}

// trimLine removes what is around a line of text, but not of it: a byte order mark, line ends.
func trimLine(text string) string {
	return strings.TrimRight(strings.TrimPrefix(text, "\ufeff"), "\r\n")
}

// readText reads a text file without its byte order mark.
func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	switch {
	case err != nil:
		return "", reason(err)
	case len(b) > maxText:
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxText)
	case !utf8.Valid(b):
		return "", fmt.Errorf("%s is not UTF-8 text: save it as UTF-8", path)
	}
	return strings.TrimPrefix(string(b), "\ufeff"), nil
}

// reason shortens a file error to the path and the cause.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s cannot be read: %w", pe.Path, pe.Err)
	}
	return err
}
