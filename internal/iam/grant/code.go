package grant

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// CodeLifetime is how long a client may redeem an authorization code. RFC 6749 §4.1.2 allows ten
// minutes; a redirect takes seconds.
const CodeLifetime = time.Minute

// New is what Create makes a grant from.
type New struct {
	Application id.ID
	User        id.ID
	Session     id.ID
	Offline     bool
	Scopes      []string
	Resources   []string
	Claims      string
	Nonce       string
	AuthTime    time.Time
	AMR         []string
	ACR         string
	Lifetime    time.Duration // of the whole family; must be positive
	Generation  int64         // the session's
	Issuer      string        // that the application asked
	// ApplicationGeneration is that of the copy of the application by which the caller decided.
	ApplicationGeneration int64

	RedirectURI   string // byte for byte as in the request
	CodeChallenge string // S256 (RFC 7636), or "" if the client may omit it
}

// Create stores a grant and returns the code that redeems it once. If the code is not redeemed,
// the grant ends with it and leaves no audit event. The caller of tx is the person's browser.
func Create(ctx context.Context, tx *db.Tx, n New) (Grant, secret.String, error) {
	g, err := insert(ctx, tx, n)
	if err != nil {
		return Grant{}, "", err
	}
	code, hash := secret.NewToken(secret.Code, tx.Tenant())
	tx.Later(`INSERT INTO authorization_codes (tenant_id, code_hash, grant_id, redirect_uri, code_challenge, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6)`, hash, g.ID, n.RedirectURI, n.CodeChallenge, tx.Now().Add(CodeLifetime))
	dropUnredeemed(tx, n.User)
	return g, code, nil
}

