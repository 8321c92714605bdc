package oidc_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Anonymous requests store nothing. A request that no cookie can hold is stored, within a limit.
func TestAnonymousRequestsStoreNothing(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		_, challenge := pkce()
		stored := func() int64 {
			t.Helper()
			var n int64
			if err := w.View(ctx, w.c, func(tx *db.Tx) error {
				_, err := db.One(ctx, tx, func(r db.Row) (struct{}, error) { return struct{}{}, r.Scan(&n) },
					`SELECT count(*) FROM signin_flows WHERE tenant_id = $1`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for range 30 {
			toSignIn(t, w.browser().Visit(c.authorizeURL(challenge)))
		}
		if n := stored(); n != 0 {
			t.Errorf("30 anonymous requests stored %d flows", n)
		}
		raw := make([]byte, 2500)
		_, _ = rand.Read(raw)
		state := base64.RawURLEncoding.EncodeToString(raw)
		for i := range 25 {
			a := w.browser().Visit(c.authorizeURL(challenge, "state", state))
			sent := strings.Contains(a.Header.Get("Location"), "error=temporarily_unavailable")
			if a.Status != http.StatusSeeOther || sent != (i >= 20) {
				t.Errorf("large request %d: %d %.80s", i+1, a.Status, a.Header.Get("Location"))
			}
		}
		if n := stored(); n != 20 {
			t.Errorf("25 large requests stored %d flows, want 20", n)
		}
	})
}
