package oidc

import (
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// revoke ends a token of the client's own (RFC 7009). For any other token the answer is the same
// 200: a client learns nothing about tokens that are not its own.
func (d *Door) revoke(w http.ResponseWriter, r *http.Request) error {
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	token := p.get("token")
	if token == "" {
		return invalidRequest("token is missing.")
	}
	if err := d.revokeToken(r, app, token); err != nil {
		return err
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
	w.WriteHeader(http.StatusOK)
	return nil
}

func (d *Door) revokeToken(r *http.Request, app *application.Application, token string) error {
	ctx, c := r.Context(), web.CallerOf(r)
	if _, err := secret.ParseToken(token); err == nil {
		return d.DB.Update(ctx, actorOf(c, app), func(tx *db.Tx) error {
			return grant.RevokeToken(ctx, tx, d.Ring, token, app.ID)
		})
	}
	t, err := d.verifier.Verify(ctx, c, token)
	if errors.Is(err, grant.ErrToken) || err == nil && t.Application != app.ID {
		return nil
	}
	if err != nil {
		return err
	}
	return d.DB.Update(ctx, actorOf(c, app), func(tx *db.Tx) error {
		grant.RevokeJWT(tx, t, app.ID)
		return nil
	})
}
