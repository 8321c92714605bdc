package role

import (
	"maps"
	"slices"
)

// Action is one thing the management API can be asked to do.
type Action struct {
	Name string // "noun.verb", the same word the audit log uses
	Does string // a sentence for the golden table
}

// Actions is the catalogue, in the order of the golden table. What is not in it
// cannot be granted.
var Actions = []Action{
	{"user.read", "See users."},
	{"user.create", "Add users."},
	{"user.update", "Change users and their status."},
	{"user.delete", "Delete users."},
	{"group.read", "See groups and who is in them."},
	{"group.create", "Add groups."},
	{"group.update", "Change groups."},
	{"group.delete", "Delete groups."},
	{"group.member", "Put users into groups and take them out."},
	{"credential.read", "See which credentials a user has."},
	{"credential.reset", "Set a password, remove an authenticator app, send a reset link."},
	{"role.read", "See roles and who has them."},
	{"role.create", "Define roles of the tenant's own."},
	{"role.update", "Change the tenant's own roles."},
	{"role.delete", "Delete the tenant's own roles."},
	{"role.grant", "Give roles that one holds oneself."},
	{"role.revoke", "Take roles that one holds oneself."},
	{"session.read", "See who is signed in."},
	{"session.revoke", "Sign somebody out."},
	{"grant.read", "See what applications hold."},
	{"grant.revoke", "Take back what an application holds."},
	{"application.read", "See applications."},
	{"application.create", "Add applications."},
	{"application.update", "Change applications and their secrets."},
	{"application.delete", "Delete applications."},
	{"settings.read", "See the tenant's settings."},
	{"settings.update", "Change the tenant's settings."},
	{"key.read", "See signing keys."},
	{"key.rotate", "Rotate signing keys."},
	{"audit.read", "Read the audit log."},
	{"decision.read", "Read decision records and have them explained."},
	{"tenant.read", "See tenants (platform only)."},
	{"tenant.create", "Add tenants (platform only)."},
	{"tenant.update", "Rename and configure tenants (platform only)."},
	{"tenant.suspend", "Suspend and resume tenants (platform only)."},
	{"tenant.delete", "Delete tenants (platform only)."},
}

var known = func() map[string]bool {
	m := make(map[string]bool, len(Actions))
	for _, a := range Actions {
		m[a.Name] = true
	}
	return m
}()

// Known reports whether the action is in the catalogue.
func Known(action string) bool { return known[action] }

// Set is what a subject may do. The zero Set allows nothing. It is immutable.
type Set struct {
	actions map[string]bool
	roles   []string
}

// SetOf makes a Set of the given actions; those not in the catalogue are left out.
func SetOf(actions ...string) Set {
	s := Set{actions: make(map[string]bool, len(actions))}
	for _, a := range actions {
		if known[a] {
			s.actions[a] = true
		}
	}
	return s
}

// Everything is the Set of Gatehouse itself: the command line, first start, jobs.
func Everything() Set { return Set{actions: known} }

// Allows reports whether the action is in the set.
func (s Set) Allows(action string) bool { return s.actions[action] }

// Covers reports whether every action of other is in s.
func (s Set) Covers(other Set) bool { return s.missing(other) == "" }

// missing returns an action of other that s lacks, the first by name.
func (s Set) missing(other Set) string {
	lacking := ""
	for a := range other.actions {
		if !s.actions[a] && (lacking == "" || a < lacking) {
			lacking = a
		}
	}
	return lacking
}

// Actions returns the actions, sorted.
func (s Set) Actions() []string { return slices.Sorted(maps.Keys(s.actions)) }

// Roles returns the names of the roles that made the set, sorted.
func (s Set) Roles() []string { return slices.Clone(s.roles) }

// The built-in roles.
const (
	Owner       = "owner"
	Admin       = "admin"
	UserManager = "user-manager"
	Developer   = "developer"
	Auditor     = "auditor"
)

// builtins in the order of the golden table. What each may do is said by the
// policies in policies/; builtin.go is their answer.
var builtins = []Role{
	{Name: Owner, Builtin: true, Description: "Everything, including what cannot be undone.", Actions: builtinActions[Owner]},
	{Name: Admin, Builtin: true, Description: "Everything but deleting tenants and rotating keys.", Actions: builtinActions[Admin]},
	{Name: UserManager, Builtin: true, Description: "Users, their groups, credentials, sessions and roles.", Actions: builtinActions[UserManager]},
	{Name: Developer, Builtin: true, Description: "Applications.", Actions: builtinActions[Developer]},
	{Name: Auditor, Builtin: true, Description: "Sees everything, changes nothing.", Actions: builtinActions[Auditor]},
}

// Builtins returns the built-in roles.
func Builtins() []Role { return slices.Clone(builtins) }

func builtin(name string) (Role, bool) {
	for _, r := range builtins {
		if r.Name == name {
			return r, true
		}
	}
	return Role{}, false
}
