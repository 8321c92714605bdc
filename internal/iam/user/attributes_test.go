package user

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

type allowed map[string]bool

func (a allowed) Allows(action string) bool { return a[action] }

func TestWhoMayEditAnAttribute(t *testing.T) {
	declared := []tenant.UserAttribute{
		{Name: "nickname", EditableBy: tenant.ByPerson}, {Name: "floor", EditableBy: tenant.ByManager},
		{Name: "salary", EditableBy: tenant.ByAdministrator},
	}
	manager, administrator := allowed{}, allowed{"user.attributes": true}
	before := map[string]any{"nickname": "A", "floor": 1.0, "salary": 1.0, "clearance": "low"}
	with := func(name string, v any) map[string]any {
		after := map[string]any{}
		for k, old := range before {
			after[k] = old
		}
		if after[name] = v; v == nil {
			delete(after, name)
		}
		return after
	}
	for _, tt := range []struct {
		what    string
		self    bool
		rights  allowed
		after   map[string]any
		refused string
	}{
		{"nothing", true, manager, with("floor", 1.0), ""},
		{"a person's, by a manager", false, manager, with("nickname", "B"), ""},
		{"a person's, by the person", true, manager, with("nickname", "B"), ""},
		{"a manager's, by a manager", false, manager, with("floor", 2.0), ""},
		{"a manager's, removed by a manager", false, manager, with("floor", nil), ""},
		{"a manager's, by the person", true, manager, with("floor", 2.0), "floor"},
		{"an administrator's, by a manager", false, manager, with("salary", 2.0), "salary"},
		{"an administrator's, removed by a manager", false, manager, with("salary", nil), "salary"},
		{"undeclared, by a manager", false, manager, with("clearance", "high"), "clearance"},
		{"undeclared and new, by a manager", false, manager, with("role", "boss"), "role"},
		{"all removed by a manager", false, manager, nil, "clearance"},
		{"an administrator's, by one", true, administrator, with("salary", 2.0), ""},
		{"undeclared, by an administrator", true, administrator, with("clearance", "high"), ""},
	} {
		err := editor{declared, tt.rights, tt.self}.mayEdit(before, tt.after)
		if (err == nil) != (tt.refused == "") || err != nil && fault.Of(err) != fault.Denied {
			t.Errorf("%s: %v, want a refusal of %q", tt.what, err, tt.refused)
		}
	}
}

func TestAnEditorIsThePersonOnlyAtHome(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, ada := d.Tenant(t, "acme"), id.New()
		for name, tt := range map[string]struct {
			actor caller.Actor
			self  bool
		}{
			"the person":                 {caller.Actor{Kind: caller.User, ID: ada, Tenant: c.Tenant}, true},
			"another person":             {caller.Actor{Kind: caller.User, ID: id.New(), Tenant: c.Tenant}, false},
			"an application":             {caller.Actor{Kind: caller.Application, ID: ada, Tenant: c.Tenant}, false},
			"a person of another tenant": {caller.Actor{Kind: caller.User, ID: ada, Tenant: id.New()}, false},
		} {
			e, err := db.Read(t.Context(), d.DB, c, func(tx *db.Tx) (editor, error) {
				return editorOf(t.Context(), tx, api.Request{Caller: c.As(tt.actor), Rights: allowed{}}, ada)
			})
			if err != nil || e.self != tt.self {
				t.Errorf("%s: self %t, %v", name, e.self, err)
			}
		}
	})
}
