package role

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Source is a role that a subject has at this moment, and where it comes from.
type Source struct {
	Role      string
	Until     time.Time // zero: without an end
	Group     id.ID     // whose member the user is; zero for the subject's own assignment
	GroupName string
}

// SourcesOf returns the roles of a subject that have not ended, with those of a user's groups. A
// role that comes from several places is there for each of them.
func SourcesOf(ctx context.Context, tx *db.Tx, s Subject) ([]Source, error) {
	const lasting = ` AND (g.until IS NULL OR g.until > $3)`
	query := `SELECT g.role, g.until, NULL AS group_id, '' AS group_name FROM role_grants g
		WHERE g.tenant_id = $1 AND g.subject_id = $2` + lasting
	if !s.User.IsZero() {
		query += ` UNION ALL SELECT g.role, g.until, gr.id, gr.name FROM group_members m
			JOIN groups gr ON gr.tenant_id = $1 AND gr.id = m.group_id
			JOIN role_grants g ON g.tenant_id = $1 AND g.subject_id = m.group_id
			WHERE m.tenant_id = $1 AND m.user_id = $2` + lasting
	}
	return db.List(ctx, tx, func(r db.Row) (Source, error) {
		var s Source
		err := r.Scan(&s.Role, &s.Until, &s.Group, &s.GroupName)
		return s, err
	}, query+` ORDER BY 1, 4, 3`, s.id(), tx.Now())
}
