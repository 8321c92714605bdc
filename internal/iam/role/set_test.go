package role

import (
	"slices"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// TestBuiltinsAreOrdered: each role can be managed by an owner, and no lesser role
// covers a greater one.
func TestBuiltinsAreOrdered(t *testing.T) {
	owner, _ := builtin(Owner)
	admin, _ := builtin(Admin)
	for _, r := range Builtins() {
		if !owner.set().covers(r.set()) {
			t.Errorf("an owner cannot manage %s", r.Name)
		}
		if r.Name != Owner && r.set().covers(owner.set()) {
			t.Errorf("%s may do all that an owner may", r.Name)
		}
		if r.Name != Owner && r.Name != Admin && r.set().covers(admin.set()) {
			t.Errorf("%s may do all that an admin may", r.Name)
		}
	}
	if a := owner.set().Actions(); len(a) != len(Actions) {
		t.Errorf("the catalogue has an action twice, or an owner lacks one: %d of %d", len(a), len(Actions))
	}
}

func TestSet(t *testing.T) {
	var none Set
	if none.Allows("user.read") || !none.covers(none) || none.covers(SetOf("user.read")) {
		t.Error("the zero set allows something")
	}
	if SetOf("no.such", "user.read").Allows("no.such") {
		t.Error("an action outside of the catalogue is allowed")
	}
	if !Everything().covers(SetOf("key.rotate", "tenant.delete")) {
		t.Error("Everything lacks something")
	}
}

func TestWithin(t *testing.T) {
	app := id.New()
	owner, _ := builtin(Owner)
	auditor, _ := builtin(Auditor)
	editor := Role{Name: "editor", Actions: []string{"application.update"}, Limits: Limits{Applications: []id.ID{app}}}
	support := Role{Name: "support", Actions: []string{"user.read", "user.update"}}
	elsewhere := editor
	elsewhere.Name, elsewhere.Limits = "elsewhere", Limits{Applications: []id.ID{id.New()}}
	for name, tt := range map[string]struct {
		a, b   Set
		rights []string
		roles  []string
	}{
		"nothing":       {setOf(owner), Set{}, nil, nil},
		"one of many":   {setOf(owner), setOf(support), []string{"user.read", "user.update"}, nil},
		"a limit":       {setOf(owner), setOf(editor), []string{limited("application.update", app)}, nil},
		"another limit": {setOf(editor), setOf(elsewhere), nil, nil},
		"a part":        {setOf(auditor), setOf(support), []string{"user.read"}, nil},
		"a role of both, and more": {setOf(support, editor), setOf(support, auditor),
			[]string{"user.read", "user.update"}, []string{"support"}},
	} {
		for _, got := range []Set{tt.a.Within(tt.b), tt.b.Within(tt.a)} {
			if !slices.Equal(got.Actions(), tt.rights) || !slices.Equal(got.Roles(), tt.roles) {
				t.Errorf("%s: %v by %v, want %v by %v", name, got.Actions(), got.Roles(), tt.rights, tt.roles)
			}
			// The policies see a right of both as a right of a custom role.
			if told := len(got.Own()) + len(got.Only()); told != len(tt.rights) {
				t.Errorf("%s: the policies are told %d rights, want %d", name, told, len(tt.rights))
			}
		}
	}
}
