package grant

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// purgeBatch bounds how many rows of each table one call of Purge deletes.
const purgeBatch = 500

// replayMemory is how long grants and refresh tokens are kept after their end, so that a late
// replay is recognised.
const replayMemory = 24 * time.Hour

// Purge deletes a bounded number of expired rows and reports whether there may be more. A grant's
// codes, family and tokens go with it, and a note stays while its session may be ended. Only the
// refresh tokens of an earlier release go before.
func Purge(ctx context.Context, tx *db.Tx) (bool, error) {
	ended := tx.Now().Add(-replayMemory)
	if _, err := tx.Exec(ctx, rememberPurged, ended, tx.Now(), purgeBatch); err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, purgeExpired, ended, tx.Now(), purgeBatch)
	if err != nil {
		return false, err
	}
	more := n == purgeBatch
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
