package oidc

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// userinfo answers what an access token lets its bearer know about its user (OpenID
// Connect Core §5.3): the claims of its scopes and those asked for by the claims
// parameter, never those asked for in the ID token.
func (d *Door) userinfo(w http.ResponseWriter, r *http.Request) error {
	bearer, err := bearerOf(r)
	if err != nil {
		return err
	}
	h, err := d.Access.Admit(r.Context(), web.CallerOf(r), web.SiteOf(r), bearer, access.Want{Scope: scopeOpenID, User: true})
	switch {
	case errors.Is(err, grant.ErrToken):
		return badToken()
	case errors.Is(err, access.ErrScope):
		return &apiError{status: http.StatusForbidden, code: codeInsufficientScope,
			description: "The access token lacks the scope openid.", challenge: access.Challenge(err, scopeOpenID)}
	case err != nil:
		return err
	}
	t := h.Token
	wish, err := claimsOf(t.Claims)
	if err != nil {
		return err
	}
	u, err := db.Read(r.Context(), d.DB, h.Caller, func(tx *db.Tx) (user.User, error) { return user.Get(r.Context(), tx, t.User) })
	if errors.Is(err, user.ErrNotFound) {
		return badToken()
	}
	if err != nil {
		return err
	}
	all := claimsAbout(u)
	out := map[string]any{"sub": u.ID.String()}
	give := func(name string) {
		if v, ok := all[name]; ok {
			out[name] = v
		}
	}
	for _, scope := range t.Scopes {
		for _, name := range scopeClaims[scope] {
			give(name)
		}
	}
	for name := range wish.Userinfo {
		give(name)
	}
	writeJSON(w, http.StatusOK, jsonBody(out))
	return nil
}

// bearerOf finds the access token: in the header, or in the body of a form (RFC 6750
// §2.1, §2.2). Never in the query, where it would be logged.
func bearerOf(r *http.Request) (string, error) {
	var found []string
	if values := r.Header["Authorization"]; len(values) > 0 {
		token, ok := access.Bearer(values)
		if !ok {
			return "", noToken()
		}
		found = append(found, token)
	}
	if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := web.Form(r)
		if err != nil {
			return "", err
		}
		p, err := paramsOf(form)
		if err != nil || p.repeated != "" {
			return "", tokenTwice("The form cannot be read, or a parameter came twice.")
		}
		if p.has("access_token") {
			found = append(found, p.get("access_token"))
		}
	}
	switch len(found) {
	case 0:
		return "", noToken()
	case 1:
		return found[0], nil
	}
	return "", tokenTwice("The access token was sent in more than one way.")
}

// noToken answers a request without a token: it gets no error code (RFC 6750 §3.1).
func noToken() error {
	return &apiError{status: http.StatusUnauthorized, code: codeInvalidToken,
		description: access.ErrNoToken.Reason, challenge: access.Challenge(access.ErrNoToken, "")}
}

func tokenTwice(description string) error {
	return &apiError{status: http.StatusBadRequest, code: codeInvalidRequest, description: description, challenge: `Bearer error="invalid_request"`}
}

func badToken() error {
	return &apiError{status: http.StatusUnauthorized, code: codeInvalidToken, description: grant.ErrToken.Reason, challenge: access.Challenge(grant.ErrToken, "")}
}
