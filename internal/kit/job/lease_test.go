package job_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// lease returns how long the tenant's lease lasts from now on.
func lease(t *testing.T, d *testkit.Database, c caller.Caller) time.Duration {
	t.Helper()
	until, err := db.SystemRead(context.Background(), d.DB, c, "test", func(st *db.SystemTx) (int64, error) {
		return db.SystemOne(context.Background(), st, db.Column[int64],
			`SELECT lease_until FROM job_tenants WHERE tenant_id = $1`, c.Tenant)
	})
	if err != nil {
		t.Fatal(err)
	}
	return time.UnixMicro(until).Sub(d.Clock.Now())
}

// Each job of a turn extends the lease, so that the next one has all of it.
func TestEachJobExtendsTheLease(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		q, r, acme := setup(t, d)
		ran := 0
		r.Handle("slow", func(context.Context, caller.Caller, []byte) error {
			ran++
			if left := lease(t, d, acme); left != job.Lease {
				t.Errorf("job %d begins with a lease of %s, want %s", ran, left, job.Lease)
			}
			d.Clock.Advance(3 * time.Second)
			return nil
		})
		for range 3 {
			enqueue(t, d, q, acme, job.New{Kind: "slow"})
		}
		if !r.Work(ctx) || ran != 3 {
			t.Errorf("one turn ran %d jobs", ran)
		}
	})
}

// A worker that finds its lease gone starts no other job, although its turn is not over.
func TestALostLeaseEndsTheTurn(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		q, r, acme := setup(t, d)
		ran := 0
		r.Handle("mail", func(context.Context, caller.Caller, []byte) error {
			ran++
			return d.System(ctx, acme, "test", func(st *db.SystemTx) error {
				_, err := st.Exec(ctx, `UPDATE job_tenants SET lease_owner = 'another' WHERE tenant_id = $1`,
					acme.Tenant)
				return err
			})
		})
		for range 3 {
			enqueue(t, d, q, acme, job.New{Kind: "mail"})
		}
		if r.Work(ctx); ran != 1 {
			t.Errorf("%d jobs ran, want the one that was under way", ran)
		}
	})
}

// A turn ends long before its lease does, even if its last job and each statement take all their
// time. Otherwise another worker would take the tenant in the middle of a job.
func TestALeaseOutlastsATurn(t *testing.T) {
	if job.LongestTurn >= job.Lease {
		t.Errorf("a turn takes up to %s, and its lease lasts %s", job.LongestTurn, job.Lease)
	}
}

// A worker that was stopped beyond its lease, and goes on while another one works, changes nothing
// of the other's: neither its lease, nor the job that it runs.
func TestAWorkerWithoutItsLeaseChangesNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		q, r, acme := setup(t, d)
		other := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		third := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		begun, end := make(chan bool), make(chan bool)
		var theirs sync.WaitGroup
		r.Handle("mail", func(context.Context, caller.Caller, []byte) error {
			d.Clock.Advance(3 * time.Minute)
			theirs.Go(func() { other.Work(ctx) })
			<-begun
			d.Clock.Advance(time.Second)
			return errors.New("the connection to the mail server is long gone")
		})
		other.Handle("mail", func(context.Context, caller.Caller, []byte) error {
			begun <- true
			<-end
			return nil
		})
		third.Handle("mail", func(context.Context, caller.Caller, []byte) error {
			t.Error("a third worker runs the job beside the second")
			return nil
		})
		enqueue(t, d, q, acme, job.New{Kind: "mail"})
		r.Work(ctx)
		if left := lease(t, d, acme); left != job.Lease-time.Second {
			t.Errorf("the other's lease lasts %s, want %s", left, job.Lease-time.Second)
		}
		attempts, err := db.Read(ctx, d.DB, acme, func(tx *db.Tx) (int64, error) {
			return db.One(ctx, tx, db.Column[int64], `SELECT attempts FROM jobs WHERE tenant_id = $1`)
		})
		if err != nil || attempts != 0 {
			t.Errorf("the job under way has failed %d times: %v", attempts, err)
		}
		if third.Work(ctx) {
			t.Error("a third worker took the tenant")
		}
		close(end)
		theirs.Wait()
	})
}

// A worker that was stopped for longer than its lease finds the tenant's jobs done. It starts no
// other job.
func TestAWorkerWithoutItsLeaseStops(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		q, r, acme := setup(t, d)
		other := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		ran := map[string]int{}
		stopped := false
		r.Handle("mail", func(_ context.Context, _ caller.Caller, p []byte) error {
			ran[string(p)]++
			if stopped {
				return nil
			}
			stopped = true
			d.Clock.Advance(3 * time.Minute)
			for other.Work(ctx) {
			}
			return errors.New("the connection to the mail server is long gone")
		})
		other.Handle("mail", func(_ context.Context, _ caller.Caller, p []byte) error { ran[string(p)]++; return nil })
		for i := range 5 {
			enqueue(t, d, q, acme, job.New{Kind: "mail", Payload: i})
		}
		for r.Work(ctx) {
		}
		total := 0
		for _, n := range ran {
			total += n
		}
		if len(ran) != 5 || total != 6 {
			t.Errorf("ran %v: want each job once, and the one under way twice", ran)
		}
	})
}

// Ten tenants with slow jobs never hold more than the workers set aside for them, once their first
// job has shown it. Another tenant's jobs run beside them.
func TestSlowTenantsShareFewWorkers(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		q, r, acme := setup(t, d)
		r.SlowAfter(20 * time.Millisecond)
		var mu sync.Mutex
		var active, most, slow, quick int
		seen := map[string]bool{}
		r.Handle("slow", func(_ context.Context, c caller.Caller, _ []byte) error {
			mu.Lock()
			known := seen[c.Tenant.String()]
			seen[c.Tenant.String()] = true
			if known {
				active++
				most = max(most, active)
			}
			mu.Unlock()
			time.Sleep(60 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if slow++; known {
				active--
			}
			return nil
		})
		r.Handle("quick", func(context.Context, caller.Caller, []byte) error {
			mu.Lock()
			defer mu.Unlock()
			quick++
			return nil
		})
		const tenants, each = 10, 4
		for i := range tenants {
			c := d.Tenant(t, fmt.Sprintf("slow-%d", i))
			for range each {
				enqueue(t, d, q, c, job.New{Kind: "slow"})
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { r.Run(ctx) })
		enqueue(t, d, q, acme, job.New{Kind: "quick"})
		testkit.Eventually(t, "every job has run", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slow == tenants*each && quick == 1
		})
		cancel()
		wg.Wait()
		if most > job.SlowWorkers {
			t.Errorf("%d workers served slow tenants at once", most)
		}
	})
}
