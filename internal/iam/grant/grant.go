package grant

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// CodeLifetime is how long an authorization code can be redeemed (RFC 6749
// §4.1.2 allows ten minutes; a redirect takes one).
const CodeLifetime = time.Minute

// Grant is one authorization of an application by a user.
type Grant struct {
	ID          id.ID
	Application id.ID
	User        id.ID
	Session     id.ID    // the browser session it was given in
	Offline     bool     // outlives the session (offline_access, OpenID Connect Core §11)
	Scopes      []string // the ceiling: no token of the grant can have more
	Claims      string   // the claims parameter as it was asked (Core §5.5), or ""
	Nonce       string
	AuthTime    time.Time
	AMR         []string
	ACR         string
	CreatedAt   time.Time
	ExpiresAt   time.Time // the end of the whole family
}

// New says what is granted.
type New struct {
	Application id.ID
	User        id.ID
	UserName    string // for the audit log
	Session     id.ID
	Offline     bool
	Scopes      []string
	Claims      string
	Nonce       string
	AuthTime    time.Time
	AMR         []string
	ACR         string
	Lifetime    time.Duration // of the whole family; must be positive

	RedirectURI   string // byte for byte as the request had it
	CodeChallenge string // S256 (RFC 7636), or "" where the profile allows none
}

// Create stores a grant and returns the code that redeems it once.
func Create(ctx context.Context, tx *db.Tx, n New) (Grant, secret.String, error) {
	now := tx.Now()
	g := Grant{
		ID: id.New(), Application: n.Application, User: n.User, Session: n.Session, Offline: n.Offline,
		Scopes: n.Scopes, Claims: n.Claims, Nonce: n.Nonce, AuthTime: n.AuthTime, AMR: n.AMR, ACR: n.ACR,
		CreatedAt: now, ExpiresAt: now.Add(n.Lifetime),
	}
	if _, err := tx.Exec(ctx, `INSERT INTO grants (tenant_id, id, application_id, user_id, session_id, offline, scopes, claims, nonce, auth_time, amr, acr, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		g.ID, g.Application, g.User, g.Session, g.Offline, join(g.Scopes), g.Claims, g.Nonce, g.AuthTime, join(g.AMR), g.ACR, g.CreatedAt, g.ExpiresAt); err != nil {
		return Grant{}, "", err
	}
	code, hash := secret.NewToken(secret.Code, tx.Tenant())
	tx.Later(`INSERT INTO authorization_codes (tenant_id, code_hash, grant_id, redirect_uri, code_challenge, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		hash, g.ID, n.RedirectURI, n.CodeChallenge, now.Add(CodeLifetime))
	audit.Write(tx, audit.Event{Action: "grant.create", Target: target(g.ID, n.UserName), Detail: map[string]any{
		"application": g.Application.String(), "user": g.User.String(), "scopes": join(g.Scopes), "offline": g.Offline}})
	return g, code, nil
}

// Outcome says what became of a code or refresh token that was shown.
type Outcome string

// The outcomes. All but Accepted are refusals that the transaction must commit.
const (
	Accepted Outcome = "accepted"
	Unknown  Outcome = "unknown"  // never was, is another application's, or its grant no longer counts
	Expired  Outcome = "expired"  //
	Replayed Outcome = "replayed" // was used before: everything its grant gave has been revoked
	Mismatch Outcome = "mismatch" // right code, wrong redirect_uri or verifier: the code and its grant are gone
)

const grantColumns = `g.id, g.application_id, g.user_id, g.session_id, g.offline, g.scopes, g.claims, g.nonce, g.auth_time, g.amr, g.acr, g.created_at, g.expires_at`

func grantDest(g *Grant, scopes, amr *string) []any {
	return []any{&g.ID, &g.Application, &g.User, &g.Session, &g.Offline, scopes, &g.Claims, &g.Nonce, &g.AuthTime, amr, &g.ACR, &g.CreatedAt, &g.ExpiresAt}
}

// living is the condition under which a grant g counts at $NOW: not revoked, not
// expired, its user active, and its session alive unless it is offline. It needs
// the joins of livingJoins.
const (
	livingJoins = ` JOIN users u ON u.tenant_id = g.tenant_id AND u.id = g.user_id
		JOIN tenants t ON t.id = g.tenant_id
		LEFT JOIN sessions s ON s.tenant_id = g.tenant_id AND s.id = g.session_id`
	living = `(g.revoked_at IS NULL AND g.expires_at > $2 AND u.status = 'active' AND t.status = 'active'
		AND (g.offline OR (s.ended_at IS NULL AND s.expires_at > $2 AND s.last_seen_at + s.idle > $2)))`
)

// ConsumeCode redeems a code, once, for the application that has already been
// authenticated. verify judges redirect_uri and code_challenge as they were at
// the authorization request; when it refuses, the code is spent all the same.
func ConsumeCode(ctx context.Context, tx *db.Tx, token string, application id.ID, verify func(redirectURI, challenge string) bool) (Grant, Outcome, error) {
	hash, ok := hashOf(tx, token, secret.Code)
	if !ok {
		return Grant{}, Unknown, nil
	}
	type state struct {
		g                      Grant
		redirectURI, challenge string
		expires, used          time.Time
		living                 bool
	}
	st, err := db.One(ctx, tx, func(r db.Row) (st state, err error) {
		var scopes, amr string
		err = r.Scan(append(grantDest(&st.g, &scopes, &amr), &st.redirectURI, &st.challenge, &st.expires, &st.used, &st.living)...)
		st.g.Scopes, st.g.AMR = split(scopes), split(amr)
		return st, err
	}, `SELECT `+grantColumns+`, c.redirect_uri, c.code_challenge, c.expires_at, c.used_at, `+living+`
		FROM authorization_codes c JOIN grants g ON g.tenant_id = c.tenant_id AND g.id = c.grant_id`+livingJoins+`
		WHERE c.tenant_id = $1 AND c.code_hash = $3`, tx.Now(), hash)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, Unknown, nil
	}
	if err != nil {
		return Grant{}, "", err
	}
	if st.g.Application != application {
		audit.Write(tx, refused("code.refuse", st.g.ID, "shown by another application"))
		return Grant{}, Unknown, nil
	}
	// The one statement that decides: of any number of redeemers one changes a row.
	n, err := tx.Exec(ctx, `UPDATE authorization_codes SET used_at = $3 WHERE tenant_id = $1 AND code_hash = $2 AND used_at IS NULL`, hash, tx.Now())
	switch {
	case err != nil:
		return Grant{}, "", err
	case n == 0:
		revoke(tx, st.g.ID)
		audit.Write(tx, refused("code.replay", st.g.ID, "an authorization code was shown again; what it gave is revoked (RFC 6749 §4.1.2)"))
		return Grant{}, Replayed, nil
	case !tx.Now().Before(st.expires):
		return Grant{}, Expired, nil
	case !st.living:
		return Grant{}, Unknown, nil
	case !verify(st.redirectURI, st.challenge):
		revoke(tx, st.g.ID)
		audit.Write(tx, refused("code.refuse", st.g.ID, "redirect_uri or code_verifier did not match"))
		return Grant{}, Mismatch, nil
	}
	return st.g, Accepted, nil
}

