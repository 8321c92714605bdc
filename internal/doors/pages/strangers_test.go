package pages_test

import (
	"net/url"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A page that asks for a sign-in stores nothing: its browser carries the flow. Nor does a page that
// asks a person with a session for more.
func TestPagesThatAskForASignInStoreNothing(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		flows := func() int64 {
			t.Helper()
			n, err := db.Read(ctx, h.DB, h.c, func(tx *db.Tx) (int64, error) {
				return db.One(ctx, tx, func(r db.Row) (int64, error) {
					var n int64
					return n, r.Scan(&n)
				}, `SELECT count(*) FROM signin_flows WHERE tenant_id = $1`)
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		pages := []string{"/account", "/account/password", "/account/authenticator", "/account/sessions", "/signin",
			"/register", "/forgotten", "/signout", "/account/session"}
		for _, page := range pages {
			h.guest().Open(page)
			h.guest().Post(page, url.Values{})
		}
		if n := flows(); n != 0 {
			t.Errorf("the pages stored %d flows of strangers", n)
		}
		h.person("ada@acme.example")
		g := h.guest()
		says(t, g.SignIn("ada@acme.example"), 200, "Hello")
		before := flows()
		h.Must(h.Holder("acme", role.Owner), "PATCH", "acme", "/settings", map[string]any{"mfa": "required"})
		for range 3 {
			says(t, g.Open("/account"), 200, "authenticator app")
		}
		if n := flows() - before; n != 0 {
			t.Errorf("a person who is asked for more stored %d flows", n)
		}
		// The flow that the browser carries leads to the page.
		says(t, g.FillForm(g.Open("/account/sessions"), "/signin/enrol", "code", "000000"), 422, "code")
	})
}
