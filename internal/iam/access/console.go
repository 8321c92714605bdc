package access

import (
	"context"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Proof is what a request shows of its sender: a bearer token, or the cookies of the admin console.
type Proof struct {
	Bearer  string
	Console []string // each may be of the browser's console session; Want.Console accepts them
}

// ProofOf reads the proof of a request to a route that the admin console calls. A request with an
// Authorization header shows only that, whatever cookies came with it. A cookie counts only if a
// page of the same site sent the request. It fails with ErrNoToken or web.ErrCrossOrigin.
func ProofOf(r *http.Request) (Proof, error) {
	if values := r.Header["Authorization"]; len(values) > 0 {
		bearer, ok := Bearer(values)
		if !ok {
			return Proof{}, ErrNoToken
		}
		return Proof{Bearer: bearer}, nil
	}
	cookies := web.Cookies(r, session.ConsoleCookie)
	switch {
	case len(cookies) == 0:
		return Proof{}, ErrNoToken
	case !web.FromOwnPage(r):
		return Proof{}, web.ErrCrossOrigin
	}
	return Proof{Console: cookies}, nil
}

// ofConsole returns the console session that one of the cookies opens, as the token that it stands
// for. It records the visit of the browser's session. It fails with session.ErrNone.
func (g *Guard) ofConsole(ctx context.Context, c caller.Caller, site web.Site, want Want, cookies []string) (
	grant.Token, error) {
	var stale bool
	on, err := db.Read(ctx, g.DB, c, func(tx *db.Tx) (session.Session, error) {
		on, err := session.FindConsole(ctx, tx, cookies...)
		if err != nil {
			return on, err
		}
		stale = on.Stale(tx.Now())
		return on, g.Rules.CheckConsole(ctx, tx, on)
	})
	if err == nil && stale {
		err = g.DB.Update(ctx, c, func(tx *db.Tx) error {
			session.Touch(tx, on.ID)
			return nil
		})
	}
	if err != nil {
		return grant.Token{}, err
	}
	return grant.Token{
		Application: application.ConsoleID, User: on.User, UserName: on.UserName, Session: on.ID,
		Scopes: []string{want.Scope}, Audience: []string{site.Base}, Issuer: site.Base,
		AuthTime: on.AuthTime, AMR: on.AMR, ACR: on.ACR, Address: on.Address, ExpiresAt: on.ExpiresAt,
	}, nil
}
