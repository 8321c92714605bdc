package role

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Choose returns the role with this name, if a caller with the rights by may give it to a user who
// is new. It fails with ErrBeyond, and with an Invalid fault about the field roles for an unknown
// role.
func Choose(ctx context.Context, tx *db.Tx, by Set, name string) (Role, error) {
	if !by.Allows("role.grant") {
		return Role{}, beyond("role.grant")
	}
	r, err := Get(ctx, tx, name)
	if err != nil {
		return Role{}, unknownRole(err, "roles")
	}
	return r, by.mayAssign(r)
}

// Give assigns a role that was chosen before the user existed, without an end. Choose has checked
// the right. Give returns false if the role is gone. Another one that has its name by now is not
// the one that was chosen.
func Give(ctx context.Context, tx *db.Tx, to id.ID, chosen Role) (bool, error) {
	r, err := Get(ctx, tx, chosen.Name)
	if errors.Is(err, ErrNotFound) || err == nil && r.ID != chosen.ID {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, assign(ctx, tx, Everything(), OfUser(to), r, time.Time{})
}
