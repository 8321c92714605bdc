package user

import (
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Status says whether a user counts.
type Status string

// The statuses. Only an active user can sign in, hold a session or use a grant.
const (
	Invited     Status = "invited"     // has been made and has not chosen a credential yet
	Active      Status = "active"      // counts
	Locked      Status = "locked"      // put on hold by an administrator; everything is kept
	Deactivated Status = "deactivated" // has left; everything is kept until deletion
)

// Statuses lists every status.
var Statuses = []Status{Invited, Active, Locked, Deactivated}

// User is one person of a tenant.
type User struct {
	ID            id.ID
	Email         string // as given; may be empty when Username is not
	EmailVerified bool
	Username      string
	Status        Status
	GivenName     string
	FamilyName    string
	Locale        string         // BCP 47, or empty
	Attributes    map[string]any // the tenant's own, JSON
	CreatedAt     time.Time
	UpdatedAt     time.Time
	LastSignIn    time.Time // zero when there was none
}

// Name is what to call the user on a page.
func (u User) Name() string {
	switch {
	case u.GivenName != "" && u.FamilyName != "":
		return u.GivenName + " " + u.FamilyName
	case u.GivenName != "":
		return u.GivenName
	case u.FamilyName != "":
		return u.FamilyName
	}
	return u.Login()
}

// Login is what the user signs in with: the email address, or the username of
// those who have none.
func (u User) Login() string {
	if u.Email != "" {
		return u.Email
	}
	return u.Username
}

// Target names the user in an audit event.
func (u User) Target() audit.Target {
	return audit.Target{Kind: "user", ID: u.ID.String(), Name: u.Login()}
}

// New is what a user is made from.
type New struct {
	Email         string
	EmailVerified bool
	Username      string
	Status        Status // Active when empty; Invited is the only other accepted
	GivenName     string
	FamilyName    string
	Locale        string
	Attributes    map[string]any
}

// Patch changes a user; nil fields stay as they are.
type Patch struct {
	Email         *string
	EmailVerified *bool
	Username      *string
	GivenName     *string
	FamilyName    *string
	Locale        *string
	Attributes    *map[string]any // replaces all of them
}

// Filter narrows a list of users; zero fields do not.
type Filter struct {
	Status Status
	Email  string // exactly, in any case
	Search string // the beginning of a name, an email address or a username
}

// Faults of this package.
var (
	ErrNotFound      = fault.New(fault.NotFound, "user.not_found", "There is no user with this id.")
	ErrEmailTaken    = fault.New(fault.Conflict, "user.email_taken", "Another user of this tenant has this email address.")
	ErrUsernameTaken = fault.New(fault.Conflict, "user.username_taken", "Another user of this tenant has this username.")
	ErrLastOwner     = fault.New(fault.Conflict, "user.last_owner", "This is the tenant's last active owner. Make somebody else an owner first.")
	ErrStatus        = fault.New(fault.Conflict, "user.status", "The user's status does not allow this change.")
)

// moves says which status may follow which, and what the change is called.
var moves = map[Status]map[Status]string{
	Invited:     {Active: "user.activate", Deactivated: "user.deactivate"},
	Active:      {Locked: "user.lock", Deactivated: "user.deactivate"},
	Locked:      {Active: "user.unlock", Deactivated: "user.deactivate"},
	Deactivated: {Active: "user.activate"},
}
