package api

import (
	"go/ast"
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// namer names the types of the description. Every feature calls its answer View and its input
// createInput, so a name is made from the feature's noun and the operation. user.View is User,
// role.AssignmentView is RoleAssignment, page.List[user.View] is UserList, and the body of
// create-user is CreateUserRequest. Changes[tenant.Settings] is SettingsPatch.
type namer struct{ operation string }

func (n *namer) name(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" && t.Kind() == reflect.Struct {
		if strings.HasSuffix(hint, "Body") {
			return pascal(n.operation) + "Request"
		}
		return pascal(n.operation) + "Request" + strings.TrimSuffix(hint, "Struct") // a struct within the body
	}
	if of, ok := typeOfChanges(t); ok {
		if !ast.IsExported(of.Name()) {
			return pascal(n.operation) + "Request"
		}
		return of.Name() + "Patch"
	}
	if isList(t) {
		if items, ok := t.FieldByName("Items"); ok {
			return n.name(items.Type.Elem(), hint) + "List"
		}
	}
	if part, ok := strings.CutSuffix(t.Name(), "View"); ok && t.PkgPath() != "" {
		return pascal(path.Base(t.PkgPath())) + part
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// isList reports whether a type is a page.List.
func isList(t reflect.Type) bool {
	return t != nil && strings.HasSuffix(t.PkgPath(), "/kit/page") && strings.HasPrefix(t.Name(), "List[")
}

// pascal turns create-user into CreateUser.
func pascal(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}
