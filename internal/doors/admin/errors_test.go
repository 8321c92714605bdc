package admin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Every kind of fault has a case of its own in the one switch, and a status of its own.
func TestEveryKindOfFaultIsMapped(t *testing.T) {
	seen := map[int]fault.Kind{}
	for _, k := range fault.Kinds {
		status, _ := answer(t.Context(), fault.New(k, "x.y", "Reason."))
		if status < 400 || status >= 500 && k != fault.Internal && k != fault.Unavailable {
			t.Errorf("%s: status %d", k, status)
		}
		if other, ok := seen[status]; ok {
			t.Errorf("%s and %s share the status %d", k, other, status)
		}
		seen[status] = k
	}
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	ast.Inspect(f, func(n ast.Node) bool {
		if c, ok := n.(*ast.CaseClause); ok {
			cases += len(c.List)
			if c.List == nil {
				t.Error("the switch has a default, which would hide a new kind")
			}
		}
		return true
	})
	if cases != len(fault.Kinds) {
		t.Errorf("the switch has %d cases, there are %d kinds", cases, len(fault.Kinds))
	}
}

func TestChallenges(t *testing.T) {
	for f, want := range map[*fault.Fault]string{
		access.ErrNoToken: `Bearer scope="gatehouse:manage"`,
		grant.ErrToken:    `Bearer error="invalid_token"`,
		access.LacksScope(application.ScopeManage):      `Bearer error="insufficient_scope"`,
		fault.New(fault.Denied, "action.denied", "No."): "",
	} {
		_, h := answer(t.Context(), f)
		if got := h.Get("WWW-Authenticate"); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", f.Code, h.Get("WWW-Authenticate"), want)
		}
	}
}
