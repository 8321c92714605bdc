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

// Grace is how long after its rotation a refresh token still gets its one
// successor again: for parallel tabs and for answers lost on the way.
const Grace = 30 * time.Second

// Deriver makes the secret bits of a successor; kit/secret's key ring is one.
type Deriver interface {
	Current() string // the id of the key new tokens are derived with
	MAC(keyID string, tenant id.ID, purpose string, data []byte) ([32]byte, error)
}

const refreshPurpose = "refresh-successor"

// NewRefresh begins a grant's family: it returns the first refresh token, good
// for lifetime and never longer than the grant.
func NewRefresh(tx *db.Tx, ring Deriver, g Grant, lifetime time.Duration) secret.String {
	token, hash := secret.NewToken(secret.RefreshToken, tx.Tenant())
	insertRefresh(tx, g, hash, nil, ring.Current(), lifetime)
	return token
}

func insertRefresh(tx *db.Tx, g Grant, hash, parent []byte, keyID string, lifetime time.Duration) {
	expires := tx.Now().Add(lifetime)
	if g.ExpiresAt.Before(expires) {
		expires = g.ExpiresAt
	}
	tx.Later(`INSERT INTO refresh_tokens (tenant_id, token_hash, grant_id, parent, key_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		hash, g.ID, parent, keyID, tx.Now(), expires)
}

// Rotation says how an application's refresh tokens behave.
type Rotation struct {
	Keep     bool          // the token stays the same (FAPI 2.0 §5.3.2.1 forbids routine rotation); confidential clients only
	Lifetime time.Duration // of a successor, from its making
}

// RotateRefresh redeems a refresh token for the application that has already been
// authenticated. Accepted returns the grant and the token to use from now on:
// the successor, the same one for everybody who asks within Grace, or with
// Rotation.Keep the token itself. A token shown after its grace, or after its
// successor was used, is Replayed: somebody has a copy, so the family is revoked
// (RFC 9700 §4.14.2).
//
// It is two round trips: decide and look, commit.
func RotateRefresh(ctx context.Context, tx *db.Tx, ring Deriver, token string, application id.ID, r Rotation) (Grant, secret.String, Outcome, error) {
	hash, ok := hashOf(tx, token, secret.RefreshToken)
	if !ok {
		return Grant{}, "", Unknown, nil
	}
	now := tx.Now()
	var won int64
	if !r.Keep {
		// The one statement that decides: of any number of redeemers one changes a row. It asks for
		// all that a rotation needs, so that a refusal leaves the token as it was.
		tx.LaterCount(&won, `UPDATE refresh_tokens SET rotated_at = $2 WHERE tenant_id = $1 AND token_hash = $3 AND rotated_at IS NULL AND expires_at > $2
			AND EXISTS (SELECT 1 FROM grants g`+livingJoins+` WHERE g.tenant_id = $1 AND g.id = refresh_tokens.grant_id AND g.application_id = $4 AND `+living+`)`,
			now, hash, application)
	}
	st, err := findRefresh(ctx, tx, hash)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, "", Unknown, nil
	}
	if err != nil {
		return Grant{}, "", "", err
	}
	if st.g.Application != application {
		audit.Write(tx, refused("token.refuse", st.g.ID, "a refresh token was shown by another application"))
		return Grant{}, "", Unknown, nil
	}
	if won == 0 {
		switch {
		case !st.living:
			return Grant{}, "", Unknown, nil
		case !now.Before(st.expires):
			return Grant{}, "", Expired, nil
		case st.rotated.IsZero() && r.Keep:
			return st.g, secret.String(token), Accepted, nil
		case st.rotated.IsZero(): // what it rests on came back between the two statements; the next try finds it
			return Grant{}, "", Unknown, nil
		}
	}
	bits, err := ring.MAC(st.keyID, tx.Tenant(), refreshPurpose, []byte(token))
	if err != nil {
		return Grant{}, "", "", err
	}
	successor, successorHash := secret.TokenFrom(secret.RefreshToken, tx.Tenant(), bits)
	if won == 1 {
		insertRefresh(tx, st.g, successorHash, hash, ring.Current(), r.Lifetime)
		if !st.living { // it ended between the two statements
			return Grant{}, "", Unknown, nil
		}
		return st.g, successor, Accepted, nil
	}
	if now.Sub(st.rotated) <= Grace && !st.successorUsed {
		return st.g, successor, Accepted, nil
	}
	revoke(tx, st.g.ID)
	audit.Write(tx, refused("token.replay", st.g.ID, "a refresh token was shown again after its rotation; the family is revoked (RFC 9700 §4.14.2)"))
	return Grant{}, "", Replayed, nil
}

type refreshState struct {
	g                     Grant
	keyID                 string
	expires, rotated      time.Time
	living, successorUsed bool
}

func findRefresh(ctx context.Context, tx *db.Tx, hash []byte) (refreshState, error) {
	return db.One(ctx, tx, func(r db.Row) (st refreshState, err error) {
		var scopes, amr string
		err = r.Scan(append(grantDest(&st.g, &scopes, &amr), &st.keyID, &st.expires, &st.rotated, &st.successorUsed, &st.living)...)
		st.g.Scopes, st.g.AMR = split(scopes), split(amr)
		return st, err
	}, `SELECT `+grantColumns+`, r.key_id, r.expires_at, r.rotated_at,
		EXISTS (SELECT 1 FROM refresh_tokens n WHERE n.tenant_id = $1 AND n.grant_id = r.grant_id AND n.parent = r.token_hash AND n.rotated_at IS NOT NULL), `+living+`
		FROM refresh_tokens r JOIN grants g ON g.tenant_id = r.tenant_id AND g.id = r.grant_id`+livingJoins+`
		WHERE r.tenant_id = $1 AND r.token_hash = $3`, tx.Now(), hash)
}
