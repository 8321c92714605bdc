package invitation

import (
	"context"
	"errors"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Person is what the person enters who accepts an invitation.
type Person struct {
	GivenName, FamilyName string
	Locale                string // of the page, for an invitation without one
	Password              string // the PHC string of credential.Hasher
}

// Accept makes the receiver of a pending invitation an active user with a verified address, a
// password, and the invitation's roles and groups. Of several concurrent calls with one token
// exactly one succeeds. The others get ErrNotFound, and so does a link that is no longer pending.
// Accept fails with user.ErrEmailTaken if the address has a user by now. The right to give the
// roles was checked when they were chosen. Those that are gone are left out.
func Accept(ctx context.Context, tx *db.Tx, token string, by Person) (user.User, error) {
	i, err := accept(ctx, tx, token)
	if err != nil {
		return user.User{}, err
	}
	locale := i.Locale
	if locale == "" {
		locale = by.Locale
	}
	u, err := user.Create(ctx, tx, user.Profile{Email: i.Email, EmailVerified: true, GivenName: by.GivenName,
		FamilyName: by.FamilyName, Locale: locale})
	if err != nil {
		return user.User{}, err
	}
	if err := credential.SetPassword(ctx, tx, u.ID, by.Password); err != nil {
		return user.User{}, err
	}
	gone := []string{}
	for _, r := range i.Roles {
		given, err := role.Give(ctx, tx, u.ID, r)
		if err != nil {
			return user.User{}, err
		}
		if !given {
			gone = append(gone, r.Name)
		}
	}
	for _, g := range i.Groups {
		err := group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), g, u.ID)
		if errors.Is(err, group.ErrNotFound) {
			gone = append(gone, g.String())
		} else if err != nil {
			return user.User{}, err
		}
	}
	tx.Later(`UPDATE invitations SET user_id = $3 WHERE tenant_id = $1 AND id = $2`, i.ID, u.ID)
	detail := map[string]any{"user": u.ID.String(), "invited_by": i.By.Name, "roles": i.RoleNames(), "groups": i.Groups}
	if len(gone) > 0 {
		detail["gone"] = gone
	}
	audit.Write(tx, audit.Event{Action: "invitation.accept", Target: i.target(), Detail: detail,
		Changed: audit.Changes{}.With("status", Pending, Accepted)})
	return u, nil
}

// Gives returns the names of the roles and groups that accepting the invitation gives now.
func (i Invitation) Gives(ctx context.Context, tx *db.Tx) ([]string, error) {
	names := []string{}
	for _, chosen := range i.Roles {
		r, err := role.Get(ctx, tx, chosen.Name)
		switch {
		case errors.Is(err, role.ErrNotFound) || err == nil && r.ID != chosen.ID:
		case err != nil:
			return nil, err
		default:
			names = append(names, r.Name)
		}
	}
	for _, id := range i.Groups {
		g, err := group.Get(ctx, tx, id)
		switch {
		case errors.Is(err, group.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			names = append(names, g.Name)
		}
	}
	return names, nil
}
