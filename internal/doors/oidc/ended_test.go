package oidc_test

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// unseen changes an application, and the replica does not learn of it until seen.
func (w *scene) unseen(c *client, sql string) {
	w.T.Helper()
	_, err := w.App.Applications.ByClientID(ctx, w.c, c.ClientID)
	if err == nil {
		_, err = w.App.Applications.ByID(ctx, w.c, c.ID)
	}
	if err != nil {
		w.T.Fatal(err)
	}
	w.Do(w.c, func(tx *db.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE applications SET generation = generation + 1, `+sql+`
			WHERE tenant_id = $1 AND id = $2`, c.ID)
		return err
	})
}

func (w *scene) seen() { w.Do(w.c, func(tx *db.Tx) error { tenant.Touch(tx); return nil }) }

// A replica learns of a change after its commit. What it gives until then, by its copy of the
// application, ends like what was given before.
func TestAnEarlierCopyOfAnApplicationGivesNothing(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c, tool := w.client(application.New{}), w.cli()
		b := w.browser()
		b.signIn(w.user)
		d := tool.device(t)
		w.unseen(tool, `grants_from = generation + 1`)
		w.unseen(c, `grants_from = generation + 1`)
		verifier, challenge := pkce()
		code := w.response(t, b.Visit(c.authorizeURL(challenge))).Get("code")
		w.seen()
		refusedWith(t, "a code by an earlier copy", c.post("/oauth2/token", "grant_type", "authorization_code",
			"code", code, "redirect_uri", redirectURI, "code_verifier", verifier), 400, "invalid_grant")
		d.answered(t, b, "allow")
		mustTokens(t, d.poll())
		mustTokens(t, c.refresh(c.tokensIn(t, b).Refresh))
	})
}

// The same holds for the right to outlive a session.
func TestAnEarlierCopyOfAnApplicationGivesNothingOffline(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{})
		b := w.browser()
		s := b.signIn(w.user)
		w.unseen(c, `offline_from = generation + 1`)
		got := c.tokensIn(t, b)
		w.seen()
		got = mustTokens(t, c.refresh(got.Refresh))
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "signout") })
		refusedWith(t, "after the session", c.refresh(got.Refresh), 400, "invalid_grant")
	})
}

// What an approved device holds ends with the application's grants.
func TestADevicesTokensEndWithTheApplications(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		d := w.cli().device(t)
		b := w.browser()
		b.signIn(w.user)
		d.answered(t, b, "allow")
		got := mustTokens(t, d.poll())
		w.Must(w.Holder("acme", role.Owner), "DELETE", "acme", "/applications/"+d.c.ID.String()+"/grants", nil)
		refusedWith(t, "after the end", d.c.refresh(got.Refresh), 400, "invalid_grant")
	})
}
