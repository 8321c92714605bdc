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
	workers     = 8
	slowWorkers = 2                // of them, for tenants whose jobs are slow
	perTurn     = 20               // jobs of one tenant before the next tenant has its turn
	turnTime    = 10 * time.Second // the same in time; the running job ends first
	lease       = 2 * time.Minute  // how long a tenant's jobs wait after a crash; exceeds timeout
	timeout     = time.Minute      // of one job
	slowAfter   = 2 * time.Second  // a job that runs for longer makes its tenant slow
	stepTime    = 5 * time.Second  // of each statement about a lease or a job
	stopTime    = 10 * time.Second // of the running job at shutdown
	maxSlow     = 4096             // tenants that are remembered as slow
	maxAttempts = 12               // then the job stays as failed
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
	handlers map[string]Handler
	alone    map[string]bool // kinds whose jobs have no payload
	after    time.Duration   // slowAfter

	mu   sync.Mutex
	slow map[id.ID]bool // tenants whose last job was slow
	lane int            // workers that are busy with slow tenants
}

// turn is a worker's lease on one tenant's jobs. Its claim names it in the database, so that a turn
// whose lease has passed to another worker changes nothing.
type turn struct {
	caller caller.Caller
	claim  string
	slow   bool // counted in lane
}

// NewRunner returns a runner for the queue's jobs.
func NewRunner(d *db.DB, q *Queue, c clock.Clock, log *slog.Logger) *Runner {
	return &Runner{db: d, queue: q, clock: c, log: log, handlers: map[string]Handler{}, alone: map[string]bool{},
		after: slowAfter, slow: map[id.ID]bool{}}
}

// Handle registers the handler of a kind of job.
func (r *Runner) Handle(kind string, h Handler) { r.handlers[kind] = h }

// HandleAlone registers the handler of a kind whose jobs have no payload. Such a job also runs if
// another key ring sealed it.
func (r *Runner) HandleAlone(kind string, h func(ctx context.Context, c caller.Caller) error) {
	r.handlers[kind] = func(ctx context.Context, c caller.Caller, _ []byte) error { return h(ctx, c) }
	r.alone[kind] = true
}

// Run works until ctx ends, then waits up to stopTime for the running jobs.
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
	t, err := r.claim(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Error("jobs: claim", "error", err)
		}
		return false
	}
	if t.caller.Tenant.IsZero() {
		return false
	}
	if t.slow {
		defer r.leaveLane()
	}
	r.queue.hint()
	err = r.work(ctx, t)
	if rerr := r.release(ctx, t); err != nil || rerr != nil {
		r.log.Error("jobs: work", "tenant", t.caller.Tenant, "error", errors.Join(err, rerr))
		return false
	}
	return true
}

// work runs jobs until none is due, the turn is over or the lease is lost. A shutdown starts no
// other job, and gives the running one stopTime.
func (r *Runner) work(ctx context.Context, t turn) error {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-running.Done():
		case <-time.After(stopTime):
			cancel()
		}
	})
	defer stop()
	read, done := step(ctx)
	jobs, err := db.Read(read, r.db, t.caller, func(tx *db.Tx) ([]waiting, error) {
		return dueJobs(read, tx, r.clock.Now(), perTurn)
	})
	done()
	end := r.clock.Now().Add(turnTime)
	for _, w := range jobs {
		if err != nil || ctx.Err() != nil || !r.clock.Now().Before(end) {
			break
		}
		held, derr := r.do(running, t, w)
		err = derr
		if !held || r.isSlow(t.caller.Tenant) && !t.slow { // the next turn is in the lane
			break
		}
	}
	return err
}

// step bounds a statement about a lease or a job. A shutdown does not interrupt it.
func step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), stepTime)
}

