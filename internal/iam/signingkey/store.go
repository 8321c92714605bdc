package signingkey

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// errRotating is the fault for the loser of two rotations at once.
var errRotating = fault.New(fault.Conflict, "signing_key.rotating",
	"Another request is rotating this key. Try again.")

type row struct {
	kid                    string
	alg                    jose.Algorithm
	status                 status
	sealed                 []byte
	activatedAt, retiredAt time.Time
}

func scanRow(r db.Row) (row, error) {
	var k row
	err := r.Scan(&k.kid, &k.alg, &k.status, &k.sealed, &k.activatedAt, &k.retiredAt)
	return k, err
}

// list returns the tenant's keys. They are few, because rotation deletes old ones.
func list(ctx context.Context, tx *db.Tx) ([]row, error) {
	return db.List(ctx, tx, scanRow, `SELECT kid, alg, status, sealed, activated_at, retired_at FROM signing_keys
		WHERE tenant_id = $1 ORDER BY created_at, kid LIMIT 100`)
}

// Exist reports whether the tenant has keys.
func Exist(ctx context.Context, tx *db.Tx) (bool, error) {
	n, err := db.One(ctx, tx, db.Column[int64], `SELECT count(*) FROM signing_keys WHERE tenant_id = $1`)
	return n > 0, err
}

// insert stores a key and reports whether it did. It does nothing if the tenant has a key of this
// algorithm and status.
func insert(ctx context.Context, tx *db.Tx, k sealed, alg jose.Algorithm, s status) (bool, error) {
	var activated time.Time
	if s == statusCurrent {
		activated = tx.Now()
	}
	n, err := tx.Exec(ctx, `INSERT INTO signing_keys (tenant_id, kid, alg, status, sealed, created_at, activated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`, k.kid, alg, s, k.der, tx.Now(), activated)
	return n == 1, err
}

func scanKID(r db.Row) (string, error) {
	var kid string
	err := r.Scan(&kid)
	return kid, err
}

// rotate advances the status of every key of alg and returns the id of the one that signs now. Of
// two rotations at once, one fails with errRotating.
func rotate(ctx context.Context, tx *db.Tx, alg jose.Algorithm, fresh sealed) (string, error) {
	kid, err := db.One(ctx, tx, scanKID, `SELECT kid FROM signing_keys
		WHERE tenant_id = $1 AND alg = $2 AND status = 'next'`, alg)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return "", err
	}
	if _, err := tx.Exec(ctx, `UPDATE signing_keys SET status = 'retired', retired_at = $3
		WHERE tenant_id = $1 AND alg = $2 AND status = 'current'`, alg, tx.Now()); err != nil {
		return "", err
	}
	if kid == "" { // there is no next key: the fresh one signs at once
		_, err := insert(ctx, tx, fresh, alg, statusCurrent)
		return fresh.kid, err
	}
	n, err := tx.Exec(ctx, `UPDATE signing_keys SET status = 'current', activated_at = $3
		WHERE tenant_id = $1 AND kid = $2 AND status = 'next'`, kid, tx.Now())
	if err != nil {
		return "", err
	}
	if n != 1 {
		return "", errRotating
	}
	_, err = insert(ctx, tx, fresh, alg, statusNext)
	return kid, err
}
