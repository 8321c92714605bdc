package role

import "testing"

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
