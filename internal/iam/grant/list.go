package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Of selects grants by their user and their application. A zero id selects any.
type Of struct {
	User        id.ID
	Application id.ID
}

// held is the condition under which an application holds a grant g at $2: it is valid, and its code
// was redeemed.
const held = living + ` AND NOT EXISTS (SELECT 1 FROM authorization_codes c
	WHERE c.tenant_id = $1 AND c.grant_id = g.id AND c.used_at IS NULL)`

// filterable are the attributes that policies may limit the list by.
var filterable = filter.Columns{"id": {SQL: "g.id", Kind: filter.ID}}

// List returns at most p.Fetch() grants that applications hold and shown admits, oldest first.
func List(ctx context.Context, tx *db.Tx, shown filter.Filter, of Of, p page.Request) ([]Grant, error) {
	args := []any{tx.Now(), p.Fetch()}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	where, err := shown.SQL(filterable, arg)
	if err != nil {
		return nil, err
	}
	for _, limit := range []struct {
		condition string
		id        id.ID
	}{{"g.id > ", p.After}, {"g.user_id = ", of.User}, {"g.application_id = ", of.Application}} {
		if !limit.id.IsZero() {
			where += ` AND ` + limit.condition + arg(limit.id)
		}
	}
	return db.List(ctx, tx, scanGrant, `SELECT `+grantColumns+` FROM grants g
		WHERE g.tenant_id = $1 AND `+held+where+` ORDER BY g.id LIMIT $3`, args...)
}

// Get returns a grant that its application holds. It fails with a NotFound fault.
func Get(ctx context.Context, tx *db.Tx, grant id.ID) (Grant, error) {
	g, err := db.One(ctx, tx, scanGrant, `SELECT `+grantColumns+` FROM grants g
		WHERE g.tenant_id = $1 AND g.id = $3 AND `+held, tx.Now(), grant)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, errNotFound
	}
	return g, err
}

// hold is Get, and locks the grant until the transaction ends.
func hold(ctx context.Context, tx *db.Tx, grant id.ID) (Grant, error) {
	if _, err := tx.Exec(ctx, `UPDATE grants SET revoked_at = revoked_at WHERE tenant_id = $1 AND id = $2`,
		grant); err != nil {
		return Grant{}, err
	}
	return Get(ctx, tx, grant)
}
