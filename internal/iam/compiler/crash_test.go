package compiler

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// A suite that Cerbos cannot run is refused by its name, and ends no process.
func TestSuitesThatCannotRunAreNamed(t *testing.T) {
	for name, content := range map[string][]byte{
		"an unknown effect": bytes.ReplaceAll(suite, []byte("EFFECT_DENY"), []byte("EFFECT_NO_MATCH")),
		"empty":             {},
		"comments alone":    []byte("# later\n"),
		"a document":        []byte("---\n"),
		"without tests":     []byte("name: none\n"),
	} {
		t.Run(name, func(t *testing.T) {
			files := Files{"d.yaml": allowing("doc", "true"), "x/d_test.yaml": content}
			results, err := Test(t.Context(), files, engine.DefaultSettings())
			if problems, ok := errors.AsType[Problems](err); ok {
				err = problems
				if problems[0].File != "x/d_test.yaml" {
					t.Errorf("%+v", problems)
				}
			} else if err == nil && (results.Good() || results.Suites[0].File != "x/d_test.yaml") {
				t.Errorf("%+v", results)
			}
			t.Log(err, results)
		})
	}
}

// The file that ends the child is found, although the child read the others after it.
func TestTheFileThatEndsTheChildIsFound(t *testing.T) {
	wrong := problemsOf(t, Files{"a.yaml": allowing("a", "true"), "b.yaml": allowing("b", "optional.of(1)"+
		strings.Repeat(".optMap(x, x + 1)", 60)+".orValue(1) == 2"), "c.yaml": allowing("c", "true")})
	if wrong[0].File != "b.yaml" {
		t.Errorf("%+v", wrong)
	}
}

func TestLastWordsNameTheFile(t *testing.T) {
	w := &lastWords{}
	for _, part := range []string{"reading \"a.yaml\"\nrea", "ding \"b\\nc.yaml\"\nfatal error: stack ",
		"overflow\n\tmain.go:1\n"} {
		_, _ = w.Write([]byte(part))
	}
	if w.file != "b\nc.yaml" || string(w.text) != "fatal error: stack overflow\n\tmain.go:1\n" {
		t.Errorf("%q %q", w.file, w.text)
	}
	for range 1000 {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 5000))
	}
	if len(w.text) > maxWords+maxWordLine+5000 || len(w.line) > maxWordLine+5000 {
		t.Errorf("%d and %d bytes are kept", len(w.text), len(w.line))
	}
}
