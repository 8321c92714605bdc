package role

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// ErrLastOwner refuses a change after which the tenant would have no active owner.
var ErrLastOwner = fault.New(fault.Conflict, "user.last_owner",
	"This is the tenant's last active owner. Make another user an owner first.")

// KeepOwner runs a change after which a user may no longer be an owner: of the user, of a role
// assignment or of a group. It fails with ErrLastOwner if an active user was an owner without an
// end before the change, and none is after it.
//
// The row that it writes serialises all such changes of a tenant, so that two owners cannot remove
// each other.
func KeepOwner(ctx context.Context, tx *db.Tx, change func() error) error {
	_, err := tx.Exec(ctx, `INSERT INTO owner_locks (tenant_id, taken_at) VALUES ($1, $2)
		ON CONFLICT (tenant_id) DO UPDATE SET taken_at = excluded.taken_at`, tx.Now())
	if err != nil {
		return err
	}
	before, err := hasOwner(ctx, tx)
	if err != nil {
		return err
	}
	if err := change(); err != nil || !before {
		return err
	}
	after, err := hasOwner(ctx, tx)
	if err != nil {
		return err
	}
	if !after {
		return ErrLastOwner
	}
	return nil
}

// hasOwner reports whether an active user is an owner without an end, by an assignment of their
// own or of one of their groups.
func hasOwner(ctx context.Context, tx *db.Tx) (bool, error) {
	owners, err := db.List(ctx, tx, func(r db.Row) (id.ID, error) {
		var u id.ID
		err := r.Scan(&u)
		return u, err
	},
		`SELECT u.id FROM role_grants g JOIN users u ON u.tenant_id = $1 AND u.id = g.user_id
		WHERE g.tenant_id = $1 AND g.role = 'owner' AND g.until IS NULL AND u.status = 'active'
		UNION ALL SELECT u.id FROM role_grants g JOIN group_members m ON m.tenant_id = $1 AND m.group_id = g.group_id
		JOIN users u ON u.tenant_id = $1 AND u.id = m.user_id
		WHERE g.tenant_id = $1 AND g.role = 'owner' AND g.until IS NULL AND u.status = 'active' LIMIT 1`)
	return len(owners) > 0, err
}

// Owned reports whether an application, or an active user by an assignment of their own or of one
// of their groups, is an owner without an end.
func Owned(ctx context.Context, tx *db.Tx) (bool, error) {
	n, err := db.One(ctx, tx, scanCount, `SELECT count(*) FROM role_grants g
		LEFT JOIN group_members m ON m.tenant_id = $1 AND m.group_id = g.group_id
		LEFT JOIN users u ON u.tenant_id = $1 AND u.id = COALESCE(g.user_id, m.user_id)
		WHERE g.tenant_id = $1 AND g.role = 'owner' AND g.until IS NULL AND (g.application_id IS NOT NULL OR u.status = 'active')`)
	return n > 0, err
}
