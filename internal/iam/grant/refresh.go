package grant

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Grace is how long after its rotation a refresh token still returns its one successor, unless the
// successor was used before. Parallel tabs need it, and clients that lost the answer: it is longer
// than the time of a request and than Failover, after which they try again.
const Grace = 5 * time.Minute

// Failover is how long a database may take to answer again, as Postgres does when a standby takes
// over. Nothing that a client holds may end because of it.
const Failover = 2 * time.Minute

// Deriver derives the secret bits of a successor; kit/secret's key ring implements it.
type Deriver interface {
	Current() string // the id of the key for new tokens
	MAC(keyID string, tenant id.ID, purpose string, data []byte) ([32]byte, error)
}

const refreshPurpose = "refresh-successor"

// NewRefresh starts a grant's family. It returns the first refresh token, which expires after
// lifetime and never later than the grant.
func NewRefresh(tx *db.Tx, ring Deriver, g Grant, lifetime time.Duration) secret.String {
	token, hash := secret.NewToken(secret.RefreshToken, tx.Tenant())
	insertRefresh(tx, g, hash, nil, ring.Current(), lifetime)
	return token
}

func insertRefresh(tx *db.Tx, g Grant, hash, parent []byte, keyID string, lifetime time.Duration) {
	tx.Later(`INSERT INTO refresh_tokens (tenant_id, token_hash, grant_id, parent, key_id, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, hash, g.ID, parent, keyID, tx.Now(), g.endOfIdle(tx.Now(), lifetime))
}

// endOfIdle returns when a refresh token that was used at now ends if it is not used again. It does
// not outlive its grant.
func (g Grant) endOfIdle(now time.Time, lifetime time.Duration) time.Time {
	if end := now.Add(lifetime); end.Before(g.ExpiresAt) {
		return end
	}
	return g.ExpiresAt
}

// Rotation is how an application's refresh tokens are replaced.
type Rotation struct {
	// Keep keeps the same token (FAPI 2.0 §5.3.2.1 forbids routine rotation). It is for
	// confidential clients only.
	Keep     bool
	Lifetime time.Duration // of the token until its next use
}

// RotateRefresh redeems a refresh token for an application that has authenticated.
//
// Accepted returns the grant and the token to use from now on. That is the successor, the same one
// for every request within Grace, or with Rotation.Keep the token itself. A token that is shown
// after its grace, or after its successor was used, is Replayed: there is a copy of it. Then the
// family is revoked (RFC 9700 §4.14.2).
//
// It takes two round trips: one to decide and read, one to commit.
func RotateRefresh(
	ctx context.Context, tx *db.Tx, ring Deriver, token string, application id.ID, r Rotation,
) (Grant, secret.String, Outcome, error) {
	hash, ok := hashOf(tx, token, secret.RefreshToken)
	if !ok {
		return Grant{}, "", Unknown, nil
	}
	now := tx.Now()
	var won int64
	if !r.Keep {
		// This statement decides: of any number of redeemers, one changes a row. Its condition has
		// everything that a rotation needs, so that a refusal leaves the token as it was.
		tx.LaterCount(&won, `UPDATE refresh_tokens SET rotated_at = $2
			WHERE tenant_id = $1 AND token_hash = $3 AND rotated_at IS NULL AND expires_at > $2
			AND EXISTS (SELECT 1 FROM grants g`+livingJoins+`
				WHERE g.tenant_id = $1 AND g.id = refresh_tokens.grant_id AND g.application_id = $4 AND `+living+`)`,
			now, hash, application)
	}
	st, err := findRefresh(ctx, tx, hash)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, "", Unknown, nil
	}
	if err != nil {
		return Grant{}, "", "", err
	}
	if st.grant.Application != application {
		if err := refuseOnce(ctx, tx, hash, refused("token.refuse", st.grant.ID,
			"a refresh token was shown by another application")); err != nil {
			return Grant{}, "", "", err
		}
		return Grant{}, "", Unknown, nil
	}
	if won == 0 {
		switch {
		case !st.living:
			return Grant{}, "", Unknown, nil
		case !now.Before(st.expires):
			return Grant{}, "", Expired, nil
		case st.rotated.IsZero() && r.Keep:
			tx.Later(`UPDATE refresh_tokens SET expires_at = $3 WHERE tenant_id = $1 AND token_hash = $2
				AND rotated_at IS NULL AND expires_at < $3`, hash, st.grant.endOfIdle(now, r.Lifetime))
			return st.grant, secret.String(token), Accepted, nil
		case st.rotated.IsZero(): // the grant became valid between the two statements; a retry succeeds
			return Grant{}, "", Unknown, nil
		}
	}
	bits, err := ring.MAC(st.keyID, tx.Tenant(), refreshPurpose, []byte(token))
	if err != nil {
		return Grant{}, "", "", err
	}
	successor, successorHash := secret.TokenFrom(secret.RefreshToken, tx.Tenant(), bits)
	if won == 1 {
		insertRefresh(tx, st.grant, successorHash, hash, ring.Current(), r.Lifetime)
		if !st.living { // it ended between the two statements
			return Grant{}, "", Unknown, nil
		}
		return st.grant, successor, Accepted, nil
	}
	if now.Sub(st.rotated) <= Grace && !st.successorUsed {
		return st.grant, successor, Accepted, nil
	}
	revokeLater(tx, st.grant.ID)
	audit.Write(tx, refused("token.replay", st.grant.ID,
		"a refresh token was shown again after its rotation; the family is revoked (RFC 9700 §4.14.2)"))
	return Grant{}, "", Replayed, nil
}

// refreshState is a stored refresh token with its grant.
type refreshState struct {
	grant            Grant
	keyID            string
	expires, rotated time.Time
	living           bool // the grant is valid
	successorUsed    bool
}

func findRefresh(ctx context.Context, tx *db.Tx, hash []byte) (refreshState, error) {
	scan := func(r db.Row) (refreshState, error) {
		var st refreshState
		var scopes, amr string
		err := r.Scan(append(grantDest(&st.grant, &scopes, &amr),
			&st.keyID, &st.expires, &st.rotated, &st.successorUsed, &st.living)...)
		st.grant.Scopes, st.grant.AMR = split(scopes), split(amr)
		return st, err
	}
	return db.One(ctx, tx, scan, `SELECT `+grantColumns+`, r.key_id, r.expires_at, r.rotated_at,
		EXISTS (SELECT 1 FROM refresh_tokens n WHERE n.tenant_id = $1 AND n.grant_id = r.grant_id
			AND n.parent = r.token_hash AND n.rotated_at IS NOT NULL), `+living+`
		FROM refresh_tokens r JOIN grants g ON g.tenant_id = r.tenant_id AND g.id = r.grant_id`+livingJoins+`
		WHERE r.tenant_id = $1 AND r.token_hash = $3`, tx.Now(), hash)
}

// Refresh returns what introspection answers about a refresh token (RFC 7662). It fails with
// ErrToken unless the token can be redeemed.
func Refresh(ctx context.Context, tx *db.Tx, token string) (Token, error) {
	hash, ok := hashOf(tx, token, secret.RefreshToken)
	if !ok {
		return Token{}, ErrToken
	}
	st, err := findRefresh(ctx, tx, hash)
	if errors.Is(err, db.ErrNoRows) {
		return Token{}, ErrToken
	}
	if err != nil {
		return Token{}, err
	}
	if !st.living || !st.rotated.IsZero() || !tx.Now().Before(st.expires) {
		return Token{}, ErrToken
	}
	return Token{
		Application: st.grant.Application, Grant: st.grant.ID, User: st.grant.User, Session: st.grant.Session,
		Scopes: st.grant.Scopes, IssuedAt: st.grant.CreatedAt, ExpiresAt: st.expires,
		AuthTime: st.grant.AuthTime, AMR: st.grant.AMR, ACR: st.grant.ACR, Address: st.grant.Address,
		Offline: st.grant.Offline,
	}, nil
}
