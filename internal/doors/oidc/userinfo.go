package oidc

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// userinfo answers the claims about the user of an access token (OpenID Connect Core §5.3). They
// are those of its scopes, and those that the claims parameter wants from userinfo, but not those
// that it wants in the ID token.
func (d *Door) userinfo(w http.ResponseWriter, r *http.Request) error {
	bearer, err := bearerOf(r)
	if err != nil {
		return challenged(r, err)
	}
	c := web.CallerOf(r)
	var about *claim.About
	want := access.Want{Own: resourceserver.Userinfo, User: true,
		Along: func(ctx context.Context, t grant.Token) func(*db.Tx) {
			ask, err := d.askOf(ctx, c, t)
			if err != nil {
				return nil // found again below
			}
			return func(tx *db.Tx) { about = claim.Read(tx, ask, claim.Userinfo) }
		}}
	h, err := d.Access.Admit(r.Context(), c, web.SiteOf(r), access.Proof{Bearer: bearer}, want)
	if err != nil {
		return challenged(r, err)
	}
	t := h.Token
	key, err := d.Subjects.For(r.Context(), h.Caller, h.Application)
	if err != nil {
		return err
	}
	if about == nil { // this replica sees the token for the first time
		ask, err := d.askOf(r.Context(), c, t)
		if err != nil {
			return err
		}
		about, err = db.Read(r.Context(), d.DB, h.Caller, func(tx *db.Tx) (*claim.About, error) {
			return claim.Read(tx, ask, claim.Userinfo), nil
		})
		if err != nil {
			return err
		}
	}
	out := about.Claims(claim.Userinfo, "")
	out["sub"] = key.Of(t.User)
	d.noteMappings(r.Context(), h.Caller, h.Application, about)
	writeJSON(w, http.StatusOK, jsonBody(out))
	return nil
}

// askOf returns what userinfo asks for the application of a token.
func (d *Door) askOf(ctx context.Context, c caller.Caller, t grant.Token) (claim.Ask, error) {
	wish, err := claimsOf(t.Claims)
	if err != nil {
		return claim.Ask{}, err
	}
	app, err := d.Applications.ByID(ctx, c, t.Application)
	if err != nil {
		return claim.Ask{}, err
	}
	return claim.Ask{Application: app, User: t.User, Scopes: t.Scopes, Wished: wish.names()}, nil
}

// bearerOf returns the access token in the header or in the body of a form (RFC 6750 §2.1, §2.2).
// It ignores the query, which is logged.
func bearerOf(r *http.Request) (string, error) {
	var found []string
	if values := r.Header["Authorization"]; len(values) > 0 {
		token, ok := access.Bearer(values)
		if !ok {
			return "", access.ErrNoToken
		}
		found = append(found, token)
	}
	contentType := r.Header.Get("Content-Type")
	if r.Method == http.MethodPost && strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		form, err := web.Form(r)
		if err != nil {
			return "", err
		}
		p, err := paramsOf(form)
		if err != nil || p.repeated != "" {
			return "", fault.New(access.ErrTwice.Kind, access.ErrTwice.Code,
				"The form cannot be read, or a parameter was sent twice.")
		}
		if p.has("access_token") {
			found = append(found, p.get("access_token"))
		}
	}
	switch len(found) {
	case 0:
		return "", access.ErrNoToken
	case 1:
		return found[0], nil
	}
	return "", access.ErrTwice
}

// challenged returns a fault of admission as the answer with its challenge (RFC 6750 §3). Any other
// error stays as it is.
func challenged(r *http.Request, err error) error {
	at := access.Resource{Site: web.SiteOf(r), Own: resourceserver.Userinfo}
	challenge := at.Challenge(err)
	if challenge == "" {
		return err
	}
	f := fault.As(err)
	code := codeInvalidToken
	switch {
	case errors.Is(err, access.ErrScope):
		code = codeInsufficientScope
	case errors.Is(err, access.ErrTwice):
		code = codeInvalidRequest
	case errors.Is(err, grant.ErrStepUp):
		code = codeStepUp
	}
	return &apiError{status: web.Status(f.Kind), code: code, description: f.Reason, challenge: challenge,
		cause: access.Why(err), clientID: access.ClientOf(err)}
}
