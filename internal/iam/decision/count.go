package decision

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Counts are sums over records.
type Counts struct {
	Allowed, Denied int64 // answers to applications: an action on a resource, or a plan
	Calls           int64 // of the management API that were allowed
}

// Count sums the records of a time, from inclusive and to exclusive.
func Count(ctx context.Context, tx *db.Tx, from, to time.Time) (Counts, error) {
	return db.One(ctx, tx, func(row db.Row) (Counts, error) {
		var c Counts
		err := row.Scan(&c.Allowed, &c.Denied, &c.Calls)
		return c, err
	}, `SELECT COALESCE(sum(CASE WHEN kind IN ($4, $5, $6) THEN allowed ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN kind IN ($4, $5, $6) THEN denied ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN kind = $7 AND allowed > 0 THEN 1 ELSE 0 END), 0)
		FROM decisions WHERE tenant_id = $1 AND id >= $2 AND id < $3`,
		First(from), First(to), Check.number(), Plan.number(), Evaluation.number(), Admin.number())
}
