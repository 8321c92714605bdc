package invitation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

const columns = `id, email, email_key, given_name, family_name, locale, roles, group_ids, inviter_kind, inviter_id,
	inviter_tenant, inviter_name, lifetime, created_at, expires_at, accepted_at, withdrawn_at, user_id, token_hash`

// isOpen is the condition of the rows that can still be accepted, or sent again.
const isOpen = ` AND accepted_at IS NULL AND withdrawn_at IS NULL`

// storedRole is a role as the column roles has it.
type storedRole struct {
	Name string `json:"name"`
	ID   id.ID  `json:"id"`
}

func scan(row db.Row) (Invitation, error) {
	var i Invitation
	var roles, groups string
	var seconds int64
	err := row.Scan(&i.ID, &i.Email, &i.emailKey, &i.GivenName, &i.FamilyName, &i.Locale, &roles, &groups,
		&i.By.Kind, &i.By.ID, &i.By.Tenant, &i.By.Name, &seconds, &i.CreatedAt, &i.ExpiresAt, &i.AcceptedAt,
		&i.WithdrawnAt, &i.User, &i.hash)
	if err != nil {
		return Invitation{}, err
	}
	i.Lifetime = time.Duration(seconds) * time.Second
	var stored []storedRole
	if err := json.Unmarshal([]byte(roles), &stored); err != nil {
		return Invitation{}, fmt.Errorf("invitation: roles: %w", err)
	}
	for _, r := range stored {
		i.Roles = append(i.Roles, role.Role{ID: r.ID, Name: r.Name})
	}
	if err := json.Unmarshal([]byte(groups), &i.Groups); err != nil {
		return Invitation{}, fmt.Errorf("invitation: groups: %w", err)
	}
	return i, nil
}

func found(i Invitation, err error) (Invitation, error) {
	if errors.Is(err, db.ErrNoRows) {
		return Invitation{}, ErrNotFound
	}
	return i, err
}

// insert stores an invitation. It returns false if the address has an open one, which a concurrent
// call made.
func insert(ctx context.Context, tx *db.Tx, i Invitation) (bool, error) {
	stored := make([]storedRole, 0, len(i.Roles))
	for _, r := range i.Roles {
		stored = append(stored, storedRole{r.Name, r.ID})
	}
	n, err := tx.Exec(ctx, `INSERT INTO invitations (tenant_id, id, email, email_key, given_name, family_name, locale,
		roles, group_ids, inviter_kind, inviter_id, inviter_tenant, inviter_name, token_hash, lifetime, created_at,
		expires_at, kept_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT DO NOTHING`,
		i.ID, i.Email, i.emailKey, i.GivenName, i.FamilyName, i.Locale, text(stored), text(i.Groups), i.By.Kind,
		i.By.ID, i.By.Tenant, i.By.Name, i.hash, int64(i.Lifetime/time.Second), i.CreatedAt, i.ExpiresAt,
		i.ExpiresAt.Add(kept))
	return n == 1, err
}

func text(v any) string {
	b, _ := json.Marshal(v) // texts and ids only
	return string(b)
}

// Get returns an invitation, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, invitation id.ID) (Invitation, error) {
	return found(db.One(ctx, tx, scan, `SELECT `+columns+` FROM invitations WHERE tenant_id = $1 AND id = $2`,
		invitation))
}

// hold is Get for an invitation that is about to change: its row is locked until the transaction
// ends.
func hold(ctx context.Context, tx *db.Tx, invitation id.ID) (Invitation, error) {
	return found(db.One(ctx, tx, scan, `UPDATE invitations SET expires_at = expires_at
		WHERE tenant_id = $1 AND id = $2 RETURNING `+columns, invitation))
}

// holdOpen holds the open invitation of an address, or returns ErrNotFound.
func holdOpen(ctx context.Context, tx *db.Tx, emailKey string) (Invitation, error) {
	return found(db.One(ctx, tx, scan, `UPDATE invitations SET expires_at = expires_at
		WHERE tenant_id = $1 AND email_key = $2`+isOpen+` RETURNING `+columns, emailKey))
}

