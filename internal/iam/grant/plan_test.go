package grant_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Postgres plans for an empty table, which it knows nothing of, and keeps the plan. So no index but
// that of the key may serve a token.
func TestATokenIsFoundByItsKeyInATableWithoutStatistics(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		if w.Name() != "postgres" {
			t.Skip("SQLite keeps no plan")
		}
		now, key := w.Clock.Now(), []byte("hash")
		for name, c := range map[string]struct {
			sql  string
			args []any
			key  string
		}{
			"opaque token":     {grant.SelectOpaque, []any{now, key, false}, "access_tokens_pkey on access_tokens"},
			"own opaque token": {grant.SelectOwn, []any{now, key}, "access_tokens_pkey on access_tokens"},
			"code": {grant.UseCode, []any{key, now, w.app},
				"authorization_codes_pkey on authorization_codes"},
			"refresh token": {grant.RotateFamily, []any{now, key, w.app, key, "key", now},
				"refresh_tokens_pkey on refresh_tokens"},
		} {
			lines, err := db.Write(context.Background(), w.DB, w.c, func(tx *db.Tx) ([]string, error) {
				return db.List(context.Background(), tx, db.Column[string], "EXPLAIN "+c.sql, c.args...)
			})
			if err != nil {
				t.Fatal(name, err)
			}
			plan := strings.Join(lines, "\n")
			if !strings.Contains(plan, c.key) {
				t.Errorf("the %s is not found by its key:\n%s", name, plan)
			}
			if strings.Contains(plan, "Update") && strings.Contains(plan, "Loop") {
				t.Errorf("the %s is joined with grants, perhaps all of its application:\n%s", name, plan)
			}
		}
	})
}
