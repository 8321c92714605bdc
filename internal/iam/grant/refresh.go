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

// NewRefresh starts a grant's family. It returns the first refresh token, which expires after
// lifetime and never later than the grant.
func NewRefresh(tx *db.Tx, ring Deriver, g Grant, lifetime time.Duration) secret.String {
	keyID, first := ring.Current(), newPlace()
	token, hash, err := first.token(tx, ring, keyID)
	if err != nil {
		panic("grant: the key ring lacks its current key: " + err.Error())
	}
	insertFamily(tx, g, first, hash, nil, keyID, lifetime)
	return token
}

// insertFamily stores a family: one row, however often its token is rotated. parent is the hash of
// the token of an earlier release that it continues, or nil.
func insertFamily(tx *db.Tx, g Grant, at place, hash, parent []byte, keyID string, lifetime time.Duration) {
	tx.Later(`INSERT INTO refresh_tokens (tenant_id, token_hash, grant_id, parent, key_id, created_at, expires_at,
		family) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		hash, g.ID, parent, keyID, tx.Now(), tx.Now().Add(lifetime), at.family)
}

// Rotation is how an application's refresh tokens are replaced.
type Rotation struct {
	// Keep keeps the same token (FAPI 2.0 §5.3.2.1 forbids routine rotation). It is for
	// confidential clients only.
	Keep     bool
	Lifetime time.Duration // of the token until its next use
}

// redeemable is the condition under which an application, $4, redeems a token that a row of
// refresh_tokens holds, at $2. A rotation is one statement with all of it, so that a refusal leaves
// the token as it was, and of any number of redeemers one changes the row.
//
// The grant is a value here, as in living. For EXISTS with the application in it, Postgres may read
// all grants of the application.
const redeemable = `tenant_id = $1 AND token_hash = $3 AND rotated_at IS NULL AND expires_at > $2
	AND $4 = (SELECT g.application_id FROM grants g
		WHERE g.tenant_id = $1 AND g.id = refresh_tokens.grant_id AND ` + living + `)`

// rotateFamily replaces the token of a family.
const rotateFamily = `UPDATE refresh_tokens
	SET token_hash = $5, key_id = $6, created_at = $2, expires_at = $7, rotations = rotations + 1
	WHERE ` + redeemable

// RotateRefresh redeems a refresh token for an application that has authenticated.
//
// Accepted returns the grant and the token to use from now on. That is the successor, the same one
// for every request within Grace, or with Rotation.Keep the token itself. A token that is shown
// after its grace, or after its successor was used, is Replayed: there is a copy of it. Then the
// family is revoked (RFC 9700 §4.14.2).
//
// It takes two round trips: one to decide and read, one to commit. A token that is not the newest
// takes a third, which reads why.
func RotateRefresh(
	ctx context.Context, tx *db.Tx, ring Deriver, token string, application id.ID, r Rotation,
) (Grant, secret.String, Outcome, error) {
	shown, ok := readRefresh(tx, ring, token)
	if !ok {
		return Grant{}, "", Unknown, nil
	}
	if !shown.authentic {
		st, err := findRefresh(ctx, tx, shown)
		switch {
		case errors.Is(err, db.ErrNoRows):
			return Grant{}, "", Unknown, nil
		case err != nil:
			return Grant{}, "", "", err
		case !st.isFamily:
			return rotateEarlier(ctx, tx, ring, shown, application, r)
		}
		shown.authentic = true // its key has left the ring, but this is the token whose hash is stored
	}
	keyID, next := ring.Current(), shown.place.next()
	successor, hash, err := next.token(tx, ring, keyID)
	if err != nil {
		return Grant{}, "", "", err
	}
	if !r.Keep {
		var won int64
		tx.LaterCount(&won, rotateFamily, tx.Now(), shown.hash, application, hash, keyID, tx.Now().Add(r.Lifetime))
		g, err := grantOfFamily(ctx, tx, shown.place.family)
		switch {
		case errors.Is(err, db.ErrNoRows):
			return Grant{}, "", Unknown, nil
		case err != nil:
			return Grant{}, "", "", err
		case won == 1:
			return g, successor, Accepted, nil
		}
	}
	st, err := findRefresh(ctx, tx, shown)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, "", Unknown, nil
	}
	if err != nil {
		return Grant{}, "", "", err
	}
	if outcome, err := st.refuse(ctx, tx, shown, application); outcome != Accepted {
		return Grant{}, "", outcome, err
	}
	switch {
	case st.number == next.number && tx.Now().Sub(st.created) <= Grace && st.rotated.IsZero():
		if !tx.Now().Before(st.expires) {
			return Grant{}, "", Expired, nil
		}
		successor, _, err = next.token(tx, ring, st.keyID)
		return st.grant, successor, Accepted, err
	case st.number > shown.place.number:
		return Grant{}, "", st.replayed(tx), nil
	case st.number < shown.place.number: // the database is older than the token: a backup was restored
		return Grant{}, "", Unknown, nil
	case !st.rotated.IsZero():
		return st.again(tx, ring, shown)
	}
	return st.keep(tx, shown, r)
}

// refuse returns Accepted unless the application or the state of the grant refuses the token.
func (st refreshState) refuse(ctx context.Context, tx *db.Tx, shown shownToken, application id.ID) (Outcome, error) {
	switch {
	case st.grant.Application != application:
		return Unknown, refuseOnce(ctx, tx, shown.hash, refused("token.refuse", st.grant.ID,
			"a refresh token was shown by another application"))
	case !st.living:
		return Unknown, nil
	}
	return Accepted, nil
}

// keep answers for the current token of a family, which was not rotated.
func (st refreshState) keep(tx *db.Tx, shown shownToken, r Rotation) (Grant, secret.String, Outcome, error) {
	end := tx.Now().Add(r.Lifetime)
	switch {
	case !tx.Now().Before(st.expires):
		return Grant{}, "", Expired, nil
	case !r.Keep: // the grant became valid between the two statements; a retry succeeds
		return Grant{}, "", Unknown, nil
	}
	tx.Later(`UPDATE refresh_tokens SET expires_at = $3 WHERE tenant_id = $1 AND token_hash = $2
		AND rotated_at IS NULL AND expires_at < $3`, shown.hash, end)
	return st.grant, secret.String(shown.text), Accepted, nil
}

// replayed revokes the family of a token that was shown again.
func (st refreshState) replayed(tx *db.Tx) Outcome {
	revokeLater(tx, st.grant.ID)
	audit.Write(tx, refused("token.replay", st.grant.ID,
		"a refresh token was shown again after its rotation; the family is revoked (RFC 9700 §4.14.2)"))
	return Replayed
}

// refreshState is a row of refresh_tokens with its grant: a family, or one token of an earlier
// release.
type refreshState struct {
	grant    Grant
	isFamily bool
	number   uint32 // of the family's current token
	keyID    string
	created  time.Time // when the current token was made
	expires  time.Time
	living   bool // the grant is valid

	// What an earlier release leaves; see earlier.go.
	rotated       time.Time
	successorUsed bool
}

// findRefresh returns the family of an authentic token, at whatever place the token stands.
// Otherwise it returns the row that has the hash of the token.
func findRefresh(ctx context.Context, tx *db.Tx, shown shownToken) (refreshState, error) {
	scan := func(r db.Row) (refreshState, error) {
		var st refreshState
		var number int64
		err := st.grant.scan(r, &st.isFamily, &number, &st.keyID, &st.created, &st.expires, &st.rotated,
			&st.successorUsed, &st.living)
		st.number = uint32(number)
		return st, err
	}
	const found = `SELECT ` + grantColumns + `, r.family IS NOT NULL, r.rotations, r.key_id, r.created_at,
		r.expires_at, r.rotated_at, ` + successorUsed + `, ` + living + `
		FROM refresh_tokens r JOIN grants g ON g.tenant_id = r.tenant_id AND g.id = r.grant_id
		WHERE r.tenant_id = $1 AND `
	if shown.authentic {
		return db.One(ctx, tx, scan, found+`r.family = $3`, tx.Now(), shown.place.family)
	}
	return db.One(ctx, tx, scan, found+`r.token_hash = $3`, tx.Now(), shown.hash)
}

// grantOfFamily returns the grant of a family. It does not say whether the grant is living:
// rotateFamily, which is sent right before it, has decided that.
func grantOfFamily(ctx context.Context, tx *db.Tx, family int64) (Grant, error) {
	return db.One(ctx, tx, scanGrant, `SELECT `+grantColumns+` FROM refresh_tokens r JOIN grants g ON g.tenant_id = r.tenant_id AND g.id = r.grant_id
		WHERE r.tenant_id = $1 AND r.family = $2`, family)
}

// Refresh returns what introspection answers about a refresh token (RFC 7662). It fails with
// ErrToken unless the token can be redeemed.
func Refresh(ctx context.Context, tx *db.Tx, token string) (Token, error) {
	t, err := secret.ParseToken(token)
	if err != nil || t.Kind != secret.RefreshToken || t.Tenant != tx.Tenant() {
		return Token{}, ErrToken
	}
	st, err := findRefresh(ctx, tx, shownToken{hash: t.Hash}) // the current token of its family
	if errors.Is(err, db.ErrNoRows) {
		return Token{}, ErrToken
	}
	if err != nil {
		return Token{}, err
	}
	if !st.living || !st.rotated.IsZero() || !tx.Now().Before(st.expires) {
		return Token{}, ErrToken
	}
	end := st.expires
	if st.grant.ExpiresAt.Before(end) { // a token does not outlive its grant
		end = st.grant.ExpiresAt
	}
	return Token{
		Application: st.grant.Application, Grant: st.grant.ID, User: st.grant.User, Session: st.grant.Session,
		Scopes: st.grant.Scopes, IssuedAt: st.grant.CreatedAt, ExpiresAt: end,
		AuthTime: st.grant.AuthTime, AMR: st.grant.AMR, ACR: st.grant.ACR, Address: st.grant.Address,
		Offline: st.grant.Offline,
	}, nil
}
