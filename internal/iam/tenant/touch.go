package tenant

import "github.com/gatehouse-iam/gatehouse/internal/kit/db"

// Touch says that tx changes something of its tenant that replicas keep copies of: its
// settings, applications or keys. Copies are dropped on this replica right after the commit
// and on the others within a second of it. It costs no round trip.
//
// The clock's row is locked until the commit, so versions become visible in the order they
// were given: who has seen version n has seen every change up to n.
func Touch(tx *db.Tx) {
	tx.Later(`UPDATE config_clock SET version = version + 1, tenant_id = $1 WHERE id = 1`)
	tx.Later(`UPDATE tenants SET config_version = (SELECT version FROM config_clock WHERE id = 1) WHERE id = $1`)
	tx.Changed()
}
