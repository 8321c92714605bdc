package grant

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// ownBit is set in the last byte of an application's own opaque token, and clear in one of a grant.
// The other 255 bits are random. It is a hint, because tokens of the earlier release have any bit
// there. It decides which statement is tried first, and never whether a token is valid.
const ownBit = 1

// newOpaque returns a new opaque access token and its hash. own says that it has no grant.
func newOpaque(tenant id.ID, own bool) (secret.String, []byte) {
	var bits [32]byte
	rand.Read(bits[:])
	bits[31] &^= ownBit
	if own {
		bits[31] |= ownBit
	}
	return secret.TokenFrom(secret.AccessToken, tenant, bits)
}

// opaque returns a valid opaque token. An application's own needs no grant, user or session, which
// cost Postgres as much as all else. So one that looks like it is read without them first.
func (v *Verifier) opaque(ctx context.Context, c caller.Caller, shown secret.Token) (Token, error) {
	t, err := db.Read(ctx, v.DB, c, func(tx *db.Tx) (Token, error) {
		if shown.Bits()[31]&ownBit != 0 {
			t, err := db.One(ctx, tx, scanOwn, selectOwn, tx.Now(), shown.Hash)
			if !errors.Is(err, db.ErrNoRows) {
				return t, err
			}
		}
		return db.One(ctx, tx, scanOpaque, selectOpaque, tx.Now(), shown.Hash, false)
	})
	if errors.Is(err, db.ErrNoRows) {
		return Token{}, errNotLiving
	}
	return t, err
}

// opaqueColumns are the columns of an opaque token, and validOpaque says when it is valid at $2
// itself. One of a grant is valid only as long as that one is living. An application's own is valid
// under the ownOpaque condition.
const (
	opaqueColumns = `a.id, a.application_id, a.scopes, a.audience, a.issuer, a.created_at, a.expires_at`
	validOpaque   = `a.tenant_id = $1 AND a.token_hash = $3 AND a.revoked_at IS NULL AND a.expires_at - $2 > 0
	AND 'active' = (SELECT t.status FROM tenants t WHERE t.id = $1)`
	ownOpaque = `(a.grant_id IS NULL AND coalesce((SELECT ap.status = 'active'
		AND a.application_generation >= ap.grants_from
		FROM applications ap WHERE ap.tenant_id = $1 AND ap.id = a.application_id), false))`
)

const selectOwn = `SELECT ` + opaqueColumns + `
	FROM access_tokens a
	WHERE ` + validOpaque + ` AND ` + ownOpaque

const selectOpaque = `SELECT ` + opaqueColumns + `,
	a.grant_id, g.user_id, coalesce(` + loginOfUser + `, ''), g.session_id, coalesce(g.claims, ''),
	g.auth_time, coalesce(g.amr, ''), coalesce(g.acr, ''), coalesce(g.address, ''), coalesce(` + outlives + `, $4)
	FROM access_tokens a
	LEFT JOIN grants g ON g.tenant_id = a.tenant_id AND g.id = a.grant_id
	WHERE ` + validOpaque + ` AND (` + ownOpaque + ` OR ` + living + `)`

func scanOwn(r db.Row) (Token, error) {
	var t Token
	err := t.scanOpaque(r)
	return t, err
}

func scanOpaque(r db.Row) (Token, error) {
	var t Token
	var amr string
	err := t.scanOpaque(r, &t.Grant, &t.User, &t.UserName, &t.Session, &t.Claims, &t.AuthTime, &amr, &t.ACR,
		&t.Address, &t.Offline)
	t.AMR = split(amr)
	return t, err
}

// scanOpaque scans the opaqueColumns, and then more.
func (t *Token) scanOpaque(r db.Row, more ...any) error {
	var jti id.ID // SQLite stores an id as bytes, which a string would keep as they are
	var scopes, audience string
	err := r.Scan(append([]any{&jti, &t.Application, &scopes, &audience, &t.Issuer, &t.IssuedAt, &t.ExpiresAt},
		more...)...)
	t.ID, t.Scopes = jti.String(), split(scopes)
	if t.Audience = split(audience); len(t.Audience) == 1 && t.Issuer == "" {
		t.Issuer = audience
	}
	return err
}
