package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
)

// DeleteJob is the kind of the job that deletes a tenant. It belongs to the platform, because the
// tenant's own jobs are deleted with it.
const DeleteJob = "tenant.delete"

const (
	// deleteDelay is how long a tenant stays marked before its first row is erased. It exceeds the
	// time for which a replica trusts its copies (stale), so that no replica answers for a tenant
	// that is half gone.
	deleteDelay = 2 * stale
	eraseRows   = 500              // rows of one transaction
	eraseTime   = 10 * time.Second // of one run of the job, less than a job's lease
)

type deletion struct {
	Tenant id.ID            `json:"tenant"`
	Slug   string           `json:"slug"`
	Rows   map[string]int64 `json:"-"`
}

// Delete marks the tenant for deletion. From now on it is not found. DeleteJob, enqueued in
// platform with the mark, does the rest. It fails with ErrNotFound, ErrPlatform or ErrDeleting.
func Delete(ctx context.Context, st *db.SystemTx, q *job.Queue, platform, tenant id.ID) (Tenant, error) {
	t, err := change(ctx, st.For(tenant), Deleting, "tenant.delete")
	if err != nil {
		return Tenant{}, err
	}
	at := st.For(platform)
	audit.Write(at, audit.Event{Action: "tenant.delete", Target: t.target(), Detail: map[string]any{"state": "begun"}})
	return t, q.Enqueue(at, job.New{Kind: DeleteJob, Payload: deletion{Tenant: t.ID, Slug: t.Slug},
		Due: st.Now().Add(deleteDelay), Key: t.ID.String()})
}

// Eraser runs DeleteJob.
type Eraser struct {
	DB    *db.DB
	Clock clock.Clock
}

// Run is the handler of DeleteJob. It erases rows in batches, children before parents, until
// nothing is left or its time is up. Then it asks to run again.
//
// The tenant's own row goes last, in a transaction with the platform's audit event. The same
// transaction retires its slug and domains. No table has a
// cascade from it, so the database refuses to delete it while a row of the tenant is left.
func (e *Eraser) Run(ctx context.Context, c caller.Caller, payload []byte) error {
	var del deletion
	if err := json.Unmarshal(payload, &del); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	victim := within(c, del.Tenant)
	tables, err := e.DB.Tables(ctx)
	if err != nil {
		return err
	}
	end := e.Clock.Now().Add(eraseTime)
	for _, t := range tables {
		for {
			if e.Clock.Now().After(end) {
				return job.Again(0)
			}
			n, err := db.Write(ctx, e.DB, victim, func(tx *db.Tx) (int64, error) {
				if ok, err := marked(ctx, tx); err != nil || !ok {
					return 0, err
				}
				return db.EraseSome(ctx, tx, t, eraseRows)
			})
			if err != nil {
				return fmt.Errorf("erase %s: %w", t.Name, err)
			}
			if n < eraseRows {
				break
			}
		}
	}
	return e.last(ctx, c, del)
}

// marked reports whether the tenant is marked for deletion. Without the mark nothing is erased.
func marked(ctx context.Context, tx *db.Tx) (bool, error) {
	rows, err := db.List(ctx, tx, db.Column[int64], `SELECT 1 FROM tenants WHERE id = $1 AND status = 'deleting'`)
	return len(rows) > 0, err
}

// last removes the tenant itself.
func (e *Eraser) last(ctx context.Context, c caller.Caller, del deletion) error {
	err := e.DB.System(ctx, c, "the row of a deleted tenant goes", func(st *db.SystemTx) error {
		tx := st.For(del.Tenant)
		if ok, err := marked(ctx, tx); err != nil || !ok { // gone already: the job ran twice
			return err
		}
		tx.Later(`UPDATE config_clock SET version = version + 1, tenant_id = $1 WHERE id = 1`)
		retireNames(tx)
		tx.Later(`DELETE FROM tenant_domains WHERE tenant_id = $1`)
		job.Forget(tx)
		n, err := tx.Exec(ctx, `DELETE FROM tenants WHERE id = $1 AND status = 'deleting'`)
		if err != nil || n == 0 {
			return err
		}
		tx.Changed()
		audit.Write(st.For(c.Tenant),
			audit.Event{Action: "tenant.delete",
				Target: audit.Target{Kind: "tenant", ID: del.Tenant.String(), Name: del.Slug},
				Detail: map[string]any{"state": "complete"}})
		return nil
	})
	if db.IsForeignKey(err) {
		return job.Again(time.Second) // rows were written meanwhile: erase them too
	}
	return err
}
