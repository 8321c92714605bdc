package grant

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// AccessClaims is the body of a JWT access token (RFC 9068 §2.2). GrantID ties it
// to the grant, so that our own doors can refuse it the moment the grant ends.
type AccessClaims struct {
	jose.Claims
	ClientID  string    `json:"client_id"`
	Scope     string    `json:"scope,omitempty"`
	AuthTime  jose.Time `json:"auth_time,omitempty"`
	ACR       string    `json:"acr,omitempty"`
	AMR       []string  `json:"amr,omitempty"`
	SessionID string    `json:"sid,omitempty"`
	GrantID   string    `json:"gid,omitempty"`
	// Application is the application's id; with no GrantID the subject is it.
	Application string `json:"app"`
}

// Token is an access token that was found good, opaque or JWT.
type Token struct {
	ID          string // jti, or the id of an opaque token
	Application id.ID
	Grant       id.ID // zero for a machine application's own token
	User        id.ID // zero for a machine application's own token
	UserName    string
	Session     id.ID
	Scopes      []string
	Audience    []string
	Claims      string // of the grant: the claims parameter
	AuthTime    time.Time
	AMR         []string
	ACR         string
	IssuedAt    time.Time
	ExpiresAt   time.Time
	JWT         bool
}

// Has reports whether the token has a scope.
func (t Token) Has(scope string) bool { return slices.Contains(t.Scopes, scope) }

