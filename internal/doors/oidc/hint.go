package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// hint is the content of an id_token_hint: its subject, its session, and the client to which it was
// issued when.
type hint struct {
	Subject  string
	Session  string
	Audience jose.Audience
	IssuedAt time.Time
}

// client returns the client_id of the application that the hint was issued to, or "".
func (h hint) client() string {
	if len(h.Audience) != 1 {
		return ""
	}
	return h.Audience[0]
}

// errHint is the error for text that is not an ID token of this issuer.
var errHint = errors.New("not an ID token of this issuer")

// readHint checks the signature and the issuer of an id_token_hint, which is any of the tenant's.
// It accepts an expired one: a hint names a user and is not a credential (OpenID Connect Core
// §3.1.2.1, RP-Initiated Logout §2). A client that ends a session by one authenticates.
func (d *Door) readHint(ctx context.Context, c caller.Caller, token string) (hint, error) {
	payload, err := d.Keys.VerifyHint(ctx, c, token)
	if errors.Is(err, jose.ErrToken) {
		return hint{}, errHint
	}
	if err != nil {
		return hint{}, err
	}
	var claims struct {
		jose.Claims
		Session  string `json:"sid"`
		ClientID string `json:"client_id"`
		Use      string `json:"token_use"`
	}
	// An access token of the type JWT has the keys and the type of an ID token. No ID token has its
	// claims (RFC 8725 §3.12).
	err = jose.ReadClaims(payload, &claims)
	if err != nil || claims.Subject == "" || claims.ClientID != "" || claims.Use != "" {
		return hint{}, errHint
	}
	if err := d.verifier.CheckIssuer(ctx, c.Tenant, claims.Issuer); errors.Is(err, grant.ErrToken) {
		return hint{}, errHint
	} else if err != nil {
		return hint{}, err
	}
	return hint{claims.Subject, claims.Session, claims.Audience, claims.IssuedAt.Time()}, nil
}
