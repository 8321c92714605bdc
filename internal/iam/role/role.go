package role

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Role is a named set of actions. A role without actions counts only in the tenant's own policies.
type Role struct {
	ID          id.ID  // zero for a built-in role
	Name        string // stable: what grants refer to
	Description string
	Builtin     bool
	Actions     []string // sorted
	Limits      Limits   // of an own role
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

func (r Role) set() Set { return setOf(r) }

func (r Role) target() audit.Target {
	return audit.Target{Kind: "role", ID: r.Name, Name: r.Name}
}

// Subject has a role assigned. Exactly one of its ids is set.
type Subject struct {
	User        id.ID
	Application id.ID
	Group       id.ID // the role is its members' as long as they are in it

	Name string // of an application, for the audit log
}

// OfUser returns the subject for a user.
func OfUser(user id.ID) Subject { return Subject{User: user} }

// OfApplication returns the subject for an application.
func OfApplication(application id.ID) Subject { return Subject{Application: application} }

// OfGroup returns the subject for a group.
func OfGroup(group id.ID) Subject { return Subject{Group: group} }

func (s Subject) id() id.ID {
	switch {
	case !s.User.IsZero():
		return s.User
	case !s.Group.IsZero():
		return s.Group
	}
	return s.Application
}

func (s Subject) target() audit.Target {
	switch {
	case !s.User.IsZero():
		return user.TargetOf(s.User)
	case !s.Group.IsZero():
		return group.TargetOf(s.Group)
	}
	return audit.Target{Kind: "application", ID: s.Application.String(), Name: s.Name}
}

// Assignment is one role of a subject.
type Assignment struct {
	Role      string
	Until     time.Time // zero: without an end
	GrantedAt time.Time
}

// Bounds on what a tenant can define.
const (
	maxRoles       = 100 // own roles of a tenant
	maxGrants      = 50  // grants of one subject
	maxDescription = 256 // code points
)

// Faults of this package.
var (
	ErrNotFound   = fault.New(fault.NotFound, "role.not_found", "There is no role with this name.")
	ErrNotGranted = fault.New(fault.NotFound, "role.not_granted",
		"The role is not assigned to this user, group or application.")
	ErrNameTaken = fault.New(fault.Conflict, "role.name_taken", "There is a role with this name already.")
	ErrBuiltin   = fault.New(fault.Conflict, "role.builtin",
		"A built-in role cannot be changed. Define a role of your own.")
	ErrBeyond = fault.New(fault.Denied, "role.beyond_own",
		"You cannot assign or revoke what you do not hold yourself.")
	ErrOutranked = fault.New(fault.Denied, "role.outranked",
		"This user, group or application may do things that you may not, so you cannot change it or sign it out.")
	ErrTooMany     = fault.New(fault.Limited, "role.too_many", "There are too many roles. Delete one first.")
	errNoSubject   = fault.New(fault.NotFound, "role.subject_not_found", "There is no such user, group or application.")
	errUntilIsPast = fault.InvalidField("role.invalid", "until", "The end of the assignment must lie in the future.")
)

var nameRE = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Definition says what a custom role shall be.
type Definition struct {
	Name        string
	Description string
	Actions     []string
	Limits      Limits
}

func (d Definition) set() Set {
	return setOf(Role{Name: d.Name, Actions: d.Actions, Limits: d.Limits})
}

// Patch says what to change of a custom role. A nil field stays unchanged.
type Patch struct {
	Description *string
	Actions     []string
	Limits      *Limits
}

// validate normalizes d in place. It fails with an Invalid fault that names every wrong field.
func (d *Definition) validate() error {
	var wrong fault.Fields
	if !nameRE.MatchString(d.Name) {
		wrong.Add("name",
			"A role's name has lower-case letters, digits and hyphens, starts with a letter and is at most 63 long.")
	} else if _, ok := builtin(d.Name); ok {
		wrong.Add("name", "This is the name of a built-in role. Choose another.")
	}
	d.Description = strings.TrimSpace(d.Description)
	if !utf8.ValidString(d.Description) || utf8.RuneCountInString(d.Description) > maxDescription ||
		strings.ContainsFunc(d.Description, func(r rune) bool { return r < ' ' }) {
		wrong.Add("description", "A description has at most %d characters and no line breaks.", maxDescription)
	}
	d.Actions = append([]string{}, d.Actions...)
	slices.Sort(d.Actions)
	d.Actions = slices.Compact(d.Actions)
	for _, a := range d.Actions {
		if !Known(a) {
			wrong.Add("actions", "%.64q is not an action. GET roles shows all of them under owner.", a)
			break
		}
	}
	d.Limits.validate(d.Actions, &wrong)
	return wrong.Err("role.invalid")
}

// mayAssign fails with ErrBeyond unless a caller with the rights s may assign or revoke the role: s
// must cover all its actions. The tenant's policies read the names of roles too, and only they know
// what a name is worth. So the caller must also have that role, or be allowed to update roles.
func (s Set) mayAssign(r Role) error {
	if m := s.missing(r.set()); m != "" {
		return beyond(m)
	}
	if !s.Allows("role.update") && !slices.Contains(s.roles, r.Name) {
		return fault.New(ErrBeyond.Kind, ErrBeyond.Code,
			"You cannot give or take what you do not hold yourself: the role %s.", r.Name)
	}
	return nil
}

// beyond returns ErrBeyond with the missing action.
func beyond(action string) error {
	return fault.New(ErrBeyond.Kind, ErrBeyond.Code,
		"You cannot give or take what you do not hold yourself: %s is missing from your roles.", action)
}
