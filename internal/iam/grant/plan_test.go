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
		lines, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) ([]string, error) {
			return db.List(context.Background(), tx, db.Column[string], "EXPLAIN "+grant.SelectOpaque, tx.Now(),
				[]byte("hash"), false)
		})
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if !strings.Contains(plan, "access_tokens_pkey on access_tokens") {
			t.Errorf("the token is not found by its key:\n%s", plan)
		}
	})
}
