package decision

import (
	"path"
	"regexp"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

var (
	// partRE matches words that lead to attributes; wholeRE matches those that a name follows.
	partRE  = regexp.MustCompile(`\b(?:attr|jwts?|claims|aux_?[dD]ata)\b`)
	namedRE = regexp.MustCompile(`\b(?:attr|jwts?|claims|aux_?[dD]ata)\b\s*(?:\.\s*[A-Za-z_]|\[\s*["'])`)
)

// mayRead returns a function that reports whether policies may read the attribute that a redaction
// rule removed. It searches their text and errs on the safe side. A policy may read the attribute
// if it contains the name anywhere, or uses attributes other than by name.
func mayRead(files compiler.Files, s engine.Settings) func(rulePath string) bool {
	var texts []string
	whole := false
	for name, content := range files {
		if isTest(name) {
			continue
		}
		text := string(content)
		texts = append(texts, text)
		whole = whole || strings.Contains(text, `\`) ||
			len(partRE.FindAllString(text, -1)) != len(namedRE.FindAllString(text, -1)) ||
			s.SchemaEnforcement == engine.SchemaReject && strings.HasPrefix(name, "_schemas/")
	}
	return func(rulePath string) bool {
		if whole {
			return true
		}
		r, err := Rule{Path: rulePath, How: Drop}.compile()
		if err != nil || r.names[0] == "*" {
			return true
		}
		for _, text := range texts {
			if strings.Contains(text, r.names[0]) {
				return true
			}
		}
		return false
	}
}

// isTest reports whether a file of a Cerbos directory is a test suite or its data.
func isTest(name string) bool {
	base := strings.TrimSuffix(path.Base(name), path.Ext(name))
	return strings.HasSuffix(base, "_test") || strings.HasPrefix(name, "testdata/") ||
		strings.Contains(name, "/testdata/")
}