// NewOpaque stores an opaque access token. g is the zero Grant for a machine
// application's own token.
func NewOpaque(tx *db.Tx, g Grant, application id.ID, scopes []string, audience string, lifetime time.Duration) (secret.String, id.ID) {
	token, hash := secret.NewToken(secret.AccessToken, tx.Tenant())
	tid := id.New()
	tx.Later(`INSERT INTO access_tokens (tenant_id, token_hash, id, application_id, grant_id, scopes, audience, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		hash, tid, application, g.ID, join(scopes), audience, tx.Now(), tx.Now().Add(lifetime))
	return token, tid
}

// ErrToken says that a bearer token is not good; it never says why to whom shows it.
var ErrToken = fault.New(fault.Unauthenticated, "token.invalid", "The access token is missing, expired, revoked or not one of this tenant. Get a new one and try again.")

// Verifier finds out whether an access token is good, exactly: revocation, the
// user's, the application's and the tenant's status and the session are asked of the database every
// time. It is safe for concurrent use.
type Verifier struct {
	DB   *db.DB
	Keys *signingkey.Keys
}

// Verify checks an access token of the caller's tenant whose issuer is issuer. It
// is one read round trip. A token that is not good is ErrToken.
func (v *Verifier) Verify(ctx context.Context, c caller.Caller, issuer, bearer string) (Token, error) {
	if t, err := secret.ParseToken(bearer); err == nil {
		if t.Kind != secret.AccessToken || t.Tenant != c.Tenant {
			return Token{}, ErrToken
		}
		return v.opaque(ctx, c, t.Hash)
	}
	return v.jwt(ctx, c, issuer, bearer)
}

func (v *Verifier) opaque(ctx context.Context, c caller.Caller, hash []byte) (Token, error) {
	t, err := db.Read(ctx, v.DB, c, func(tx *db.Tx) (Token, error) {
		return db.One(ctx, tx, func(r db.Row) (t Token, err error) {
			var scopes, audience, amr string
			err = r.Scan(&t.ID, &t.Application, &t.Grant, &scopes, &audience, &t.IssuedAt, &t.ExpiresAt,
				&t.User, &t.UserName, &t.Session, &t.Claims, &t.AuthTime, &amr, &t.ACR)
			t.Scopes, t.AMR = split(scopes), split(amr)
			if audience != "" {
				t.Audience = []string{audience}
			}
			return t, err
		}, `SELECT a.id, a.application_id, a.grant_id, a.scopes, a.audience, a.created_at, a.expires_at,
			g.user_id, coalesce(u.email, ''), g.session_id, coalesce(g.claims, ''), g.auth_time, coalesce(g.amr, ''), coalesce(g.acr, '')
			FROM access_tokens a
			JOIN tenants t ON t.id = a.tenant_id AND t.status = 'active'
			JOIN applications ap ON ap.tenant_id = a.tenant_id AND ap.id = a.application_id AND ap.status = 'active'
			LEFT JOIN grants g ON g.tenant_id = a.tenant_id AND g.id = a.grant_id
			LEFT JOIN users u ON u.tenant_id = g.tenant_id AND u.id = g.user_id
			LEFT JOIN sessions s ON s.tenant_id = g.tenant_id AND s.id = g.session_id
			WHERE a.tenant_id = $1 AND a.token_hash = $3 AND a.revoked_at IS NULL AND a.expires_at > $2
			AND (a.grant_id IS NULL OR (g.revoked_at IS NULL AND g.expires_at > $2 AND u.status = 'active'
				AND (g.offline OR (s.ended_at IS NULL AND s.expires_at > $2 AND s.last_seen_at + s.idle > $2))))`, tx.Now(), hash)
	})
	if errors.Is(err, db.ErrNoRows) {
		return Token{}, ErrToken
	}
	return t, err
}

func (v *Verifier) jwt(ctx context.Context, c caller.Caller, issuer, bearer string) (Token, error) {
	cl, err := v.claims(ctx, c, bearer)
	if err != nil {
		return Token{}, err
	}
	if cl.issuer != issuer {
		return Token{}, ErrToken
	}
	err = v.DB.View(ctx, c, func(tx *db.Tx) error {
		if !cl.registered.Current(tx.Now()) {
			return ErrToken
		}
		return cl.stands(ctx, tx)
	})
	return cl.Token, err
}

// claimed is what a JWT says whose signature is the tenant's. That the token still counts is
// not known before stands has said so.
type claimed struct {
	Token
	registered jose.Claims
	issuer     string
	grant      id.ID // zero for a machine application's own
}

// claims verifies a JWT's signature and reads it.
func (v *Verifier) claims(ctx context.Context, c caller.Caller, bearer string) (*claimed, error) {
	payload, err := v.Keys.Verify(ctx, c, bearer, []string{jose.TypeAccessToken})
	if errors.Is(err, jose.ErrToken) {
		return nil, ErrToken.Because(err)
	}
	if err != nil {
		return nil, err
	}
	var cl AccessClaims
	if err := json.Unmarshal(payload, &cl); err != nil {
		return nil, ErrToken.Because(err)
	}
	out := &claimed{registered: cl.Claims, issuer: cl.Issuer, Token: Token{
		ID: cl.ID, Scopes: split(cl.Scope), Audience: cl.Audience, AuthTime: cl.AuthTime.Time(), AMR: cl.AMR, ACR: cl.ACR,
		IssuedAt: cl.IssuedAt.Time(), ExpiresAt: cl.Expiry.Time(), JWT: true,
	}}
	if out.Application, err = id.Parse(cl.Application); err != nil {
		return nil, ErrToken
	}
	if cl.GrantID != "" {
		if out.grant, err = id.Parse(cl.GrantID); err != nil {
			return nil, ErrToken
		}
	}
	return out, nil
}

// stands asks whether everything the token rests on still counts, and reads what the token
// says of its user. It fails with ErrToken when it does not.
func (cl *claimed) stands(ctx context.Context, tx *db.Tx) error {
	var err error
	if cl.grant.IsZero() {
		_, err = db.One(ctx, tx, func(r db.Row) (n int64, err error) { return n, r.Scan(&n) },
			`SELECT 1 FROM applications ap JOIN tenants t ON t.id = ap.tenant_id
			WHERE ap.tenant_id = $1 AND ap.id = $3 AND ap.status = 'active' AND t.status = 'active'
			AND NOT EXISTS (SELECT 1 FROM used_jtis j WHERE j.tenant_id = $1 AND j.issuer = '' AND j.jti = $2)`, cl.ID, cl.Application)
	} else {
		_, err = db.One(ctx, tx, func(r db.Row) (struct{}, error) {
			return struct{}{}, r.Scan(&cl.Grant, &cl.User, &cl.UserName, &cl.Session, &cl.Claims)
		}, `SELECT g.id, g.user_id, u.email, g.session_id, g.claims FROM grants g`+livingJoins+`
			JOIN applications ap ON ap.tenant_id = g.tenant_id AND ap.id = g.application_id AND ap.status = 'active'
			WHERE g.tenant_id = $1 AND g.id = $3 AND g.application_id = $5 AND `+living+`
			AND NOT EXISTS (SELECT 1 FROM used_jtis j WHERE j.tenant_id = $1 AND j.issuer = '' AND j.jti = $4)`, tx.Now(), cl.grant, cl.ID, cl.Application)
	}
	if errors.Is(err, db.ErrNoRows) {
		return ErrToken
	}
	return err
}

// UseJTI notes a JWT id of an issuer (a client authenticating by private_key_jwt)
// and reports whether this was its first use. It must be kept until the JWT has
// expired, skew included.
func UseJTI(ctx context.Context, tx *db.Tx, issuer, jti string, expires time.Time) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO used_jtis (tenant_id, issuer, jti, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, issuer, jti) DO NOTHING`,
		issuer, jti, expires.Add(jose.Skew))
	return n == 1, err
}

