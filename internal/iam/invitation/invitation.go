package invitation

import (
	"cmp"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Status says what became of an invitation.
type Status string

// The statuses. Pending and Expired invitations are open: they can be sent again.
const (
	Pending   Status = "pending"
	Accepted  Status = "accepted"
	Withdrawn Status = "withdrawn" // by a caller, or replaced by the next one
	Expired   Status = "expired"
)

// Bounds of invitations.
const (
	defaultLifetime = 7 * 24 * time.Hour
	minLifetime     = 5 * time.Minute
	maxLifetime     = 30 * 24 * time.Hour
	kept            = 30 * 24 * time.Hour // after the end of an invitation, so that its page can say what happened
	maxOpen         = 10_000              // rows of a tenant that were not accepted
	maxGiven        = 50                  // roles of one invitation, and groups
	maxBulk         = 1000                // invitations of one call
)

// New describes an invitation to create.
type New struct {
	Email                 string
	GivenName, FamilyName string
	Locale                string // a BCP 47 tag, or "" for the tenant's language
	Roles                 []string
	Groups                []id.ID
	Lifetime              time.Duration // zero: a week
}

// Invitation is one invitation of a person.
type Invitation struct {
	ID                    id.ID
	Email                 string
	GivenName, FamilyName string
	Locale                string
	Roles                 []role.Role // only ID and Name
	Groups                []id.ID
	By                    caller.Actor // without what only a request has
	Lifetime              time.Duration
	CreatedAt             time.Time
	ExpiresAt             time.Time
	AcceptedAt            time.Time // zero: it was not
	WithdrawnAt           time.Time // zero: it was not
	User                  id.ID     // who accepted it

	emailKey string
	hash     []byte // of the link's token
}

// StatusAt returns what has become of the invitation.
func (i Invitation) StatusAt(now time.Time) Status {
	switch {
	case !i.AcceptedAt.IsZero():
		return Accepted
	case !i.WithdrawnAt.IsZero():
		return Withdrawn
	case !now.Before(i.ExpiresAt):
		return Expired
	}
	return Pending
}

// RoleNames returns the names of the invitation's roles.
func (i Invitation) RoleNames() []string {
	names := make([]string, 0, len(i.Roles))
	for _, r := range i.Roles {
		names = append(names, r.Name)
	}
	return names
}

// Inviter names the person who invited, or returns "" for a program.
func (i Invitation) Inviter() string {
	if i.By.Kind == caller.User {
		return i.By.Name
	}
	return ""
}

func (i Invitation) target() audit.Target {
	return audit.Target{Kind: "invitation", ID: i.ID.String(), Name: i.Email}
}

// fields returns what the audit log says of an invitation.
func (i Invitation) fields() map[string]any {
	return map[string]any{"email": i.Email, "roles": i.RoleNames(), "groups": i.Groups, "expires_at": i.ExpiresAt}
}

// Faults of this package.
var (
	ErrNotFound   = fault.New(fault.NotFound, "invitation.not_found", "There is no invitation with this id.")
	ErrUserExists = fault.New(fault.Conflict, "invitation.user_exists",
		"A user has this email address already. Give the user the roles and groups instead.")
	ErrEnded = fault.New(fault.Conflict, "invitation.ended",
		"The invitation was accepted or withdrawn. Make a new one.")
	errConcurrent = fault.New(fault.Conflict, "invitation.concurrent",
		"Another invitation of this address is being made at this moment. Try again.")
	errTooMany = fault.New(fault.Limited, "invitation.too_many",
		"The tenant has %d invitations that were not accepted, which is the limit. "+
			"Each is deleted %d days after its end.", maxOpen, kept/(24*time.Hour))
	errTooManyMails = fault.New(fault.Limited, "invitation.too_many_mails",
		"This address got several invitations a short time ago. Wait half an hour, or ask for the link with send "+
			"false.")
)

// lifetimeOf returns the lifetime of a link from what a request asks for.
func lifetimeOf(asked time.Duration) (time.Duration, error) {
	asked = cmp.Or(asked, defaultLifetime)
	if asked < minLifetime || asked > maxLifetime {
		return 0, fault.InvalidField("invitation.invalid", "expires_in_seconds", "This must be from %d to %d seconds.",
			minLifetime/time.Second, maxLifetime/time.Second)
	}
	return asked, nil
}
