package tenant

import "github.com/gatehouse-iam/gatehouse/internal/kit/db"

// Touch marks a transaction that changes what replicas keep copies of: its tenant's settings,
// applications or keys. This replica drops its copies right after the commit, the others within a
// second. Touch costs no round trip.
//
// The clock's row is locked until the commit, so versions become visible in their order: a replica
// that has seen version n has seen every change up to n.
func Touch(tx *db.Tx) {
	tx.Later(`UPDATE config_clock SET version = version + 1, tenant_id = $1 WHERE id = 1`)
	tx.Later(`UPDATE tenants SET config_version = (SELECT version FROM config_clock WHERE id = 1) WHERE id = $1`)
	tx.Changed()
}
