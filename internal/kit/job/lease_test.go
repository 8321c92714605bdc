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
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A turn of slow jobs lasts longer than a lease. Each job extends it, so no other worker takes the
// tenant meanwhile.
func TestEachJobExtendsTheLease(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		q, r, acme := setup(t, d)
		other := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		ran := map[string]int{}
		handle := func(_ context.Context, _ caller.Caller, p []byte) error {
			ran[string(p)]++
			d.Clock.Advance(8 * time.Second)
			if len(ran) < 5 { // a turn ends after some seconds; the running job may take longer
				d.Clock.Advance(90 * time.Second)
			}
			if other.Work(ctx) {
				t.Error("another worker took the tenant")
			}
			return nil
		}
		r.Handle("slow", handle)
		other.Handle("slow", handle)
		for i := range 5 {
			enqueue(t, d, q, acme, job.New{Kind: "slow", Payload: i})
		}
		for r.Work(ctx) {
		}
		for p, n := range ran {
			if n != 1 {
				t.Errorf("job %s ran %d times", p, n)
			}
		}
		if len(ran) != 5 {
			t.Errorf("%d of 5 jobs ran", len(ran))
		}
	})
}

// A worker that was stopped for longer than its lease finds the tenant taken. It starts no other
// job, and does not undo what the new holder stored.
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
