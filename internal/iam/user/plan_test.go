package user_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// TestFindingUsesIndexes: under row-level security only leakproof operators reach
// an index; a condition that shows as a filter reads the whole tenant.
func TestFindingUsesIndexes(t *testing.T) {
	d := testkit.Open(t, testkit.Postgres(t))
	c := d.Tenant(t, "acme")
	// Enough rows that the planner cares.
	if err := d.Update(t.Context(), c, func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(),
			`INSERT INTO users (tenant_id, id, email, email_key, username, username_key, status, created_at, updated_at)
			SELECT $1, gen_random_uuid(), 'u' || n, 'u' || n, 'n' || n, 'n' || n, 'active', 0, 0 FROM generate_series(1, 2000) n`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		sql   string
		args  []any
		index string
	}{
		"by email": {`SELECT id FROM users WHERE tenant_id = $1 AND email_key = $2`, []any{"ada@example.com"},
			"email_key = "},
		"by username": {`SELECT id FROM users WHERE tenant_id = $1 AND username_key = $2`, []any{"ada"},
			"username_key = "},
		"by search": {`SELECT user_id FROM user_terms WHERE tenant_id = $1 AND term >= $2 AND term < $3`,
			[]any{"ada", "ada\U0010FFFF"}, "term >= "},
		"by status": {`SELECT id FROM users WHERE tenant_id = $1 AND status = $2 ORDER BY id LIMIT 50`, []any{"active"},
			"status = "},
	} {
		var plan []string
		err := d.View(t.Context(), c, func(tx *db.Tx) error {
			var err error
			plan, err = db.List(t.Context(), tx, func(r db.Row) (string, error) {
				var line string
				err := r.Scan(&line)
				return line, err
			}, "EXPLAIN "+tc.sql, tc.args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		indexed := false
		for _, line := range plan {
			indexed = indexed || strings.Contains(line, "Index Cond") && strings.Contains(line, tc.index)
		}
		if !indexed {
			t.Errorf("%s:\n%s", name, strings.Join(plan, "\n"))
		}
	}
}