// insert stores a grant that nothing redeems yet.
func insert(ctx context.Context, tx *db.Tx, n New) (Grant, error) {
	now := tx.Now()
	g := Grant{
		ID: id.New(), Application: n.Application, User: n.User, Session: n.Session, Offline: n.Offline,
		Scopes: n.Scopes, Resources: n.Resources,
		Claims: n.Claims, Nonce: n.Nonce, AuthTime: n.AuthTime, AMR: n.AMR, ACR: n.ACR,
		Address: addressOf(tx.Caller()), CreatedAt: now, ExpiresAt: now.Add(n.Lifetime),
	}
	few, all := g.Scopes, ""
	if len(g.Resources) > 0 && !slices.Contains(g.Resources, resourceserver.Tenant) {
		few, all = onlyAboutPeople(g.Scopes), join(g.Scopes)
	}
	_, err := tx.Exec(ctx, `INSERT INTO grants (tenant_id, id, application_id, user_id, session_id, offline,
		scopes, claims, nonce, auth_time, amr, acr, created_at, expires_at, address, generation, issuer, resources,
		all_scopes, application_generation)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
		g.ID, g.Application, g.User, g.Session, g.Offline,
		join(few), g.Claims, g.Nonce, g.AuthTime, join(g.AMR), g.ACR, g.CreatedAt, g.ExpiresAt, g.Address,
		n.Generation, n.Issuer, join(n.Resources), all, n.ApplicationGeneration)
	return g, err
}

// Bounds on codes that are not redeemed. A signed-in browser gets codes as fast as it asks.
const (
	codeMemory    = 10 * time.Minute // after its end a code is still recognised
	maxUnredeemed = 32               // codes of one user at once
	dropBatch     = 50               // codes of one user that one new code deletes
)

// unredeemed selects grants whose code was not redeemed in time.
const unredeemed = `DELETE FROM grants WHERE tenant_id = $1 AND id IN (
	SELECT grant_id FROM authorization_codes WHERE tenant_id = $1 AND used_at IS NULL AND expires_at < $2
	ORDER BY expires_at LIMIT $3)`

// dropUnredeemed sweeps grants whose codes were not redeemed in time, and deletes the oldest of
// user's when they become too many. A code goes with its grant.
func dropUnredeemed(tx *db.Tx, user id.ID) {
	tx.Sweep(unredeemed, tx.Now().Add(-codeMemory), db.SweepLimit)
	tx.Later(`DELETE FROM grants WHERE tenant_id = $1 AND id IN (
		SELECT c.grant_id FROM authorization_codes c JOIN grants g ON g.tenant_id = c.tenant_id AND g.id = c.grant_id
		WHERE c.tenant_id = $1 AND c.used_at IS NULL AND g.user_id = $2
		ORDER BY c.expires_at DESC LIMIT $3 OFFSET $4)`, user, dropBatch, maxUnredeemed)
}

func addressOf(c caller.Caller) string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

// Redemption is the use of a code by an application that has authenticated.
type Redemption struct {
	Application id.ID
	// Differs names what is not as in the authorization request, which had this redirect_uri and
	// code_challenge. It returns "" if everything is.
	Differs func(redirectURI, challenge string) string
	// Allows reports whether the rules of signing in allow what the grant gives.
	Allows func(context.Context, *db.Tx, Grant) (bool, error)
}

// useCode marks a code as used by its application, $4. Of any number of redeemers, one changes a
// row.
//
// Only the key serves it. Beside used_at IS NULL, Postgres may read all codes of the tenant that
// are not redeemed yet.
const useCode = `UPDATE authorization_codes SET used_at = $3
	WHERE tenant_id = $1 AND code_hash = $2 AND coalesce(used_at, 0) = 0
	AND $4 = (SELECT g.application_id FROM grants g
		WHERE g.tenant_id = $1 AND g.id = authorization_codes.grant_id)`

// ConsumeCode redeems a code, once. A refusal by Differs or Allows consumes the code too: the
// application can ask for another. Only Accepted writes the audit event of the grant, so the caller
// must give tokens then.
func ConsumeCode(ctx context.Context, tx *db.Tx, token string, r Redemption) (Grant, Outcome, error) {
	hash, ok := hashOf(tx, token, secret.Code)
	if !ok {
		return Grant{}, Unknown, nil
	}
	var won int64
	tx.LaterCount(&won, useCode, hash, tx.Now(), r.Application)
	code, err := findCode(ctx, tx, hash)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, Unknown, nil
	}
	if err != nil {
		return Grant{}, "", err
	}
	if code.grant.Application != r.Application {
		if err := refuseOnce(ctx, tx, hash, refused("code.refuse", code.grant.ID,
			"shown by another application")); err != nil {
			return Grant{}, "", err
		}
		return Grant{}, Unknown, nil
	}
	differs := r.Differs(code.redirectURI, code.challenge)
	switch {
	case won == 0:
		revokeLater(tx, code.grant.ID)
		if err := refuseOnce(ctx, tx, hash, refused("code.replay", code.grant.ID,
			"an authorization code was shown again; what it gave is revoked (RFC 6749 §4.1.2)")); err != nil {
			return Grant{}, "", err
		}
		return Grant{}, Replayed, nil
	case !tx.Now().Before(code.expires):
		endUngivenLater(tx, code.grant.ID)
		return Grant{}, Expired, nil
	case !code.living:
		endUngivenLater(tx, code.grant.ID)
		return Grant{}, Unknown, nil
	case differs != "":
		endUngivenLater(tx, code.grant.ID)
		audit.Write(tx, refused("code.refuse", code.grant.ID, differs+" is not that of the authorization request"))
		return Grant{}, Mismatch, nil
	}
	g := code.grant
	allowed, err := r.Allows(ctx, tx, g)
	switch {
	case err != nil:
		return Grant{}, "", err
	case !allowed:
		endUngivenLater(tx, g.ID)
		return Grant{}, RuledOut, nil
	}
	audit.Write(tx, givenEvent(g))
	return g, Accepted, nil
}

// givenEvent is the audit event of a grant that was redeemed.
func givenEvent(g Grant) audit.Event {
	return audit.Event{Action: "grant.create", Target: target(g.ID), Detail: map[string]any{
		"application": g.Application.String(), "user": g.User.String(), "session": g.Session.String(),
		"scopes": join(g.Scopes), "resources": g.Resources, "offline": g.Offline,
	}}
}

// codeState is a stored code with its grant.
type codeState struct {
	grant                  Grant
	redirectURI, challenge string
	expires                time.Time
	living                 bool // the grant is valid
}

func findCode(ctx context.Context, tx *db.Tx, hash []byte) (codeState, error) {
	scan := func(r db.Row) (codeState, error) {
		var code codeState
		err := code.grant.scan(r, &code.redirectURI, &code.challenge, &code.expires, &code.living)
		return code, err
	}
	return db.One(ctx, tx, scan, `SELECT `+grantColumns+`, c.redirect_uri, c.code_challenge, c.expires_at, `+living+`
		FROM authorization_codes c JOIN grants g ON g.tenant_id = c.tenant_id AND g.id = c.grant_id
		WHERE c.tenant_id = $1 AND c.code_hash = $3`, tx.Now(), hash)
}
