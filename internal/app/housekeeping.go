package app

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/usage"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const (
	housekeepingJob   = "housekeeping"
	housekeepingEvery = time.Hour
	housekeepingTime  = 20 * time.Second // of one run, below the time limit of a job
	purgeRows         = 500              // of one transaction
	// Visiting thousands of tenants takes minutes of both processors. So housekeeping rests after
	// each of them for restShare times as long as the visit took, and at most restMost.
	restShare = 9
	restMost  = time.Second
)

// housekeeper deletes expired rows, rotates keys that are due, and creates and drops partitions.
//
// It visits tenant after tenant. It is a single job of the platform, so one replica runs it at a
// time. Each run does a part, and the next run continues where it stopped.
type housekeeper struct {
	app   *App
	next  id.ID // the last visited tenant; zero at the beginning of a round
	pause func(context.Context, time.Duration) error

	longest time.Duration // longest retention of a tenant in this round
	unsure  bool          // the retention of a tenant could not be read in this round
}

// scheduleHousekeeping enqueues the job unless it is queued already.
func (a *App) scheduleHousekeeping(ctx context.Context) error {
	return a.DB.Update(ctx, system(a.Platform.ID, "start"), func(tx *db.Tx) error {
		return a.Queue.Enqueue(tx, job.New{Kind: housekeepingJob, Key: housekeepingJob})
	})
}

// run handles the job.
func (h *housekeeper) run(ctx context.Context, c caller.Caller) error {
	end := h.app.Clock.Now().Add(housekeepingTime)
	if h.next.IsZero() {
		h.longest, h.unsure = 0, false
		if err := audit.MakePartitions(ctx, h.app.DB, c); err != nil {
			return err
		}
	}
	for {
		tenants, err := db.SystemRead(ctx, h.app.DB, c, "housekeeping visits every tenant",
			func(st *db.SystemTx) (page.List[tenant.Tenant], error) {
				return tenant.List(ctx, st, tenant.Filter{}, page.Request{Limit: 100, After: h.next})
			})
		if err != nil {
			return err
		}
		for _, t := range tenants.Items {
			if t.Status != tenant.Deleting {
				began := clock.Machine()
				by := system(t.ID, "housekeeping")
				err := h.tenant(ctx, by)
				done, rerr := h.records(ctx, by, end)
				if err := errors.Join(err, rerr); err != nil {
					h.app.Log.Error("housekeeping", "tenant", t.ID, "error", err)
				}
				if !done {
					return job.Again(0)
				}
				if err := h.pause(ctx, min(restShare*clock.Machine().Sub(began), restMost)); err != nil {
					return err
				}
			}
			h.next = t.ID
			if h.app.Clock.Now().After(end) {
				return job.Again(0)
			}
		}
		if tenants.NextCursor == "" {
			h.next = id.ID{}
			if !h.unsure {
				// A spare day covers retentions that were raised during the round.
				before := h.app.Clock.Now().Add(-h.longest - 24*time.Hour)
				if err := audit.DropPartitions(ctx, h.app.DB, c, before); err != nil {
					return err
				}
			}
			return job.Again(housekeepingEvery)
		}
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tenant rotates the tenant's keys that are due and deletes what has expired.
func (h *housekeeper) tenant(ctx context.Context, c caller.Caller) error {
	errs := []error{h.app.Keys.RotateDue(ctx, c)}
	for _, purge := range []func(ctx context.Context, tx *db.Tx) (bool, error){
		grant.Purge,
		credential.Purge,
		func(ctx context.Context, tx *db.Tx) (bool, error) { return invitation.Purge(ctx, tx, purgeRows) },
		func(ctx context.Context, tx *db.Tx) (bool, error) { return attempt.Purge(ctx, tx, purgeRows) },
		func(ctx context.Context, tx *db.Tx) (bool, error) { return api.PurgeKeys(ctx, tx, purgeRows) },
	} {
		for more := true; more; {
			var err error
			more, err = db.Write(ctx, h.app.DB, c, func(tx *db.Tx) (bool, error) { return purge(ctx, tx) })
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// records counts the tenant's usage. Then it deletes the decision and access records that are older
// than its retention, batch by batch. It deletes no record that is not counted. It returns false if
// time runs out first.
func (h *housekeeper) records(ctx context.Context, c caller.Caller, end time.Time) (bool, error) {
	settings, err := db.Read(ctx, h.app.DB, c, func(tx *db.Tx) (decision.Settings, error) {
		return decision.ReadSettings(ctx, tx)
	})
	if err != nil {
		h.unsure = true
		return true, err
	}
	h.longest = max(h.longest, settings.Retention())
	var counted time.Time
	for more := true; more; {
		if counted, more, err = usage.RollUp(ctx, h.app.DB, c, h.app.Clock.Now()); err != nil {
			h.unsure = true
			return true, err
		}
		if more && h.app.Clock.Now().After(end) {
			return false, nil
		}
	}
	before := h.app.Clock.Now().Add(-settings.Retention())
	if counted.Before(before) {
		h.unsure, before = true, counted
	}
	for _, purge := range []func(context.Context, *db.Tx, time.Time, int) (bool, error){
		decision.Purge, audit.PurgeAccess,
	} {
		for more := true; more; {
			if h.app.Clock.Now().After(end) {
				return false, nil
			}
			more, err = db.Write(ctx, h.app.DB, c, func(tx *db.Tx) (bool, error) {
				return purge(ctx, tx, before, purgeRows)
			})
			if err != nil {
				return true, err
			}
		}
	}
	return true, nil
}
