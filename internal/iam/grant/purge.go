package grant

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// purgeBatch bounds how many rows of each table one call of Purge deletes.
const purgeBatch = 500

// replayMemory is how long grants and refresh tokens are kept after their end, so that a late
// replay is recognised.
const replayMemory = 24 * time.Hour

// Purge deletes a bounded number of rows that expired, or that their application ended. It reports
// whether there may be more. A grant's codes, family and tokens go with it, and a note stays while
// its session may be ended. Only the refresh tokens of an earlier release go before.
func Purge(ctx context.Context, tx *db.Tx) (bool, error) {
	n, err := deleteGrants(ctx, tx, expired, tx.Now().Add(-replayMemory), tx.Now(), purgeBatch)
	if err != nil {
		return false, err
	}
	more, err := purgeEnded(ctx, tx)
	if err != nil {
		return false, err
	}
	more = more || n == purgeBatch
	for _, p := range []struct {
		sql  string
		keep time.Duration
	}{
		{unredeemed, codeMemory},
		{expiredDevices, deviceMemory},
		{`DELETE FROM access_tokens WHERE tenant_id = $1 AND token_hash IN (
			SELECT token_hash FROM access_tokens WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`, 0},
		{`DELETE FROM refresh_tokens WHERE tenant_id = $1 AND token_hash IN (
			SELECT token_hash FROM refresh_tokens WHERE tenant_id = $1 AND rotated_at IS NOT NULL AND expires_at < $2
			ORDER BY expires_at LIMIT $3)`, replayMemory},
		{`DELETE FROM used_jtis WHERE tenant_id = $1 AND (issuer, jti) IN (
			SELECT issuer, jti FROM used_jtis WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)`, 0},
	} {
		n, err := tx.Exec(ctx, p.sql, tx.Now().Add(-p.keep), purgeBatch)
		if err != nil {
			return false, err
		}
		more = more || n == purgeBatch
	}
	return more, nil
}

// deleteGrants deletes the grants that a query selects, and notes their applications.
func deleteGrants(ctx context.Context, tx *db.Tx, purgeable string, args ...any) (int64, error) {
	if _, err := tx.Exec(ctx, rememberPurged(purgeable), args...); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, purgeGrants(purgeable), args...)
}

// purgeEnded is the part of Purge for one application that has ended what it held. Nothing of that
// counts: a replay of it is refused whether its row is there or not.
func purgeEnded(ctx context.Context, tx *db.Tx) (bool, error) {
	e, err := application.NextEnded(ctx, tx)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n, err := deleteGrants(ctx, tx, ended, e.Application, tx.Now(), purgeBatch, e.GrantsFrom)
	if err != nil {
		return false, err
	}
	more := n == purgeBatch
	for _, p := range []struct {
		sql  string
		from int64
	}{
		{`DELETE FROM access_tokens WHERE tenant_id = $1 AND token_hash IN (
			SELECT token_hash FROM access_tokens WHERE tenant_id = $1 AND application_id = $2 AND grant_id IS NULL
				AND application_generation < $3 LIMIT $4)`, e.GrantsFrom},
		{`DELETE FROM consents WHERE tenant_id = $1 AND application_id = $2 AND user_id IN (
			SELECT user_id FROM consents WHERE tenant_id = $1 AND application_id = $2
				AND application_generation < $3 LIMIT $4)`, e.ConsentsFrom},
	} {
		n, err := tx.Exec(ctx, p.sql, e.Application, p.from, purgeBatch)
		if err != nil {
			return false, err
		}
		more = more || n == purgeBatch
	}
	if !more {
		application.Purged(tx, e)
	}
	return true, nil // another application may have ended something too
}
