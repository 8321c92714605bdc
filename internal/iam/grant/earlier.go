package grant

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Until schema 24 each refresh token had a row of its own, and named its parent. Such a token is
// redeemed once, and starts a family. A replica of the earlier release may run beside this one. It
// redeems the current token of a family like one of its own: it closes the row by rotated_at, and
// adds a row for the successor. That one starts a family again.

// onlyAboutPeople returns the scopes that a grant for APIs stores for a replica of the earlier
// release. That one takes every grant for one of the tenant's, and must not give the words of an
// API another meaning there.
func onlyAboutPeople(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !resourceserver.AboutPeople(s) })
}

// successorUsed reports whether the successor of a row that has one was redeemed.
const successorUsed = `r.rotated_at IS NOT NULL AND EXISTS (SELECT 1 FROM refresh_tokens n
	WHERE n.tenant_id = $1 AND n.grant_id = r.grant_id AND n.parent = r.token_hash
	AND (n.rotated_at IS NOT NULL OR n.rotations > 0))`

// rotateEarlier is RotateRefresh for a token of the earlier release. A row of such a token has no
// family. Its rotations become 1 if its successor is a family.
func rotateEarlier(
	ctx context.Context, tx *db.Tx, ring Deriver, shown shownToken, application id.ID, r Rotation,
) (Grant, secret.String, Outcome, error) {
	var won int64
	if !r.Keep {
		tx.LaterCount(&won, `UPDATE refresh_tokens SET rotated_at = $2, rotations = 1 WHERE `+redeemable,
			tx.Now(), shown.hash, application)
	}
	st, err := findRefresh(ctx, tx, shown)
	if errors.Is(err, db.ErrNoRows) {
		return Grant{}, "", Unknown, nil
	}
	if err != nil {
		return Grant{}, "", "", err
	}
	outcome, err := st.refuse(ctx, tx, shown, application)
	switch {
	case outcome != Accepted:
		return Grant{}, "", outcome, err
	case st.rotated.IsZero():
		return st.keep(tx, shown, r)
	case won == 0:
		return st.again(tx, ring, shown)
	}
	at, successor, hash, err := st.firstToken(tx, ring, shown)
	if err != nil {
		return Grant{}, "", "", err
	}
	insertFamily(tx, st.grant, at, hash, shown.hash, st.keyID, r.Lifetime)
	return st.grant, successor, Accepted, nil
}

// again answers for a token whose row was closed: its one successor within Grace, unless that was
// used.
func (st refreshState) again(tx *db.Tx, ring Deriver, shown shownToken) (Grant, secret.String, Outcome, error) {
	switch {
	case !tx.Now().Before(st.expires):
		return Grant{}, "", Expired, nil
	case tx.Now().Sub(st.rotated) > Grace || st.successorUsed:
		return Grant{}, "", st.replayed(tx), nil
	case st.isFamily || st.number == 0: // a replica of the earlier release closed it
		bits, err := ring.MAC(st.keyID, tx.Tenant(), earlierPurpose, []byte(shown.text))
		successor, _ := secret.TokenFrom(secret.RefreshToken, tx.Tenant(), bits)
		return st.grant, successor, Accepted, err
	}
	_, successor, _, err := st.firstToken(tx, ring, shown)
	return st.grant, successor, Accepted, err
}

const earlierPurpose = "refresh-successor"

// firstToken derives the family that continues a token of the earlier release, and the family's
// first token. They are the same for every request.
func (st refreshState) firstToken(
	tx *db.Tx, ring Deriver, shown shownToken,
) (place, secret.String, []byte, error) {
	bits, err := ring.MAC(st.keyID, tx.Tenant(), earlierPurpose, []byte(shown.text))
	if err != nil {
		return place{}, "", nil, err
	}
	at := firstOf(bits[:8])
	token, hash, err := at.token(tx, ring, st.keyID)
	return at, token, hash, err
}
