package app

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const (
	housekeepingJob   = "housekeeping"
	housekeepingEvery = time.Hour
	housekeepingTime  = 20 * time.Second // of one run; less than a job may take
	purgeRows         = 500
)

// housekeeper deletes what has expired, rotates keys that are due and makes next
// month's partitions, tenant after tenant. It is one job of the platform, so one
// replica does it at a time; each run does a part and remembers where it stopped.
type housekeeper struct {
	app  *App
	next id.ID // the last tenant done; zero at the beginning of a round
}

// schedule makes sure that the job is there.
func (h *housekeeper) schedule(ctx context.Context) error {
	return h.app.DB.Update(ctx, system(h.app.Platform.ID, "start"), func(tx *db.Tx) error {
		return h.app.Queue.Enqueue(tx, job.New{Kind: housekeepingJob, Key: housekeepingJob})
	})
}

// run is the job's handler.
func (h *housekeeper) run(ctx context.Context, c caller.Caller, _ []byte) error {
	end := h.app.Clock.Now().Add(housekeepingTime)
	if h.next.IsZero() {
		if err := audit.MakePartitions(ctx, h.app.DB, c); err != nil {
			return err
		}
	}
	for {
		var tenants page.List[tenant.Tenant]
		err := h.app.DB.SystemView(ctx, c, "housekeeping visits every tenant", func(st *db.SystemTx) (err error) {
			tenants, err = tenant.List(ctx, st, page.Request{Limit: 100, After: h.next})
			return err
		})
		if err != nil {
			return err
		}
		for _, t := range tenants.Items {
			if t.Status != tenant.Deleting {
				if err := h.tenant(ctx, system(t.ID, "housekeeping")); err != nil {
					h.app.Log.Error("housekeeping", "tenant", t.ID, "error", err)
				}
			}
			h.next = t.ID
			if h.app.Clock.Now().After(end) {
				return job.Again(0)
			}
		}
		if tenants.NextCursor == "" {
			h.next = id.ID{}
			return job.Again(housekeepingEvery)
		}
	}
}

func (h *housekeeper) tenant(ctx context.Context, c caller.Caller) error {
	errs := []error{h.app.Keys.RotateDue(ctx, c)}
	for _, purge := range []func(ctx context.Context, tx *db.Tx) (bool, error){
		grant.Purge,
		credential.Purge,
		func(ctx context.Context, tx *db.Tx) (bool, error) { return attempt.Purge(ctx, tx, purgeRows) },
	} {
		for more := true; more; {
			err := h.app.DB.Update(ctx, c, func(tx *db.Tx) (err error) {
				more, err = purge(ctx, tx)
				return err
			})
			if err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}
