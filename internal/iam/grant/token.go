package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// ErrToken is the fault for a bearer token that is not valid. Its sentence never says why. Its
// cause does, for the log and the audit log.
var ErrToken = fault.New(fault.Unauthenticated, "token.invalid",
	"This is not a valid access token of this tenant. It may have expired or been revoked. "+
		"Get a new one and try again.")

// ErrStepUp is the fault for a bearer token that is good, and whose person must sign in more
// strongly or again (RFC 9470). A *StepUp in its chain says which.
var ErrStepUp = fault.New(fault.Unauthenticated, "token.step_up",
	"The rules of this tenant ask the person for a stronger or a fresher sign-in. Send them to sign in again.")

// StepUp is what a sign-in lacks.
type StepUp struct {
	ACR    string        // the level that it must have, or "" if its level is enough
	MaxAge time.Duration // how old it may be, or 0 if it is not too old
}

// Error implements error.
func (s *StepUp) Error() string { return fmt.Sprintf("needs acr %q, age %s", s.ACR, s.MaxAge) }

// AccessClaims are the claims of a JWT access token (RFC 9068 §2.2). GrantID ties it to the grant,
// so that our doors refuse it as soon as the grant ends.
type AccessClaims struct {
	jose.Claims
	ClientID  string    `json:"client_id"`
	Scope     string    `json:"scope,omitempty"`
	AuthTime  jose.Time `json:"auth_time,omitempty"`
	ACR       string    `json:"acr,omitempty"`
	AMR       []string  `json:"amr,omitempty"`
	SessionID string    `json:"sid,omitempty"`
	GrantID   string    `json:"gid,omitempty"`
	// Use is "access" in a token of the type JWT, whose type does not tell it from an ID token.
	Use string `json:"token_use,omitempty"`
	// Application is the application's id. Without a GrantID it is the subject.
	Application string `json:"app"`
}

// UseAccess is the token_use of access tokens of the type JWT.
const UseAccess = "access"

// Token is a valid access token, opaque or JWT.
type Token struct {
	ID          string // jti, or the id of an opaque token
	Application id.ID
	Grant       id.ID // zero for a machine application's own token
	User        id.ID // zero for a machine application's own token
	UserName    string
	Session     id.ID
	Scopes      []string
	Audience    []string
	Issuer      string // the base of the tenant that issued it
	Claims      string // of the grant: the claims parameter
	AuthTime    time.Time
	AMR         []string
	ACR         string
	Address     string // of the grant: where the person signed in
	Offline     bool   // of the grant: it outlives the session
	IssuedAt    time.Time
	ExpiresAt   time.Time
	JWT         bool
}

// Has reports whether the token has a scope.
func (t Token) Has(scope string) bool { return slices.Contains(t.Scopes, scope) }

// NewOpaque stores an opaque access token of an application and returns it with its id. g is the
// zero Grant for a machine application's own token. issuer is the base of the tenant that issues
// it.
func NewOpaque(
	tx *db.Tx, g Grant, app *application.Application, scopes, audience []string, issuer string, lifetime time.Duration,
) (secret.String, id.ID) {
	if len(audience) == 1 && audience[0] == issuer {
		issuer = "" // the audience says it
	}
	token, hash := newOpaque(tx.Tenant(), g.ID.IsZero())
	tokenID := id.New()
	tx.Later(`INSERT INTO access_tokens (tenant_id, token_hash, id, application_id, grant_id, scopes, audience,
		created_at, expires_at, issuer, application_generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		hash, tokenID, app.ID, g.ID, join(scopes), join(audience), tx.Now(), tx.Now().Add(lifetime), issuer,
		app.Generation)
	return token, tokenID
}

// UseJTI records a JWT id of an issuer, such as a client that authenticates by private_key_jwt. It
// reports whether this was the first use. The record lasts until the JWT expires, skew included.
func UseJTI(ctx context.Context, tx *db.Tx, issuer, jti string, expires time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO used_jtis (tenant_id, issuer, jti, expires_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant_id, issuer, jti) DO NOTHING`, issuer, jti, expires.Add(jose.Skew))
	return n == 1, err
}

// RevokeToken revokes an opaque token that application itself holds (RFC 7009). A refresh token
// ends its whole grant, an access token only itself. A token that is unknown, has ended or belongs
// to another application changes nothing, and the caller is not told.
func RevokeToken(ctx context.Context, tx *db.Tx, ring Deriver, token string, application id.ID) error {
	t, err := secret.ParseToken(token)
	if err != nil || t.Tenant != tx.Tenant() {
		return nil
	}
	switch t.Kind {
	case secret.RefreshToken:
		shown, _ := readRefresh(tx, ring, token) // an earlier token of the family ends it too
		st, err := findRefresh(ctx, tx, shown)
		if errors.Is(err, db.ErrNoRows) || err == nil && st.grant.Application != application {
			return nil
		}
		if err != nil {
			return err
		}
		if err := revoke(ctx, tx, st.grant.ID, "by the application"); !errors.Is(err, errNotFound) {
			return err
		}
	case secret.AccessToken:
		tx.Later(`UPDATE access_tokens SET revoked_at = $4
			WHERE tenant_id = $1 AND token_hash = $2 AND application_id = $3 AND revoked_at IS NULL`,
			t.Hash, application, tx.Now())
	}
	return nil
}

// RevokeJWT revokes a JWT access token of the application, at our own doors. A service that only
// checks signatures accepts it until it expires, which is why JWTs are short-lived. Replicas
// remember tokens without a grant (Known), so they are told.
func RevokeJWT(tx *db.Tx, t Token, application id.ID) {
	if t.Application != application {
		return
	}
	tx.Later(`INSERT INTO used_jtis (tenant_id, issuer, jti, expires_at) VALUES ($1, '', $2, $3)
		ON CONFLICT (tenant_id, issuer, jti) DO NOTHING`, t.ID, t.ExpiresAt)
	if t.Grant.IsZero() {
		tenant.Touch(tx)
	}
}
