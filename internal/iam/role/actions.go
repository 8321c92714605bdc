package role

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Action is one thing that the management API can do.
type Action struct {
	Name string // "noun.verb", the same word the audit log uses
	Does string // a sentence for the golden table
}

// Actions is the catalogue, in the order of the golden table. No role has an action outside it.
var Actions = []Action{
	{"user.read", "See users."},
	{"user.create", "Create users."},
	{"user.update", "Change users and their status."},
	{"user.attributes", "Change every attribute of users, not only those that the tenant lets managers change."},
	{"user.delete", "Delete users."},
	{"invitation.read", "See invitations."},
	{"invitation.create", "Invite people, to roles and groups within one's own rights."},
	{"invitation.resend", "Send invitations again."},
	{"invitation.withdraw", "Withdraw invitations."},
	{"group.read", "See groups and their members."},
	{"group.create", "Create groups."},
	{"group.update", "Change groups."},
	{"group.attributes", "Change the attributes of groups."},
	{"group.delete", "Delete groups."},
	{"group.member", "Add users to groups and remove them."},
	{"credential.read", "See which credentials a user has."},
	{"credential.reset", "Set a password, remove an authenticator app, send a reset link."},
	{"role.read", "See roles and their assignments."},
	{"role.create", "Create custom roles."},
	{"role.update", "Change custom roles."},
	{"role.delete", "Delete custom roles."},
	{"role.grant", "Assign roles within one's own rights."},
	{"role.revoke", "Revoke roles within one's own rights."},
	{"session.read", "See active sessions."},
	{"session.revoke", "Revoke sessions."},
	{"grant.read", "See grants."},
	{"grant.revoke", "Revoke grants."},
	{"application.read", "See applications."},
	{"application.create", "Create applications."},
	{"application.update", "Change applications and rotate their secrets."},
	{"application.trust", "Let applications act for others: first_party, gatehouse: scopes, principal_mode directory."},
	{"application.delete", "Delete applications."},
	{"api.read", "See APIs."},
	{"api.create", "Register APIs."},
	{"api.update", "Change APIs, and which applications may ask for them or introspect their tokens."},
	{"api.delete", "Delete APIs."},
	{"settings.read", "See the tenant's settings."},
	{"settings.update", "Change the tenant's settings."},
	{"key.read", "See signing keys."},
	{"key.rotate", "Rotate signing keys."},
	{"key.withdraw", "Withdraw signing keys that may have leaked."},
	{"policy.read", "See policies, their draft and their revisions."},
	{"policy.update", "Change, validate and test the policy draft."},
	{"policy.replay", "Replay decision records with the policy draft."},
	{"policy.publish", "Publish policies, roll back, change the engine's settings."},
	{"audit.read", "Read the audit log."},
	{"decision.read", "Read and explain decision records."},
	{"usage.read", "See how much the tenant is used, and its limits."},
	{"tenant.read", "See tenants (platform only)."},
	{"tenant.create", "Create tenants (platform only)."},
	{"tenant.update", "Change tenants (platform only)."},
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

// Set holds the rights of a subject. The zero Set allows nothing. A Set is immutable.
type Set struct {
	rights map[string]bool
	roles  []string            // names, sorted
	own    []string            // the actions that the tenant's own roles brought without a limit, sorted
	only   map[string][]string // those they brought with one: action → ids of what it is limited to, sorted
}

// SetOf returns a Set of the given actions. It ignores those outside the catalogue.
func SetOf(actions ...string) Set {
	s := Set{rights: make(map[string]bool, len(actions))}
	for _, a := range actions {
		if known[a] {
			s.rights[a] = true
		}
	}
	return s
}

// Everything returns the Set of Gatehouse itself: the command line, the first start and jobs.
func Everything() Set { return Set{rights: known} }

// setOf returns the union of the roles' rights.
func setOf(roles ...Role) Set {
	s := Set{rights: map[string]bool{}}
	for _, r := range roles {
		s.roles = append(s.roles, r.Name)
		for _, right := range r.rights() {
			action, _, _ := strings.Cut(right, at)
			if !known[action] || s.rights[right] {
				continue
			}
			s.rights[right] = true
			if !r.Builtin {
				s.note(right)
			}
		}
	}
	s.sort()
	return s
}

// Allows reports whether the action is in the set without a limit.
func (s Set) Allows(action string) bool { return s.rights[action] }

// AllowsOn reports whether the action is in the set without a limit, or with a limit to one thing.
func (s Set) AllowsOn(action string, thing id.ID) bool {
	return s.rights[action] || s.rights[action+at+thing.String()]
}

// covers reports whether every right of other is in s.
func (s Set) covers(other Set) bool { return s.missing(other) == "" }

// missing returns the first right, by name, of other that s lacks, or "". An action without a limit
// covers the same action with any limit.
func (s Set) missing(other Set) string {
	lacking := ""
	for right := range other.rights {
		action, _, _ := strings.Cut(right, at)
		if !s.rights[right] && !s.rights[action] && (lacking == "" || right < lacking) {
			lacking = right
		}
	}
	return lacking
}

// Within returns the rights that both sets have: what a caller with the rights s may do through
// something that is allowed other. A role is in the result only if it is in both.
func (s Set) Within(other Set) Set {
	both := Set{rights: map[string]bool{}}
	for _, name := range s.roles {
		if slices.Contains(other.roles, name) {
			both.roles = append(both.roles, name)
		}
	}
	for _, pair := range [][2]Set{{s, other}, {other, s}} {
		for right := range pair[0].rights {
			action, _, _ := strings.Cut(right, at)
			if pair[1].rights[right] || pair[1].rights[action] {
				both.rights[right] = true
			}
		}
	}
	for right := range both.rights {
		both.note(right)
	}
	both.sort()
	return both
}

// note adds a right to those that the policies learn of one by one.
func (s *Set) note(right string) {
	action, to, limited := strings.Cut(right, at)
	if !limited {
		s.own = append(s.own, action)
		return
	}
	if s.only == nil {
		s.only = map[string][]string{}
	}
	s.only[action] = append(s.only[action], to)
}

func (s *Set) sort() {
	slices.Sort(s.roles)
	slices.Sort(s.own)
	for _, ids := range s.only {
		slices.Sort(ids)
	}
}

// Actions returns the rights, sorted: actions, and "action@id" where one is limited.
func (s Set) Actions() []string { return slices.Sorted(maps.Keys(s.rights)) }

// Roles returns the names of the roles that made the set, sorted.
func (s Set) Roles() []string { return slices.Clone(s.roles) }

// Builtins returns the names of the built-in roles that made the set, sorted.
func (s Set) Builtins() []string {
	return slices.DeleteFunc(slices.Clone(s.roles), func(name string) bool { _, ok := builtin(name); return !ok })
}

// Own returns the actions that custom roles bring without a limit, sorted. Together with Only, it
// is all that the policies learn of those roles.
func (s Set) Own() []string { return slices.Clone(s.own) }

// Only returns the actions that custom roles bring with a limit, each with the sorted ids of the
// things it is limited to.
func (s Set) Only() map[string][]string { return maps.Clone(s.only) }

// The built-in roles.
const (
	Owner       = "owner"
	Admin       = "admin"
	UserManager = "user-manager"
	Developer   = "developer"
	Auditor     = "auditor"
)

// builtins are in the order of the golden table. The policies in policies/ decide what each allows,
// and builtin.go is generated from their answers.
var builtins = []Role{
	{Name: Owner, Builtin: true, Description: "Everything, including what cannot be undone.",
		Actions: builtinActions[Owner]},
	{Name: Admin, Builtin: true, Description: "Everything but deleting tenants and rotating keys.",
		Actions: builtinActions[Admin]},
	{Name: UserManager, Builtin: true, Description: "Users, their groups, credentials, sessions and roles.",
		Actions: builtinActions[UserManager]},
	{Name: Developer, Builtin: true, Description: "Applications and APIs.", Actions: builtinActions[Developer]},
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
