package oidc

import (
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// revoke ends a token of the client's own (RFC 7009). Whatever else it is shown, the
// answer is the same 200: a client learns nothing about tokens that are not its own.
func (d *Door) revoke(w http.ResponseWriter, r *http.Request) error {
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	token := p.get("token")
	if token == "" {
		return invalidRequest("token is missing.")
	}
	ctx, c := r.Context(), web.CallerOf(r)
	if _, err := secret.ParseToken(token); err == nil {
		err = d.DB.Update(ctx, actorOf(c, app), func(tx *db.Tx) error { return grant.RevokeToken(ctx, tx, token, app.ID) })
		if err != nil {
			return err
		}
	} else {
		t, err := d.verifier.Verify(ctx, c, web.SiteOf(r).Base, token)
		if err != nil && !errors.Is(err, grant.ErrToken) {
			return err
		}
		if err == nil && t.Application == app.ID {
			err = d.DB.Update(ctx, actorOf(c, app), func(tx *db.Tx) error { grant.RevokeJWT(tx, t, app.ID); return nil })
			if err != nil {
				return err
			}
		}
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
	w.WriteHeader(http.StatusOK)
	return nil
}
