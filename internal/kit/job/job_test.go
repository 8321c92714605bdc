package job_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// reversed is a sealer that hides nothing. It proves that payloads are sealed, and opened for their
// own tenant.
type reversed struct{}

func (reversed) Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error) {
	return append(append(tenant[:], purpose...), plain...), nil
}

func (reversed) Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, append(tenant[:], purpose...))
	if !ok {
		return nil, errors.New("sealed for another tenant")
	}
	return plain, nil
}

func setup(t *testing.T, d *testkit.Database) (*job.Queue, *job.Runner, caller.Caller) {
	q := job.NewQueue(reversed{})
	return q, job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler)), d.Tenant(t, "acme")
}

func enqueue(t *testing.T, d *testkit.Database, q *job.Queue, c caller.Caller, n job.New) {
	t.Helper()
	if err := d.Update(context.Background(), c, func(tx *db.Tx) error { return q.Enqueue(tx, n) }); err != nil {
		t.Fatal(err)
	}
}

func TestJobsRunOnceRetryAndRepeat(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		q, r, acme := setup(t, d)
		var ran []string
		fail := true
		r.Handle("say", func(_ context.Context, c caller.Caller, p []byte) error {
			if c.Tenant != acme.Tenant || c.Actor.Kind != caller.System {
				t.Errorf("caller %+v", c)
			}
			ran = append(ran, string(p))
			return nil
		})
		r.Handle("fail", func(context.Context, caller.Caller, []byte) error {
			if fail {
				return errors.New("not yet")
			}
			ran = append(ran, "recovered")
			return nil
		})
		r.Handle("panic", func(context.Context, caller.Caller, []byte) error { panic("boom") })
		repeats := 0
		r.Handle("repeat", func(context.Context, caller.Caller, []byte) error {
			repeats++
			return job.Again(time.Hour)
		})

		enqueue(t, d, q, acme, job.New{Kind: "say", Payload: "now"})
		enqueue(t, d, q, acme, job.New{Kind: "say", Payload: "once", Key: "k"})
		enqueue(t, d, q, acme, job.New{Kind: "say", Payload: "twice", Key: "k"})
		enqueue(t, d, q, acme, job.New{Kind: "say", Payload: "later", Due: d.Clock.Now().Add(time.Hour)})
		enqueue(t, d, q, acme, job.New{Kind: "fail"})
		enqueue(t, d, q, acme, job.New{Kind: "panic"})
		enqueue(t, d, q, acme, job.New{Kind: "repeat"})
		_ = d.Update(ctx, acme, func(tx *db.Tx) error {
			_ = q.Enqueue(tx, job.New{Kind: "say", Payload: "rolled back"})
			return errors.New("boom")
		})
		work := func() {
			for r.Work(ctx) {
			}
		}
		work()
		if len(ran) != 2 || ran[0] != `"now"` || ran[1] != `"once"` || repeats != 1 {
			t.Fatalf("ran %v, repeats %d", ran, repeats)
		}
		fail = false
		d.Clock.Advance(10 * time.Second)
		work()
		if len(ran) != 3 || ran[2] != "recovered" {
			t.Fatalf("after the backoff: %v", ran)
		}
		d.Clock.Advance(time.Hour)
		work()
		if len(ran) != 4 || ran[3] != `"later"` || repeats != 2 {
			t.Fatalf("after an hour: %v, repeats %d", ran, repeats)
		}
	})
}

func TestWorkersShareTenantsAndLoseNoJob(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		q, r, acme := setup(t, d)
		tenants := []caller.Caller{acme, d.Tenant(t, "b"), d.Tenant(t, "c")}
		var ran atomic.Int64
		h := func(context.Context, caller.Caller, []byte) error { ran.Add(1); return nil }
		r.Handle("count", h)
		other := job.NewRunner(d.DB, q, d.Clock, slog.New(slog.DiscardHandler))
		other.Handle("count", h)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { r.Run(ctx) })
		wg.Go(func() { other.Run(ctx) })
		const each = 40
		var enq sync.WaitGroup
		for _, c := range tenants {
			enq.Go(func() {
				for range each {
					enqueue(t, d, q, c, job.New{Kind: "count"})
				}
			})
		}
		enq.Wait()
		testkit.Eventually(t, "every job has run", func() bool { return ran.Load() >= int64(each*len(tenants)) })
		cancel()
		wg.Wait()
		if got := ran.Load(); got != int64(each*len(tenants)) {
			t.Errorf("ran %d jobs, want %d, each once", got, each*len(tenants))
		}
	})
}

// A job without a payload runs on a server with another key ring than the one that enqueued it. One
// with a payload does not.
func TestJobsWithoutAPayloadNeedNoKey(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		_, r, acme := setup(t, d)
		foreign := job.NewQueue(other{})
		var ran []string
		r.HandleAlone("alone", func(context.Context, caller.Caller) error { ran = append(ran, "alone"); return nil })
		r.Handle("sealed", func(context.Context, caller.Caller, []byte) error {
			ran = append(ran, "sealed")
			return nil
		})
		enqueue(t, d, foreign, acme, job.New{Kind: "alone"})
		enqueue(t, d, foreign, acme, job.New{Kind: "sealed", Payload: "x"})
		for r.Work(context.Background()) {
		}
		if len(ran) != 1 || ran[0] != "alone" {
			t.Errorf("ran %v", ran)
		}
	})
}

// other is the sealer of another key ring.
type other struct{ reversed }

func (other) Seal(id.ID, string, []byte) ([]byte, error) { return []byte("sealed by another key"), nil }