// RevokeToken revokes a token that application itself holds (RFC 7009): a refresh
// token ends its whole grant; an access token ends alone. A token that is
// unknown, has ended or is another application's changes nothing, and the caller
// is not told.
func RevokeToken(ctx context.Context, tx *db.Tx, token string, application id.ID) error {
	t, err := secret.ParseToken(token)
	if err != nil || t.Tenant != tx.Tenant() {
		return nil
	}
	switch t.Kind {
	case secret.RefreshToken:
		st, err := findRefresh(ctx, tx, t.Hash)
		if errors.Is(err, db.ErrNoRows) || err == nil && st.g.Application != application {
			return nil
		}
		if err != nil {
			return err
		}
		if err := Revoke(ctx, tx, st.g.ID, "by the application"); !errors.Is(err, ErrNotFound) {
			return err
		}
	case secret.AccessToken:
		tx.Later(`UPDATE access_tokens SET revoked_at = $4 WHERE tenant_id = $1 AND token_hash = $2 AND application_id = $3 AND revoked_at IS NULL`, t.Hash, application, tx.Now())
	}
	return nil
}

// RevokeJWT makes a JWT access token of the application count no longer at our
// own doors. Who checks signatures alone cannot know; that is what the short
// lifetime of JWTs is for. One without a grant is remembered by replicas (Known), so they
// are told.
func RevokeJWT(tx *db.Tx, t Token, application id.ID) {
	if t.Application != application {
		return
	}
	tx.Later(`INSERT INTO used_jtis (tenant_id, issuer, jti, expires_at) VALUES ($1, '', $2, $3) ON CONFLICT (tenant_id, issuer, jti) DO NOTHING`, t.ID, t.ExpiresAt)
	if t.Grant.IsZero() {
		tenant.Touch(tx)
	}
}

// Refresh is what introspection may know of a refresh token (RFC 7662).
func Refresh(ctx context.Context, tx *db.Tx, token string) (Token, error) {
	hash, ok := hashOf(tx, token, secret.RefreshToken)
	if !ok {
		return Token{}, ErrToken
	}
	st, err := findRefresh(ctx, tx, hash)
	if errors.Is(err, db.ErrNoRows) || err == nil && (!st.living || !st.rotated.IsZero() || !tx.Now().Before(st.expires)) {
		return Token{}, ErrToken
	}
	if err != nil {
		return Token{}, err
	}
	return Token{Application: st.g.Application, Grant: st.g.ID, User: st.g.User, Session: st.g.Session, Scopes: st.g.Scopes, IssuedAt: st.g.CreatedAt, ExpiresAt: st.expires}, nil
}
