package signingkey

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

type row struct {
	kid                    string
	alg                    jose.Algorithm
	status                 Status
	sealed                 []byte
	activatedAt, retiredAt time.Time
}

// list returns the tenant's keys: few, because rotation deletes old ones.
func list(ctx context.Context, tx *db.Tx) ([]row, error) {
	return db.List(ctx, tx, func(r db.Row) (k row, err error) {
		return k, r.Scan(&k.kid, &k.alg, &k.status, &k.sealed, &k.activatedAt, &k.retiredAt)
	}, `SELECT kid, alg, status, sealed, activated_at, retired_at FROM signing_keys WHERE tenant_id = $1 ORDER BY created_at, kid LIMIT 100`)
}

// insert stores a key unless the tenant has one of this algorithm and status.
func insert(ctx context.Context, tx *db.Tx, k sealed, alg jose.Algorithm, s Status) (won bool, err error) {
	var activated time.Time
	if s == Current {
		activated = tx.Now()
	}
	n, err := tx.Exec(ctx, `INSERT INTO signing_keys (tenant_id, kid, alg, status, sealed, created_at, activated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`, k.kid, alg, s, k.der, tx.Now(), activated)
	return n == 1, err
}

// rotate moves every key of alg one status on. The first statement decides between
// two that rotate at once: the loser finds the current key changed.
func rotate(ctx context.Context, tx *db.Tx, alg jose.Algorithm, fresh sealed) (kid string, err error) {
	kid, err = db.One(ctx, tx, func(r db.Row) (kid string, err error) { return kid, r.Scan(&kid) },
		`SELECT kid FROM signing_keys WHERE tenant_id = $1 AND alg = $2 AND status = 'next'`, alg)
	if errors.Is(err, db.ErrNoRows) {
		kid = fresh.kid // no next key: the fresh one signs at once
	} else if err != nil {
		return "", err
	}
	if _, err := tx.Exec(ctx, `UPDATE signing_keys SET status = 'retired', retired_at = $3 WHERE tenant_id = $1 AND alg = $2 AND status = 'current'`, alg, tx.Now()); err != nil {
		return "", err
	}
	if kid == fresh.kid {
		_, err := insert(ctx, tx, fresh, alg, Current)
		return kid, err
	}
	n, err := tx.Exec(ctx, `UPDATE signing_keys SET status = 'current', activated_at = $3 WHERE tenant_id = $1 AND kid = $2 AND status = 'next'`, kid, tx.Now())
	if err != nil {
		return "", err
	}
	if n != 1 {
		return "", fault.New(fault.Conflict, "signing_key.rotating", "Somebody else is rotating this key right now.")
	}
	_, err = insert(ctx, tx, fresh, alg, Next)
	return kid, err
}
