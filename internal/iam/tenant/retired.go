package tenant

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// ErrNameRetired refuses the slug or a domain of a deleted tenant. An issuer is never reassigned
// (OpenID Connect Core 1.0, section 5.7): applications may still trust it.
var ErrNameRetired = fault.New(fault.Conflict, "tenant.name_retired",
	"This name belonged to a tenant that was deleted. It cannot be used again. Choose another.")

// retireNames keeps the slug and the domains of the tenant that tx is bound to from other tenants.
// The caller deletes the tenant's rows later in the same transaction.
func retireNames(tx *db.Tx) {
	tx.Later(`INSERT INTO retired_names (name, holder, retired_at)
		SELECT slug, id, CAST($2 AS bigint) FROM tenants WHERE id = $1 UNION ALL
		SELECT domain, tenant_id, CAST($2 AS bigint) FROM tenant_domains WHERE tenant_id = $1`, tx.Now())
}

// checkRetired fails with ErrNameRetired if a deleted tenant had name. A slug has no dot and a
// domain has one, so neither is taken for the other.
//
// The caller inserts its own row with the name first. That insert waits for a deletion that has not
// committed, so this later statement sees what the deletion retired.
func checkRetired(ctx context.Context, tx *db.Tx, field, name string) error {
	rows, err := db.List(ctx, tx, db.Column[string],
		`SELECT name FROM retired_names WHERE name = $2 AND holder <> $1 LIMIT 1`, name)
	if err != nil || len(rows) == 0 {
		return err
	}
	f := *ErrNameRetired
	f.Fields = []fault.Field{{Name: field, Reason: name + " belonged to a tenant that was deleted. " +
		"It cannot be used again. Choose another."}}
	return &f
}
