package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds of a Runner.
const (
	workers     = 4
	perLease    = 20              // jobs of one tenant before the next tenant has its turn
	lease       = 2 * time.Minute // how long a tenant's jobs wait after a crash
	timeout     = time.Minute     // of one job
	maxAttempts = 12              // then the job stays as failed
	pollEvery   = time.Second
	never       = int64(1) << 62 // microseconds: no job is due
)

// Handler runs one job. payload is the JSON that was enqueued.
type Handler func(ctx context.Context, c caller.Caller, payload []byte) error

// again asks the runner to run the job again.
type again struct{ after time.Duration }

func (a again) Error() string { return fmt.Sprintf("again after %s", a.after) }

// Again returns the error by which a handler asks to run again after d. It does not count as a
// failure. Long work uses it to proceed in parts, and periodic work to repeat.
func Again(d time.Duration) error { return again{d} }

// Runner runs the jobs of a queue. Call Handle before Run.
type Runner struct {
	db       *db.DB
	queue    *Queue
	clock    clock.Clock
	log      *slog.Logger
	owner    string
	handlers map[string]Handler
}

// NewRunner returns a runner for the queue's jobs.
func NewRunner(d *db.DB, q *Queue, c clock.Clock, log *slog.Logger) *Runner {
	return &Runner{db: d, queue: q, clock: c, log: log, owner: id.New().String(), handlers: map[string]Handler{}}
}

// Handle registers the handler of a kind of job.
func (r *Runner) Handle(kind string, h Handler) { r.handlers[kind] = h }

// Run works until ctx ends, then waits for the running jobs.
func (r *Runner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-r.queue.wake:
				}
				for ctx.Err() == nil && r.Work(ctx) {
				}
			}
		})
	}
	// One poll a second for all workers; a worker that finds work wakes the next one.
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		r.queue.hint()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	wg.Wait()
}

// Work runs the due jobs of one tenant and reports whether there was a tenant with due jobs.
func (r *Runner) Work(ctx context.Context) bool {
	c, err := r.claim(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Error("jobs: claim", "error", err)
		}
		return false
	}
	if c.Tenant.IsZero() {
		return false
	}
	r.queue.hint()
	// A shutdown lets the running job end, and starts no other.
	work := context.WithoutCancel(ctx)
	jobs, err := db.Read(work, r.db, c, func(tx *db.Tx) ([]waiting, error) {
		return dueJobs(work, tx, r.clock.Now(), perLease)
	})
	for i := 0; err == nil && i < len(jobs) && ctx.Err() == nil; i++ {
		err = r.do(work, c, jobs[i])
	}
	if rerr := r.release(work, c); err != nil || rerr != nil {
		r.log.Error("jobs: work", "tenant", c.Tenant, "error", errors.Join(err, rerr))
		return false
	}
	return true
}

// claim leases the tenant whose jobs have waited longest, and returns the caller of those jobs.
// Its tenant is zero when no job is due.
func (r *Runner) claim(ctx context.Context) (caller.Caller, error) {
	c := caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "job"}}
	now := r.clock.Now().UnixMicro()
	due, err := db.SystemRead(ctx, r.db, c, "find tenants with due jobs", func(st *db.SystemTx) ([]id.ID, error) {
		return db.SystemList(ctx, st, db.Column[id.ID],
			`SELECT tenant_id FROM job_tenants WHERE due_at <= $1 AND lease_until <= $1 ORDER BY due_at LIMIT 8`, now)
	})
	if err != nil || len(due) == 0 {
		return c, err
	}
	c.Tenant, err = db.SystemWrite(ctx, r.db, c, "lease a tenant's due jobs", func(st *db.SystemTx) (id.ID, error) {
		for _, t := range due {
			n, err := st.Exec(ctx, `UPDATE job_tenants SET lease_until = $2, lease_owner = $3 WHERE tenant_id = $1
				AND due_at <= $4 AND lease_until <= $4`,
				t, now+lease.Microseconds(), r.owner, now)
			if err != nil {
				return id.ID{}, err
			}
			if n == 1 {
				return t, nil
			}
		}
		return id.ID{}, nil
	})
	return c, err
}

// do runs one job and stores how it ended.
func (r *Runner) do(ctx context.Context, c caller.Caller, w waiting) error {
	c.Actor.Name = "job " + w.kind
	err := r.call(ctx, c, w)
	repeat, again := errors.AsType[again](err)
	if err != nil && !again {
		r.log.Warn("job failed", "kind", w.kind, "tenant", c.Tenant, "attempt", w.attempts+1, "error", err)
	}
	return r.db.Update(ctx, c, func(tx *db.Tx) error {
		if err == nil {
			tx.Later(`DELETE FROM jobs WHERE tenant_id = $1 AND id = $2`, w.id)
			return nil
		}
		if again {
			tx.Later(`UPDATE jobs SET due_at = $3, attempts = 0, last_error = '' WHERE tenant_id = $1 AND id = $2`,
				w.id, tx.Now().Add(repeat.after))
			return nil
		}
		var failed time.Time
		if w.attempts+1 >= maxAttempts {
			failed = tx.Now()
		}
		tx.Later(
			`UPDATE jobs SET attempts = attempts + 1, due_at = $3, last_error = $4, failed_at = $5 WHERE tenant_id = $1
				AND id = $2`,
			w.id, tx.Now().Add(backoff(w.attempts)), short(err.Error()), failed)
		return nil
	})
}

func (r *Runner) call(ctx context.Context, c caller.Caller, w waiting) (err error) {
	h, ok := r.handlers[w.kind]
	if !ok {
		return fmt.Errorf("no handler for jobs of kind %q", w.kind)
	}
	plain, err := r.queue.seal.Open(c.Tenant, purpose, w.sealed)
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("job panicked", "kind", w.kind, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return h(ctx, c, plain)
}

// backoff is 5 s, 10 s, 20 s … up to an hour.
func backoff(attempts int) time.Duration {
	return min(5*time.Second<<min(attempts, 12), time.Hour)
}

func short(s string) string { return string([]rune(s)[:min(500, len([]rune(s)))]) }

// release ends the lease and stores when the tenant's next job is due. It locks the row before it
// reads the jobs. So a job enqueued meanwhile is either read here, or updates the row afterwards.
func (r *Runner) release(ctx context.Context, c caller.Caller) error {
	return r.db.System(ctx, c, "end the lease on a tenant's jobs", func(st *db.SystemTx) error {
		n, err := st.Exec(ctx, `UPDATE job_tenants SET lease_until = 0 WHERE tenant_id = $1 AND lease_owner = $2`,
			c.Tenant, r.owner)
		if err != nil || n == 0 {
			return err
		}
		next, err := db.One(ctx, st.For(c.Tenant),
			db.Column[int64],
			`SELECT coalesce(min(due_at), $2) FROM jobs WHERE tenant_id = $1 AND failed_at IS NULL`, never)
		if err != nil {
			return err
		}
		_, err = st.Exec(ctx, `UPDATE job_tenants SET due_at = $2 WHERE tenant_id = $1`, c.Tenant, next)
		return err
	})
}
