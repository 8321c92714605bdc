package internal

import (
	"cmp"
	"go/ast"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// described are the keys of struct tags that people read: OpenAPI's descriptions and the command
// line's help.
var described = []string{"doc", "help"}

// findDescribed looks for phrases and long sentences in a field's tag.
func findDescribed(fset *token.FileSet, f *ast.Field) []finding {
	if f.Tag == nil {
		return nil
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return nil
	}
	line := fset.Position(f.Tag.Pos()).Line
	var out []finding
	for _, key := range described {
		text := reflect.StructTag(tag).Get(key)
		out = append(out, findPhrases(text, line)...)
		out = append(out, findLongSentences(text, line)...)
	}
	return out
}

// findMessages looks for phrases and long sentences in the strings of a file, which are messages if
// they have messageWords words. It joins the parts of a string that the line's width breaks.
func findMessages(fset *token.FileSet, file *ast.File) []finding {
	const messageWords = 4
	var out []finding
	ast.Inspect(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok { // its tag is not a message
			return f.Tag == nil
		}
		text, ok := joined(n)
		if ok && len(strings.Fields(text)) >= messageWords {
			line := fset.Position(n.Pos()).Line
			out = append(out, findPhrases(text, line)...)
			if !strings.Contains(text, "\n") { // as SQL and templates do
				out = append(out, findLongSentences(text, line)...)
			}
		}
		return !ok
	})
	return out
}

// joined returns the text of a string, or of strings that + joins. An expression between them
// counts as a word.
func joined(n ast.Node) (string, bool) {
	switch e := n.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, ok := joined(e.X)
		right, also := joined(e.Y)
		if e.Op == token.ADD && (ok || also) {
			return cmp.Or(left, "x") + cmp.Or(right, "x"), true
		}
	}
	return "", false
}