// ErrNotFound is the fault for a grant that is not there.
var ErrNotFound = fault.New(fault.NotFound, "grant.not_found", "There is no grant with this id.")

// Revoke ends a grant and everything it gave. It fails with ErrNotFound when it
// has ended already. reason is for the audit log.
func Revoke(ctx context.Context, tx *db.Tx, grant id.ID, reason string) error {
	n, err := tx.Exec(ctx, `UPDATE grants SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`, grant, tx.Now())
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	audit.Write(tx, audit.Event{Action: "grant.revoke", Target: target(grant, ""), Detail: map[string]any{"reason": reason}})
	return nil
}

// RevokeOfUser ends all grants of a user, offline ones too: what a password reset
// and a removed account call for.
func RevokeOfUser(tx *db.Tx, user id.ID, reason string) {
	tx.Later(`UPDATE grants SET revoked_at = $3 WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL`, user, tx.Now())
	audit.Write(tx, audit.Event{Action: "grant.revoke_all", Target: audit.Target{Kind: "user", ID: user.String()}, Detail: map[string]any{"reason": reason}})
}

func revoke(tx *db.Tx, grant id.ID) {
	tx.Later(`UPDATE grants SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL`, grant, tx.Now())
}

func refused(action string, grant id.ID, why string) audit.Event {
	return audit.Event{Action: action, Target: target(grant, ""), Outcome: audit.Refused, Detail: map[string]any{"reason": why}}
}

func target(grant id.ID, name string) audit.Target {
	return audit.Target{Kind: "grant", ID: grant.String(), Name: name}
}

// hashOf returns what to look a token up by; ok is false for text that cannot be
// one of this kind and tenant.
func hashOf(tx *db.Tx, token, kind string) (hash []byte, ok bool) {
	t, err := secret.ParseToken(token)
	if err != nil || t.Kind != kind || t.Tenant != tx.Tenant() {
		return nil, false
	}
	return t.Hash, true
}

func join(s []string) string  { return strings.Join(s, " ") }
func split(s string) []string { return strings.Fields(s) }
