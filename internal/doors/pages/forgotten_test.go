package pages_test

import (
	"net/url"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// signIns returns how many sessions the house has, and how many sign-ins succeeded.
func (h *house) signIns() [2]int {
	h.T.Helper()
	var n [2]int
	h.Do(h.c, func(tx *db.Tx) error {
		sessions, err := session.List(ctx, tx, filter.All(), id.ID{}, id.ID{}, 100)
		if err != nil {
			return err
		}
		l, err := audit.List(ctx, tx, audit.Filter{Action: "signin.succeed"}, page.First())
		n = [2]int{len(sessions), len(l.Items)}
		return err
	})
	return n
}

// Everything is proved in a flow whose address was confirmed elsewhere. Its session has to wait for
// a page that gives the session's token to the browser.
func TestForgottenStartsNoSession(t *testing.T) {
	for _, path := range []string{"/forgotten", "/signin/forget"} {
		for by, signedIn := range map[string]bool{"another tab": true, "another browser": false} {
			t.Run(path+" after "+by, func(t *testing.T) {
				both(t, open, func(t *testing.T, h *house) {
					g := h.guest()
					g.Fill(g.Open("/register"), registration("ada@acme.example")...)
					link := h.linkIn(h.Work(), "ada@acme.example")
					waits := g.SignIn("ada@acme.example")
					flow := waits.Find(t, flowRE)
					confirmer := g
					if !signedIn {
						confirmer = h.guest()
					}
					says(t, confirmer.SignIn("ada@acme.example"), 200, "Check your email")
					confirmed := confirmer.Fill(confirmer.Open(link), "password", password)
					says(t, confirmed, 200, "Hello, Ada")
					before := h.signIns()
					if before != [2]int{1, 1} {
						t.Fatalf("sessions and sign-ins: %d, want one of each", before)
					}
					g.Post(path, url.Values{"flow": {flow}, "email": {"bob@acme.example"}})
					if after := h.signIns(); after != before {
						t.Errorf("sessions and sign-ins: %d, want %d as before", after, before)
					}
					if (g.session() != nil) != signedIn {
						t.Errorf("signed in: %t, want %t as before", !signedIn, signedIn)
					}
					if path == "/forgotten" { // the flow itself goes on
						says(t, g.Open("/signin?flow="+flow), 200, "Hello, Ada")
						if g.session() == nil {
							t.Error("the flow ended without a session")
						}
					}
				})
			})
		}
	}
}
