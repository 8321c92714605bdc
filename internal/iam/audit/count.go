package audit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Count is how many events or records there are of an action.
type Count struct {
	Action    string
	GrantType string // of access records
	N         int64
}

// CountEvents counts the events with one of the actions, from inclusive and to exclusive. An index
// serves it.
func CountEvents(ctx context.Context, tx *db.Tx, from, to time.Time, actions ...string) ([]Count, error) {
	args, places := []any{from, to}, make([]string, len(actions))
	for i, a := range actions {
		args, places[i] = append(args, a), fmt.Sprintf("$%d", i+4)
	}
	return db.List(ctx, tx, func(row db.Row) (Count, error) {
		var c Count
		err := row.Scan(&c.Action, &c.N)
		return c, err
	}, `SELECT action, count(*) FROM audit_events WHERE tenant_id = $1 AND at >= $2 AND at < $3
		AND action IN (`+strings.Join(places, ", ")+`) GROUP BY action`, args...)
}

// CountAccess counts the access records by action and grant type, from inclusive and to exclusive.
func CountAccess(ctx context.Context, tx *db.Tx, from, to time.Time) ([]Count, error) {
	return db.List(ctx, tx, func(row db.Row) (Count, error) {
		var c Count
		err := row.Scan(&c.Action, &c.GrantType, &c.N)
		return c, err
	}, `SELECT action, grant_type, count(*) FROM access_records WHERE tenant_id = $1 AND at >= $2 AND at < $3
		GROUP BY action, grant_type`, from, to)
}
