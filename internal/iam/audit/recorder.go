package audit

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds of a Recorder.
const (
	QueueSize  = 8192                  // records that may wait; more are dropped and counted
	FlushEvery = 40 * time.Millisecond // how long a record waits at most before it is sent
	flushSize  = 1000                  // records in one transaction
)

// Access is something that happened and changed nothing.
type Access struct {
	Action string
	Target Target
	Detail map[string]any
}

type access struct {
	Access
	caller caller.Caller
	at     time.Time
}

// Recorder writes access records in batches. It is safe for concurrent use.
type Recorder struct {
	db      *db.DB
	clock   clock.Clock
	log     *slog.Logger
	queue   chan access
	done    chan struct{}
	once    sync.Once
	closing chan struct{}
	dropped atomic.Int64
	written atomic.Int64
}

// NewRecorder starts a recorder; Close ends it.
func NewRecorder(d *db.DB, c clock.Clock, log *slog.Logger) *Recorder {
	r := &Recorder{db: d, clock: c, log: log, queue: make(chan access, QueueSize), done: make(chan struct{}), closing: make(chan struct{})}
	go r.run()
	return r
}

// Record queues a record and never waits: when the queue is full the record is
// dropped and counted.
func (r *Recorder) Record(c caller.Caller, a Access) {
	select {
	case r.queue <- access{a, c, r.clock.Now()}:
	default:
		r.dropped.Add(1)
	}
}

// Dropped returns how many records were lost since start, to a full queue or a
// database that refused them.
func (r *Recorder) Dropped() int64 { return r.dropped.Load() }

// Written returns how many records were stored since start.
func (r *Recorder) Written() int64 { return r.written.Load() }

// Close writes what is queued and ends the recorder. Nothing may be recorded after.
func (r *Recorder) Close() {
	r.once.Do(func() { close(r.closing) })
	<-r.done
}

func (r *Recorder) run() {
	defer close(r.done)
	timer := time.NewTimer(FlushEvery)
	defer timer.Stop()
	for {
		var batch []access
		select {
		case a := <-r.queue:
			batch = append(batch, a)
		case <-r.closing:
			for batch = r.drain(nil); len(batch) > 0; batch = r.drain(nil) {
				r.flush(batch)
			}
			return
		}
		timer.Reset(FlushEvery)
		select {
		case <-timer.C:
		case <-r.closing:
		}
		r.flush(r.drain(batch))
	}
}

// drain takes what is queued, up to flushSize.
func (r *Recorder) drain(batch []access) []access {
	for len(batch) < flushSize {
		select {
		case a := <-r.queue:
			batch = append(batch, a)
		default:
			return batch
		}
	}
	return batch
}

// flush writes a batch in one transaction. If that fails (a tenant was deleted
// meanwhile, say) each tenant is tried alone, so that one cannot spoil another.
func (r *Recorder) flush(batch []access) {
	byTenant := map[id.ID][]access{}
	for _, a := range batch {
		byTenant[a.caller.Tenant] = append(byTenant[a.caller.Tenant], a)
	}
	err := r.write(byTenant)
	if err == nil {
		r.written.Add(int64(len(batch)))
		return
	}
	for tenant, part := range byTenant {
		if err := r.write(map[id.ID][]access{tenant: part}); err != nil {
			r.dropped.Add(int64(len(part)))
			r.log.Error("access records lost", "count", len(part), "tenant", tenant, "error", err)
			continue
		}
		r.written.Add(int64(len(part)))
	}
}

// chunks are the sizes of the insert statements: few, so that each is prepared once.
var chunks = []int{100, 10, 1}

func (r *Recorder) write(byTenant map[id.ID][]access) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "recorder"}}
	return r.db.System(ctx, c, "write the access records of several tenants in one round trip", func(st *db.SystemTx) error {
		for tenant, part := range byTenant {
			tx := st.For(tenant)
			for _, size := range chunks {
				for len(part) >= size {
					tx.Later(insertAccessText[size], accessArgs(part[:size])...)
					part = part[size:]
				}
			}
		}
		return nil
	})
}

func accessArgs(part []access) []any {
	args := make([]any, 0, 12*len(part))
	for _, a := range part {
		c := a.caller
		args = append(args, a.at, id.At(a.at), a.Action, c.Actor.Kind, c.Actor.ID, cut(c.Actor.Name),
			a.Target.Kind, cut(a.Target.ID), cut(a.Target.Name), address(c), c.RequestID, detail(a.Detail))
	}
	return args
}

var insertAccessText = func() map[int]string {
	out := map[int]string{}
	for _, rows := range chunks {
		var b strings.Builder
		b.WriteString(`INSERT INTO access_records (tenant_id, at, id, action, actor_kind, actor_id, actor_name, target_kind, target_id, target_name, address, request_id, detail) VALUES `)
		for i := range rows {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("($1")
			for p := range 12 {
				fmt.Fprintf(&b, ", $%d", 2+12*i+p)
			}
			b.WriteString(")")
		}
		out[rows] = b.String()
	}
	return out
}()
