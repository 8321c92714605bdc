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
	housekeepingTime  = 20 * time.Second // of one run besides the batch that runs, below the time limit of a job
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

	time    time.Duration // of one run
	longest time.Duration // longest retention of a tenant in this round; the longest possible if one is unknown
}

// scheduleHousekeeping enqueues the job unless it is queued already.
func (a *App) scheduleHousekeeping(ctx context.Context) error {
	return a.DB.Update(ctx, system(a.Platform.ID, "start"), func(tx *db.Tx) error {
		return a.Queue.Enqueue(tx, job.New{Kind: housekeepingJob, Key: housekeepingJob})
	})
}

// run handles the job. Nothing but a read of the list of tenants ends a round early: an error is
// logged, and the next round is again for everything.
func (h *housekeeper) run(ctx context.Context, c caller.Caller) error {
	end := h.app.Clock.Now().Add(h.time)
	if h.next.IsZero() {
		h.longest = 0
		if err := audit.MakePartitions(ctx, h.app.DB, c); err != nil {
			h.app.Log.Error("housekeeping: create partitions", "error", err)
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
				done, err := h.tenant(ctx, system(t.ID, "housekeeping"), end)
				if err != nil {
					h.app.Log.Error("housekeeping", "tenant", t.ID, "error", err)
				}
				if !done {
					return job.Again(0)
				}
				h.next = t.ID // even if ctx ends now: no tenant keeps housekeeping from the others
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
			// A spare day covers retentions that were raised during the round.
			before := h.app.Clock.Now().Add(-h.longest - 24*time.Hour)
			if err := audit.DropPartitions(ctx, h.app.DB, c, before); err != nil {
				h.app.Log.Error("housekeeping: drop partitions", "error", err)
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

// tenant rotates the tenant's keys that are due and deletes what has expired. It returns false if
// time runs out first.
func (h *housekeeper) tenant(ctx context.Context, c caller.Caller, end time.Time) (bool, error) {
	rotated := h.app.Keys.RotateDue(ctx, c)
	done, err := h.purge(ctx, c, end, grant.Purge, credential.Purge,
		func(ctx context.Context, tx *db.Tx) (bool, error) { return invitation.Purge(ctx, tx, purgeRows) },
		func(ctx context.Context, tx *db.Tx) (bool, error) { return attempt.Purge(ctx, tx, purgeRows) },
		func(ctx context.Context, tx *db.Tx) (bool, error) { return api.PurgeKeys(ctx, tx, purgeRows) })
	if done {
		var rerr error
		done, rerr = h.records(ctx, c, end)
		err = errors.Join(err, rerr)
	}
	return done, errors.Join(rotated, err)
}

// records counts the tenant's usage. Then it deletes the decision and access records that are older
// than its retention. It deletes no record that is not counted. It returns false if time runs out
// first.
//
// If the retention or the count is unknown, it deletes nothing. Whole months of the longest
// possible retention are dropped nevertheless: one tenant does not keep those of all for good.
func (h *housekeeper) records(ctx context.Context, c caller.Caller, end time.Time) (bool, error) {
	settings, err := db.Read(ctx, h.app.DB, c, func(tx *db.Tx) (decision.Settings, error) {
		return decision.ReadSettings(ctx, tx)
	})
	if err != nil {
		h.longest = max(h.longest, decision.MaxRetention)
		return true, err
	}
	h.longest = max(h.longest, settings.Retention())
	var counted time.Time
	for more := true; more; {
		if counted, more, err = usage.RollUp(ctx, h.app.DB, c, h.app.Clock.Now()); err != nil {
			h.longest = max(h.longest, decision.MaxRetention)
			return true, err
		}
		if more && h.app.Clock.Now().After(end) {
			return false, nil
		}
	}
	before := h.app.Clock.Now().Add(-settings.Retention())
	if counted.Before(before) {
		h.longest, before = max(h.longest, decision.MaxRetention), counted
	}
	return h.purge(ctx, c, end,
		func(ctx context.Context, tx *db.Tx) (bool, error) { return decision.Purge(ctx, tx, before, purgeRows) },
		func(ctx context.Context, tx *db.Tx) (bool, error) {
			return audit.PurgeAccess(ctx, tx, before, purgeRows)
		})
}

// purge deletes rows batch by batch: each function deletes some of a kind, and reports whether
// there are more. It returns false if time runs out first.
func (h *housekeeper) purge(ctx context.Context, c caller.Caller, end time.Time,
	kinds ...func(context.Context, *db.Tx) (bool, error)) (bool, error) {
	var errs []error
	for _, batch := range kinds {
		for more := true; more; {
			var err error
			more, err = db.Write(ctx, h.app.DB, c, func(tx *db.Tx) (bool, error) { return batch(ctx, tx) })
			errs = append(errs, err)
			if more && h.app.Clock.Now().After(end) {
				return false, errors.Join(errs...)
			}
		}
	}
	return true, errors.Join(errs...)
}
