package application

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Part is a part of what an application holds that ends at once.
type Part string

// The parts. Each names the column with the first generation whose rows still count.
const (
	Grants   Part = "grants_from"   // the grants, and the application's own opaque tokens
	Offline  Part = "offline_from"  // that grants outlive their sessions
	Consents Part = "consents_from" // what users have allowed it
)

// NextGeneration ends a part of what the application holds: rows of this generation and before do
// not count once it is committed. It fails with ErrNotFound.
//
// It writes one row, whatever the application holds. A replica that decides by an older copy of the
// application stores that copy's generation, so what it gives has ended already. iam/grant compares
// the generations, and deletes the rows later.
func NextGeneration(ctx context.Context, tx *db.Tx, application id.ID, ends Part) error {
	n, err := tx.Exec(ctx, `UPDATE applications SET generation = generation + 1, `+string(ends)+` = generation + 1
		WHERE tenant_id = $1 AND id = $2`, application)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	tenant.Touch(tx)
	return nil
}

// Ended is an application that may have rows of generations that do not count.
type Ended struct {
	Application  id.ID
	Generation   int64
	GrantsFrom   int64
	ConsentsFrom int64
}

// NextEnded returns an application with ends that Purged has not recorded. It fails with
// db.ErrNoRows if there is none.
func NextEnded(ctx context.Context, tx *db.Tx) (Ended, error) {
	return db.One(ctx, tx, func(r db.Row) (Ended, error) {
		var e Ended
		return e, r.Scan(&e.Application, &e.Generation, &e.GrantsFrom, &e.ConsentsFrom)
	}, `SELECT id, generation, grants_from, consents_from FROM applications
		WHERE tenant_id = $1 AND purged_generation < generation ORDER BY id LIMIT 1`)
}

// Purged records that the rows are deleted that ended before e was read.
func Purged(tx *db.Tx, e Ended) {
	tx.Later(`UPDATE applications SET purged_generation = $3
		WHERE tenant_id = $1 AND id = $2 AND purged_generation < $3`, e.Application, e.Generation)
}
