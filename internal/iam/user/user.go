package user

import (
	"context"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Status says whether a user counts.
type Status string

// The statuses. Only an active user can hold a session or use a grant.
const (
	Invited     Status = "invited" // has not chosen a credential or not confirmed the address yet
	Active      Status = "active"
	Locked      Status = "locked"      // suspended by an administrator; everything is kept
	Deactivated Status = "deactivated" // has left; everything is kept until deletion
)

// statuses lists every status.
var statuses = []Status{Invited, Active, Locked, Deactivated}

// MaySignIn reports whether a user with this status may sign in. A registered user is invited until
// the address is confirmed.
func (s Status) MaySignIn() bool { return s == Active || s == Invited }

// MaySignInSQL is MaySignIn as a condition of a statement in which u is a row of users.
var MaySignInSQL = func() string {
	var list []string
	for _, s := range statuses {
		if s.MaySignIn() {
			list = append(list, "'"+string(s)+"'")
		}
	}
	return "u.status IN (" + strings.Join(list, ", ") + ")"
}()

// User is one person of a tenant.
type User struct {
	ID id.ID
	Profile
	Status     Status
	CreatedAt  time.Time
	UpdatedAt  time.Time
	LastSignIn time.Time // zero if there was none

	// Generation counts how often everything that the user had proved was ended. Sessions, grants
	// and proofs of an earlier generation do not count.
	Generation int64
}

// Target names the user in an audit event.
func (u User) Target() audit.Target {
	return audit.Target{Kind: "user", ID: u.ID.String(), Name: u.Login()}
}

// TargetOf is Target for a user of whom only the id is known.
func TargetOf(user id.ID) audit.Target {
	return audit.ByID("user", user, `SELECT `+LoginSQL+` FROM users u WHERE u.tenant_id = $1 AND u.id = $2`)
}

// Filter narrows a list of users. A zero field does not.
type Filter struct {
	Status Status
	Email  string // exactly, in any case
	Search string // the beginning of a name, an email address or a username
}

// Faults of this package.
var (
	ErrNotFound   = fault.New(fault.NotFound, "user.not_found", "There is no user with this id.")
	ErrEmailTaken = fault.New(fault.Conflict, "user.email_taken",
		"Another user of this tenant has this email address.")
	ErrUsernameTaken = fault.New(fault.Conflict, "user.username_taken",
		"Another user of this tenant has this username.")
	ErrStatus = fault.New(fault.Conflict, "user.status", "The user's status does not allow this change.")
)

// KeepOwner runs a change after which a user may no longer be an owner. It fails if the tenant
// would have no owner. role.KeepOwner is the implementation.
type KeepOwner func(ctx context.Context, tx *db.Tx, change func() error) error

// moves maps a status to those that may follow, with the name of each change.
var moves = map[Status]map[Status]string{
	Invited:     {Active: "user.activate", Deactivated: "user.deactivate"},
	Active:      {Locked: "user.lock", Deactivated: "user.deactivate"},
	Locked:      {Active: "user.unlock", Deactivated: "user.deactivate"},
	Deactivated: {Active: "user.activate"},
}
