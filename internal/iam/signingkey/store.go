package signingkey

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// ErrNotFound is the fault for a key that the tenant does not have, or no longer has.
var ErrNotFound = fault.New(fault.NotFound, "signing_key.not_found",
	"There is no signing key with this kid. It may have been withdrawn already.")

// errRotating is the fault for the loser of two rotations or withdrawals at once.
var errRotating = fault.New(fault.Conflict, "signing_key.rotating",
	"Another request is rotating this key. Try again.")

type row struct {
	kid                               string
	alg                               jose.Algorithm
	status                            status
	sealed                            []byte
	createdAt, activatedAt, retiredAt time.Time
}

func scanRow(r db.Row) (row, error) {
	var k row
	err := r.Scan(&k.kid, &k.alg, &k.status, &k.sealed, &k.createdAt, &k.activatedAt, &k.retiredAt)
	return k, err
}

// listed is how many keys of a tenant are read: more than maxKeys of each algorithm.
const listed = 200

// list returns the tenant's keys, oldest first.
func list(ctx context.Context, tx *db.Tx) ([]row, error) {
	return db.List(ctx, tx, scanRow, `SELECT kid, alg, status, sealed, created_at, activated_at, retired_at
		FROM signing_keys WHERE tenant_id = $1 ORDER BY created_at, kid LIMIT $2`, listed)
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

// rotate advances the status of every key of alg. It returns the ids of the key that signed before
// and of the one that signs now. Of two rotations at once, one fails with errRotating.
func rotate(ctx context.Context, tx *db.Tx, after fresh) (string, string, error) {
	alg := after.alg
	rows, err := list(ctx, tx)
	if err != nil {
		return "", "", err
	}
	var current, next row
	count := 0
	for _, r := range rows {
		if r.alg != alg {
			continue
		}
		count++
		switch r.status {
		case statusCurrent:
			current = r
		case statusNext:
			next = r
		case statusRetired:
		}
	}
	switch from := signsFrom(rows, next); {
	case next.kid == "":
		return "", "", errRotating
	case tx.Now().Before(from):
		return "", "", fault.New(fault.Conflict, "signing_key.next_too_new",
			"The next %s key was published at %s, and clients may not know it before %s. Rotate again then.", alg,
			next.createdAt.Format(time.RFC3339), from.Format(time.RFC3339))
	case count >= maxKeys:
		return "", "", fault.New(fault.Conflict, "signing_key.too_many",
			"The tenant has %d %s keys. Retired keys are kept for %d days, because tokens may still need them.", count,
			alg, keepRetired/(24*time.Hour))
	}
	if _, err := tx.Exec(ctx, `UPDATE signing_keys SET status = 'retired', retired_at = $3
		WHERE tenant_id = $1 AND alg = $2 AND status = 'current'`, alg, tx.Now()); err != nil {
		return "", "", err
	}
	return current.kid, next.kid, promote(ctx, tx, next, after)
}

// retire retires the current key of an algorithm without a successor, and deletes the next one,
// which signed nothing. It returns the kid of the retired key, "" for none.
func retire(ctx context.Context, tx *db.Tx, alg jose.Algorithm) (string, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM signing_keys
		WHERE tenant_id = $1 AND alg = $2 AND status = 'next'`, alg); err != nil {
		return "", err
	}
	kid, err := db.One(ctx, tx, db.Column[string], `UPDATE signing_keys SET status = 'retired', retired_at = $3
		WHERE tenant_id = $1 AND alg = $2 AND status = 'current' RETURNING kid`, alg, tx.Now())
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	return kid, err
}

// promote makes next the current key of its algorithm, which has none, and stores after as the next
// one.
func promote(ctx context.Context, tx *db.Tx, next row, after fresh) error {
	at := tx.Now()
	if !at.After(next.createdAt) { // a later time tells a promoted key from one that was created current
		at = next.createdAt.Add(time.Microsecond)
	}
	n, err := tx.Exec(ctx, `UPDATE signing_keys SET status = 'current', activated_at = $3
		WHERE tenant_id = $1 AND kid = $2 AND status = 'next'`, next.kid, at)
	if err != nil {
		return err
	}
	if n != 1 {
		return errRotating
	}
	_, err = insert(ctx, tx, after.sealed, after.alg, statusNext)
	return err
}

// withdraw deletes a key. It returns what the key was, and the kid of the key that has its place
// now, "" for none. It fails with ErrNotFound, or with errRotating if another call changed the key
// at the same moment.
func withdraw(ctx context.Context, tx *db.Tx, kid string, replacement fresh) (row, string, error) {
	rows, err := list(ctx, tx)
	if err != nil {
		return row{}, "", err
	}
	i := slices.IndexFunc(rows, func(r row) bool { return r.kid == kid })
	if i < 0 {
		return row{}, "", ErrNotFound
	}
	gone := rows[i]
	if gone.status != statusRetired && replacement.kid == "" {
		return row{}, "", errRotating
	}
	n, err := tx.Exec(ctx, `DELETE FROM signing_keys WHERE tenant_id = $1 AND kid = $2 AND status = $3`,
		kid, gone.status)
	if err != nil {
		return row{}, "", err
	}
	if n != 1 {
		return row{}, "", errRotating
	}
	switch gone.status {
	case statusNext:
		_, err = insert(ctx, tx, replacement.sealed, gone.alg, statusNext)
		return gone, replacement.kid, err
	case statusCurrent:
		next := slices.IndexFunc(rows, func(r row) bool { return r.alg == gone.alg && r.status == statusNext })
		if next < 0 {
			return row{}, "", errRotating
		}
		return gone, rows[next].kid, promote(ctx, tx, rows[next], replacement)
	case statusRetired:
	}
	return gone, "", nil
}

// find returns one key as the API shows it, or ErrNotFound.
func find(ctx context.Context, tx *db.Tx, kid string) (Key, error) {
	keys, err := List(ctx, tx)
	if err != nil {
		return Key{}, err
	}
	for _, key := range keys {
		if key.ID == kid {
			return key, nil
		}
	}
	return Key{}, ErrNotFound
}
