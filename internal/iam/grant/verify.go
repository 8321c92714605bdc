package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Verifier verifies access tokens exactly. Every time it asks the database for revocation, for the
// status of user, application and tenant, and for the session. It is safe for concurrent use.
type Verifier struct {
	DB      *db.DB
	Keys    *signingkey.Keys
	Issuers Issuers
	// PlainJWT says that access tokens of the type JWT count too, which only APIs have. It is for
	// introspection and revocation: no door of ours takes them for a request.
	PlainJWT bool
}

// Issuers finds the active tenant of an issuer; tenant.Directory is one.
type Issuers interface {
	ByIssuer(ctx context.Context, issuer string) (web.Site, error)
}

// CheckIssuer fails with ErrToken unless issuer is a base of the tenant: its path on the public
// host, or one of its domains. A token is the tenant's at each of them.
func (v *Verifier) CheckIssuer(ctx context.Context, tenant id.ID, issuer string) error {
	site, err := v.Issuers.ByIssuer(ctx, issuer)
	switch k := fault.Of(err); {
	case err != nil && k != fault.NotFound && k != fault.Denied:
		return err
	case err != nil || site.Tenant != tenant:
		return because("its issuer is not an address of this tenant")
	}
	return nil
}

// Verify returns the access token bearer, which the caller's tenant issued at any of its bases. It
// takes one read round trip. It fails with ErrToken if the token is not valid; see Explain.
func (v *Verifier) Verify(ctx context.Context, c caller.Caller, bearer string) (Token, error) {
	if t, err := secret.ParseToken(bearer); err == nil {
		switch {
		case t.Kind != secret.AccessToken:
			return Token{}, because("it is a secret of another kind, such as a refresh token")
		case t.Tenant != c.Tenant:
			return Token{}, because("it is of another tenant")
		}
		return v.opaque(ctx, c, t)
	}
	return v.jwt(ctx, c, bearer)
}

func (v *Verifier) jwt(ctx context.Context, c caller.Caller, bearer string) (Token, error) {
	t, err := v.signed(ctx, c, bearer)
	if err != nil {
		return Token{}, err
	}
	if err := v.CheckIssuer(ctx, c.Tenant, t.Issuer); err != nil {
		return Token{}, err
	}
	err = v.DB.View(ctx, c, func(tx *db.Tx) error {
		if !t.registered.Current(tx.Now()) {
			return t.outOfTime()
		}
		return t.confirm(ctx, tx)
	})
	return t.Token, err
}

// signedToken is a JWT that the tenant signed. It may have been revoked: confirm finds that out.
type signedToken struct {
	Token
	registered jose.Claims
	grant      id.ID // zero for a machine application's own
}

// signed verifies the signature of a JWT and reads its claims.
func (v *Verifier) signed(ctx context.Context, c caller.Caller, bearer string) (*signedToken, error) {
	payload, err := v.Keys.Verify(ctx, c, bearer, []string{jose.TypeAccessToken})
	plain := v.PlainJWT && errors.Is(err, jose.ErrToken)
	if plain {
		payload, err = v.Keys.Verify(ctx, c, bearer, []string{jose.TypeJWT})
	}
	if errors.Is(err, jose.ErrToken) {
		return nil, ErrToken.Because(err)
	}
	if err != nil {
		return nil, err
	}
	var claims AccessClaims
	if err := jose.ReadClaims(payload, &claims); err != nil {
		return nil, ErrToken.Because(err)
	}
	if plain && claims.Use != UseAccess { // an ID token has the same type and the same keys
		return nil, because("it is not an access token. It may be an ID token")
	}
	t := &signedToken{registered: claims.Claims, Token: Token{
		ID: claims.ID, Issuer: claims.Issuer, Scopes: split(claims.Scope), Audience: claims.Audience,
		AuthTime: claims.AuthTime.Time(), AMR: claims.AMR, ACR: claims.ACR,
		IssuedAt: claims.IssuedAt.Time(), ExpiresAt: claims.Expiry.Time(), JWT: true,
	}}
	if t.Application, err = id.Parse(claims.Application); err != nil {
		return nil, because("its claim app is not an id")
	}
	if claims.GrantID != "" {
		if t.grant, err = id.Parse(claims.GrantID); err != nil {
			return nil, because("its claim gid is not an id")
		}
	}
	return t, nil
}

// confirm asks the database whether the token is still valid, and reads what it says of its user.
// It fails with ErrToken if the token is not valid.
func (t *signedToken) confirm(ctx context.Context, tx *db.Tx) error {
	var err error
	if t.grant.IsZero() {
		_, err = db.One(ctx, tx, func(r db.Row) (struct{}, error) { return struct{}{}, r.Scan(new(int64)) },
			`SELECT 1 FROM applications ap JOIN tenants t ON t.id = ap.tenant_id
			WHERE ap.tenant_id = $1 AND ap.id = $3 AND ap.status = 'active' AND t.status = 'active'
			AND NOT EXISTS (SELECT 1 FROM used_jtis j WHERE j.tenant_id = $1 AND j.issuer = '' AND j.jti = $2)`,
			t.ID, t.Application)
	} else {
		_, err = db.One(ctx, tx, func(r db.Row) (struct{}, error) {
			return struct{}{}, r.Scan(&t.Grant, &t.User, &t.UserName, &t.Session, &t.Claims, &t.Address, &t.Offline)
		}, `SELECT g.id, g.user_id, `+loginOfUser+`, g.session_id, g.claims, g.address, `+outlives+`
			FROM grants g
			WHERE g.tenant_id = $1 AND g.id = $3 AND g.application_id = $5 AND `+living+`
			AND NOT EXISTS (SELECT 1 FROM used_jtis j WHERE j.tenant_id = $1 AND j.issuer = '' AND j.jti = $4)`,
			tx.Now(), t.grant, t.ID, t.Application)
	}
	if errors.Is(err, db.ErrNoRows) {
		return errNotLiving
	}
	return err
}

// outOfTime returns the fault of a token whose claims do not allow it at this time.
func (t *signedToken) outOfTime() error {
	return because(fmt.Sprintf("it is valid from %s to %s", t.IssuedAt.Format(time.RFC3339),
		t.ExpiresAt.Format(time.RFC3339)))
}
