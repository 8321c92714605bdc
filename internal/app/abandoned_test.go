package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A caller that leaves while its change waits for another one's transaction is not a failure of the
// server.
func TestACallerThatLeavesIsNoFailure(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme, token := w.Tenant("acme", nil), w.Holder("acme", role.Owner)
		w.Do(acme, func(tx *db.Tx) error {
			u, err := user.Create(t.Context(), tx, user.Profile{Username: "ada"})
			if err != nil {
				return err
			}
			if _, err := user.Get(t.Context(), tx, u.ID); err != nil {
				return err
			}
			ctx, leave := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer leave()
			r := w.Request(token, "POST", "acme", "/api/v1/users", "application/json",
				strings.NewReader(`{"username":"ada"}`)).WithContext(ctx)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				t.Errorf("answered: %s", resp.Status)
				_ = resp.Body.Close()
			}
			testkit.Eventually(t, "the request's line", func() bool {
				return strings.Contains(w.Log.String(), `route="POST /api/v1/users"`)
			})
			return nil
		})
		for line := range strings.Lines(w.Log.String()) {
			if strings.Contains(line, `route="POST /api/v1/users"`) &&
				(!strings.Contains(line, "level=INFO") || !strings.Contains(line, "status=499")) {
				t.Error(line)
			}
		}
	})
}