// claim leases the tenant whose jobs have waited longest. A slow tenant waits for a free place in
// the lane, so that slow tenants leave workers to the others. The turn's tenant is zero when no job
// is due.
func (r *Runner) claim(ctx context.Context) (turn, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	t := turn{caller: caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "job"}}, claim: id.New().String()}
	now := r.clock.Now().UnixMicro()
	r.mu.Lock()
	limit := 8 + len(r.slow)
	r.mu.Unlock()
	due, err := db.SystemRead(ctx, r.db, t.caller, "find tenants with due jobs",
		func(st *db.SystemTx) ([]id.ID, error) {
			return db.SystemList(ctx, st, db.Column[id.ID],
				`SELECT tenant_id FROM job_tenants WHERE due_at <= $1 AND lease_until <= $1 ORDER BY due_at LIMIT $2`,
				now, limit)
		})
	if err != nil {
		return t, err
	}
	for _, tenant := range due {
		slow, free := r.enterLane(tenant)
		if !free {
			continue
		}
		n, err := db.SystemWrite(ctx, r.db, t.caller, "lease a tenant's due jobs",
			func(st *db.SystemTx) (int64, error) {
				return st.Exec(ctx, `UPDATE job_tenants SET lease_until = $2, lease_owner = $3 WHERE tenant_id = $1
					AND due_at <= $4 AND lease_until <= $4`, tenant, now+lease.Microseconds(), t.claim, now)
			})
		if err == nil && n == 1 {
			t.caller.Tenant, t.slow = tenant, slow
			return t, nil
		}
		if slow {
			r.leaveLane()
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// enterLane reports whether the tenant is slow, and whether its jobs may run now. It takes a place
// in the lane if both are so.
func (r *Runner) enterLane(tenant id.ID) (bool, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.slow[tenant] {
		return false, true
	}
	if r.lane >= slowWorkers {
		return true, false
	}
	r.lane++
	return true, true
}

func (r *Runner) leaveLane() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lane--
}

func (r *Runner) isSlow(tenant id.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.slow[tenant]
}

// note remembers whether the tenant's last job was slow.
func (r *Runner) note(tenant id.ID, slow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slow {
		delete(r.slow, tenant)
		return
	}
	if len(r.slow) >= maxSlow {
		clear(r.slow)
	}
	r.slow[tenant] = true
}

// do runs one job and stores how it ended. In the same transaction it extends the lease, on the
// condition that no other worker has it. do reports whether that held.
//
// Without the lease only success is stored: what was done need not be done again. The rest is up to
// the worker that has the lease.
func (r *Runner) do(ctx context.Context, t turn, w waiting) (bool, error) {
	c := t.caller
	c.Actor.Name = "job " + w.kind
	began := clock.Machine()
	err := r.call(ctx, c, w)
	r.note(c.Tenant, clock.Machine().Sub(began) > r.after)
	repeat, again := errors.AsType[again](err)
	if err != nil && !again {
		r.log.Warn("job failed", "kind", w.kind, "tenant", c.Tenant, "attempt", w.attempts+1, "error", err)
	}
	ctx, cancel := step(ctx)
	defer cancel()
	return db.SystemWrite(ctx, r.db, c, "store how a job ended", func(st *db.SystemTx) (bool, error) {
		n, lerr := st.Exec(ctx, `UPDATE job_tenants SET lease_until = $3 WHERE tenant_id = $1 AND lease_owner = $2`,
			c.Tenant, t.claim, r.clock.Now().Add(lease).UnixMicro())
		held := n == 1
		if lerr != nil || !held && err != nil {
			return held, lerr
		}
		tx := st.For(c.Tenant)
		switch {
		case err == nil:
			tx.Later(`DELETE FROM jobs WHERE tenant_id = $1 AND id = $2`, w.id)
		case again:
			tx.Later(`UPDATE jobs SET due_at = $3, attempts = 0, last_error = '' WHERE tenant_id = $1 AND id = $2`,
				w.id, tx.Now().Add(repeat.after))
		default:
			var failed time.Time
			if w.attempts+1 >= maxAttempts {
				failed = tx.Now()
			}
			tx.Later(`UPDATE jobs SET attempts = attempts + 1, due_at = $3, last_error = $4, failed_at = $5
				WHERE tenant_id = $1 AND id = $2`,
				w.id, tx.Now().Add(backoff(w.attempts)), short(err.Error()), failed)
		}
		return held, nil
	})
}

func (r *Runner) call(ctx context.Context, c caller.Caller, w waiting) (err error) {
	h, ok := r.handlers[w.kind]
	if !ok {
		return fmt.Errorf("no handler for jobs of kind %q", w.kind)
	}
	var plain []byte
	if !r.alone[w.kind] {
		if plain, err = r.queue.seal.Open(c.Tenant, purpose, w.sealed); err != nil {
			return fmt.Errorf("payload: %w", err)
		}
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
func (r *Runner) release(ctx context.Context, t turn) error {
	ctx, cancel := step(ctx)
	defer cancel()
	c := t.caller
	return r.db.System(ctx, c, "end the lease on a tenant's jobs", func(st *db.SystemTx) error {
		n, err := st.Exec(ctx, `UPDATE job_tenants SET lease_until = 0 WHERE tenant_id = $1 AND lease_owner = $2`,
			c.Tenant, t.claim)
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
