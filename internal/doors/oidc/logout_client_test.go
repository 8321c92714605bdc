package oidc_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A confidential client ends the session of an ID token of its own, without the browser and its
// cookies. Nothing else does: no other client's token, no wrong secret, no public client.
func TestLogoutByAClient(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web, FirstParty: true})
		other := w.client(application.New{Type: application.Web, Name: "Other", FirstParty: true})
		public := w.client(application.New{Type: application.SPA, Name: "Public", FirstParty: true})
		b, s, hint := c.hinted(t)
		got := c.tokensIn(t, b, "scope", "openid")
		_, _, publicHint := public.hinted(t)
		const path = "/oauth2/logout"
		refusedWith(t, "another client", other.post(path, "id_token_hint", hint), 400, "invalid_request")
		refusedWith(t, "no hint", c.post(path), 400, "invalid_request")
		refusedWith(t, "no ID token", c.post(path, "id_token_hint", got.Access), 400, "invalid_request")
		forged := hint[:len(hint)-4] + "AAAA"
		refusedWith(t, "a forged hint", c.post(path, "id_token_hint", forged), 400, "invalid_request")
		refusedWith(t, "a wrong secret", w.Send(form(w, path, "id_token_hint", hint, "client_id", c.ClientID,
			"client_secret", "wrong")), 401, "invalid_client")
		refusedWith(t, "a public client's secret", w.Send(form(w, path, "id_token_hint", publicHint, "client_id",
			public.ClientID, "client_secret", "x")), 401, "invalid_client")
		r := form(w, path, "id_token_hint", publicHint)
		r.SetBasicAuth(public.ClientID, "")
		refusedWith(t, "a public client", w.Send(r), 401, "invalid_client")
		if !w.sessionLives(s) {
			t.Fatal("a refused request ended the session")
		}
		w.Clock.Advance(time.Hour) // an expired ID token names its session still
		for _, what := range []string{"ends", "has ended already"} {
			if a := c.post(path, "id_token_hint", hint); a.Status != http.StatusNoContent || len(a.Body) > 0 {
				t.Errorf("the session %s: %d %s", what, a.Status, a.Body)
			}
		}
		if w.sessionLives(s) || b.signedInStill(t, c) {
			t.Error("the session was not ended")
		}
		refusedWith(t, "its refresh token", c.refresh(got.Refresh), 400, "invalid_grant")
		if !slices.Contains(w.actions(), "session.revoke") {
			t.Error("the end of the session was not audited")
		}
		// By the secret in the form.
		_, s, hint = c.hinted(t)
		if a := w.Send(form(w, path, "id_token_hint", hint, "client_id", c.ClientID, "client_secret",
			c.Secret.Reveal())); a.Status != http.StatusNoContent || w.sessionLives(s) {
			t.Errorf("client_secret_post: %d %s", a.Status, a.Body)
		}
		// A new application with the client_id of a deleted one has nothing of it.
		_, s, hint = c.hinted(t)
		w.Clock.Advance(time.Minute)
		w.Do(w.c, func(tx *db.Tx) error {
			tenant.Touch(tx)
			_, err := tx.Exec(ctx, `UPDATE applications SET created_at = $3, updated_at = $3
				WHERE tenant_id = $1 AND id = $2`, c.ID, tx.Now())
			return err
		})
		refusedWith(t, "an earlier application's token", c.post(path, "id_token_hint", hint), 400, "invalid_request")
		if !w.sessionLives(s) {
			t.Error("the token of an earlier application ended a session")
		}
	})
}

// A program that sends neither a cookie nor credentials is told that it ended nothing.
func TestLogoutTellsAProgramThatItIsNoBrowser(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web, FirstParty: true})
		_, s, hint := c.hinted(t)
		refusedWith(t, "a program", w.Send(get(w, "/oauth2/logout", "id_token_hint", hint)), 400, "invalid_request")
		if !w.sessionLives(s) {
			t.Error("the session was ended")
		}
		r := get(w, "/oauth2/logout", "id_token_hint", hint)
		r.Header.Set("Accept", "text/html,*/*")
		if a := w.Send(r); a.Status != http.StatusSeeOther {
			t.Errorf("a browser without cookies: %d", a.Status)
		}
	})
}