// count returns how many invitations of the tenant were not accepted.
func count(ctx context.Context, tx *db.Tx) (int64, error) {
	return db.One(ctx, tx, func(row db.Row) (int64, error) {
		var n int64
		err := row.Scan(&n)
		return n, err
	}, `SELECT count(*) FROM invitations WHERE tenant_id = $1 AND accepted_at IS NULL`)
}

// Filter narrows a list of invitations. A zero field does not.
type Filter struct {
	Status Status
	Email  string // exactly, in any case
}

// List returns invitations, the latest first.
func List(ctx context.Context, tx *db.Tx, f Filter, p page.Request) (page.List[Invitation], error) {
	query := `SELECT ` + columns + ` FROM invitations WHERE tenant_id = $1`
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	switch f.Status { // as StatusAt
	case "":
	case Pending:
		query += isOpen + ` AND expires_at > ` + arg(tx.Now())
	case Expired:
		query += isOpen + ` AND expires_at <= ` + arg(tx.Now())
	case Accepted:
		query += ` AND accepted_at IS NOT NULL`
	case Withdrawn:
		query += ` AND accepted_at IS NULL AND withdrawn_at IS NOT NULL`
	default:
		return page.List[Invitation]{}, fault.InvalidField("invitation.invalid", "status",
			"The status is one of pending, accepted, withdrawn and expired.")
	}
	if f.Email != "" {
		key, ok := user.EmailKey(f.Email)
		if !ok {
			return page.Of(p, nil, idOf), nil
		}
		query += ` AND email_key = ` + arg(key)
	}
	if !p.After.IsZero() {
		query += ` AND id < ` + arg(p.After)
	}
	all, err := db.List(ctx, tx, scan, query+` ORDER BY id DESC LIMIT `+arg(p.Fetch()), args...)
	if err != nil {
		return page.List[Invitation]{}, err
	}
	return page.Of(p, all, idOf), nil
}

func idOf(i Invitation) id.ID { return i.ID }

// Find returns the invitation of a link, whatever became of it, without using the link: mail
// scanners open links too. It fails with ErrNotFound for an unknown link, and for one that was
// replaced when the invitation was sent again.
func Find(ctx context.Context, tx *db.Tx, token string) (Invitation, error) {
	hash, ok := hashOf(tx, token)
	if !ok {
		return Invitation{}, ErrNotFound
	}
	return found(db.One(ctx, tx, scan,
		`SELECT `+columns+` FROM invitations WHERE tenant_id = $1 AND token_hash = $2`, hash))
}

func hashOf(tx *db.Tx, token string) ([]byte, bool) {
	t, err := secret.ParseToken(token)
	if err != nil || t.Tenant != tx.Tenant() || t.Kind != secret.Invitation {
		return nil, false
	}
	return t.Hash, true
}

// accept marks the pending invitation of a link as accepted. Of several concurrent calls exactly
// one gets it, and the others get ErrNotFound.
func accept(ctx context.Context, tx *db.Tx, token string) (Invitation, error) {
	hash, ok := hashOf(tx, token)
	if !ok {
		return Invitation{}, ErrNotFound
	}
	return found(db.One(ctx, tx, scan, `UPDATE invitations SET accepted_at = $3, kept_until = $4
		WHERE tenant_id = $1 AND token_hash = $2 AND expires_at > $3`+isOpen+` RETURNING `+columns,
		hash, tx.Now(), tx.Now().Add(kept)))
}

// Purge removes at most limit invitations of the tenant that ended long ago, and reports whether
// more may be left.
func Purge(ctx context.Context, tx *db.Tx, limit int) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM invitations WHERE tenant_id = $1 AND id IN
		(SELECT id FROM invitations WHERE tenant_id = $1 AND kept_until <= $2 ORDER BY kept_until LIMIT $3)`, tx.Now(),
		limit)
	return n == int64(limit), err
}
