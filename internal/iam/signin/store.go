package signin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// ErrGone is returned for a flow that does not exist, belongs to another browser, has expired or
// was finished. A client cannot tell which.
var ErrGone = fault.New(fault.NotFound, "signin.gone",
	"This sign-in was finished, took too long, or was begun in another browser. Go back to where you came from and "+
		"start again.")

// ErrNotDone is returned by Finish for a flow that still has steps to go.
var ErrNotDone = fault.New(fault.Conflict, "signin.not_done",
	"This sign-in is not complete yet.")

// ErrStale is returned by Advance if another step was saved meanwhile.
var ErrStale = fault.New(fault.Conflict, "signin.stale",
	"This sign-in went on in another tab. Load the page again.")

// insert stores a new flow, and sweeps expired flows of the tenant, so that they do not pile up.
func insert(ctx context.Context, tx *db.Tx, browser string, f *Flow, state string, done bool) error {
	if browser == "" {
		return fault.New(fault.Internal, "signin.browser", "A flow belongs to a browser, but none was given.")
	}
	// A carried flow may be stored by two tabs at once. One of them wins.
	n, err := tx.Exec(ctx,
		`INSERT INTO signin_flows (tenant_id, id, browser_hash, state, done, version, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, id) DO NOTHING`,
		f.ID, browserHash(browser), state, done, 1, f.CreatedAt, f.ExpiresAt)
	switch {
	case err != nil:
		return err
	case n == 0:
		return ErrStale
	}
	f.Version = 1
	tx.Sweep(`DELETE FROM signin_flows WHERE tenant_id = $1 AND id IN (
		SELECT id FROM signin_flows WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at, id LIMIT $3)`,
		tx.Now(), db.SweepLimit)
	return nil
}

// Load returns a flow that browser began and that can still be finished. Otherwise it fails with
// ErrGone.
func Load(ctx context.Context, tx *db.Tx, flow id.ID, browser string) (Flow, error) {
	f, err := db.One(ctx, tx, scanFlow, `SELECT id, state, version, created_at, expires_at FROM signin_flows
		WHERE tenant_id = $1 AND id = $2 AND browser_hash = $3 AND finished_at IS NULL AND expires_at > $4`,
		flow, browserHash(browser), tx.Now())
	return f, gone(err)
}

// save stores the flow of s on the version it was loaded at, and whether it is now done. It fails
// with ErrStale if another step was saved in between, or if the flow was finished or has expired.
func save(ctx context.Context, tx *db.Tx, browser string, s *Standing) error {
	b, err := json.Marshal(s.Flow)
	if err != nil {
		return fmt.Errorf("signin: %w", err)
	}
	f, done := &s.Flow, s.Next() == Done
	if f.Version == 0 {
		return insert(ctx, tx, browser, f, string(b), done)
	}
	n, err := tx.Exec(ctx, `UPDATE signin_flows SET state = $4, done = $5, version = version + 1
		WHERE tenant_id = $1 AND id = $2 AND version = $3 AND finished_at IS NULL AND expires_at > $6`,
		f.ID, f.Version, string(b), done, tx.Now())
	switch {
	case err != nil:
		return err
	case n == 0:
		return ErrStale
	}
	f.Version++
	return nil
}

// Finish consumes a flow that is done and returns it, to exactly one caller. It fails with
// ErrNotDone for a flow with steps left, and with ErrGone for any other, a finished one included.
func Finish(ctx context.Context, tx *db.Tx, flow id.ID, browser string) (Flow, error) {
	f, err := db.One(ctx, tx, scanFlow, `UPDATE signin_flows SET finished_at = $4
		WHERE tenant_id = $1 AND id = $2 AND browser_hash = $3 AND done = $5 AND finished_at IS NULL AND expires_at > $4
		RETURNING id, state, version, created_at, expires_at`,
		flow, browserHash(browser), tx.Now(), true)
	if errors.Is(err, db.ErrNoRows) {
		if _, err := Load(ctx, tx, flow, browser); err != nil {
			return Flow{}, err
		}
		return Flow{}, ErrNotDone
	}
	return f, err
}

func scanFlow(r db.Row) (Flow, error) {
	var (
		f               Flow
		flow            id.ID
		state           string
		version         int64
		created, expire time.Time
	)
	if err := r.Scan(&flow, &state, &version, &created, &expire); err != nil {
		return Flow{}, err
	}
	if err := json.Unmarshal([]byte(state), &f); err != nil {
		return Flow{}, fmt.Errorf("signin: flow %s cannot be read: %w", flow, err)
	}
	f.ID, f.Version, f.CreatedAt, f.ExpiresAt = flow, version, created, expire
	return f, nil
}

func gone(err error) error {
	if errors.Is(err, db.ErrNoRows) {
		return ErrGone
	}
	return err
}

// browserHash returns the stored form of a browser's secret. The secret has 256 random bits, so one
// plain hash is enough.
func browserHash(browser string) []byte {
	sum := sha256.Sum256([]byte(browser))
	return sum[:]
}
