package batch

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds of a Writer.
const (
	queueSize  = 8192                  // records
	queueBytes = 64 << 20              // bytes of the queued records, as given to Put
	flushEvery = 40 * time.Millisecond // the longest that a record waits
	flushSize  = 1000                  // records in one transaction
	flushTime  = 5 * time.Second       // of writing a batch, and of all that is left at Close
)

// Table says where records of type T are stored.
type Table[T any] struct {
	Name    string   // for the log: "access records"
	Into    string   // the tenant table
	Columns []string // besides tenant_id
	// Rows returns the values of the records' columns, record by record. It runs before the
	// transaction, so it may be slow. It omits records that it cannot write and returns an error
	// that says why. The Writer counts them as lost.
	Rows func(ctx context.Context, c caller.Caller, records []T) ([]any, error)
}

type queued[T any] struct {
	tenant id.ID
	bytes  int
	record T
}

// Writer writes records in batches. It is safe for concurrent use.
type Writer[T any] struct {
	db      *db.DB
	log     *slog.Logger
	table   Table[T]
	inserts map[int]string
	queue   chan queued[T]
	bytes   atomic.Int64
	dropped atomic.Int64
	written atomic.Int64
	done    chan struct{}
	once    sync.Once
	closing chan struct{}
	ctx     context.Context // ends flushTime after Close was called
	end     context.CancelFunc
}

// New starts a writer; Close ends it.
func New[T any](d *db.DB, log *slog.Logger, t Table[T]) *Writer[T] {
	w := &Writer[T]{db: d, log: log, table: t, inserts: inserts(t.Into, t.Columns),
		queue: make(chan queued[T], queueSize),
		done:  make(chan struct{}), closing: make(chan struct{})}
	w.ctx, w.end = context.WithCancel(context.Background())
	go w.run()
	return w
}

// Put queues a record of a tenant and never waits. If the queue is full it drops and counts the
// record. bytes estimates the memory that the record holds; zero if all records are small.
func (w *Writer[T]) Put(tenant id.ID, record T, bytes int) {
	if bytes > 0 && w.bytes.Add(int64(bytes)) > queueBytes {
		w.bytes.Add(int64(-bytes))
		w.dropped.Add(1)
		return
	}
	select {
	case w.queue <- queued[T]{tenant, bytes, record}:
	default:
		w.bytes.Add(int64(-bytes))
		w.dropped.Add(1)
	}
}

// Dropped returns the number of records lost since the start: the queue was full, or the database
// refused them.
func (w *Writer[T]) Dropped() int64 { return w.dropped.Load() }

// Written returns the number of records stored since the start.
func (w *Writer[T]) Written() int64 { return w.written.Load() }

// Close writes the queue and ends the writer. What a silent database has not taken after flushTime
// is lost, and counted. Put must not be called afterwards.
func (w *Writer[T]) Close() {
	w.once.Do(func() {
		close(w.closing)
		time.AfterFunc(flushTime, w.end)
	})
	<-w.done
	w.end()
}

func (w *Writer[T]) run() {
	defer close(w.done)
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	room := make([]queued[T], 0, flushSize) // reused by every batch
	for {
		batch := room
		select {
		case q := <-w.queue:
			batch = append(batch, q)
		case <-w.closing:
			for batch = w.drain(room); len(batch) > 0; batch = w.drain(room) {
				w.flush(batch)
			}
			return
		}
		timer.Reset(flushEvery)
		select {
		case <-timer.C:
		case <-w.closing:
		}
		batch = w.drain(batch)
		w.flush(batch)
		clear(batch)
	}
}

// drain appends queued records to batch, up to flushSize.
func (w *Writer[T]) drain(batch []queued[T]) []queued[T] {
	for len(batch) < flushSize {
		select {
		case q := <-w.queue:
			batch = append(batch, q)
		default:
			return batch
		}
	}
	return batch
}

// flush writes a batch in one transaction. If that fails it tries each tenant alone, so that one
// tenant cannot spoil the batch of another. A tenant that was deleted meanwhile is an example.
func (w *Writer[T]) flush(batch []queued[T]) {
	ctx, cancel := context.WithTimeout(w.ctx, flushTime)
	defer cancel()
	counts := map[id.ID]int{}
	for i := range batch {
		counts[batch[i].tenant]++
		w.bytes.Add(int64(-batch[i].bytes))
	}
	byTenant := make(map[id.ID][]T, len(counts))
	for tenant, n := range counts {
		byTenant[tenant] = make([]T, 0, n)
	}
	for i := range batch {
		q := &batch[i]
		byTenant[q.tenant] = append(byTenant[q.tenant], q.record)
	}
	rows := map[id.ID][]any{}
	for tenant, records := range byTenant {
		values, err := w.table.Rows(ctx, recorder(tenant), records)
		if n := len(values) / len(w.table.Columns); n < len(records) {
			w.lost(tenant, len(records)-n, err)
		}
		if len(values) > 0 {
			rows[tenant] = values
		}
	}
	if len(rows) == 0 {
		return
	}
	if err := w.write(ctx, rows); err == nil {
		return
	}
	for tenant, values := range rows {
		if err := w.write(ctx, map[id.ID][]any{tenant: values}); err != nil {
			w.lost(tenant, len(values)/len(w.table.Columns), err)
		}
	}
}

func (w *Writer[T]) lost(tenant id.ID, n int, err error) {
	w.dropped.Add(int64(n))
	w.log.Error(w.table.Name+" lost", "count", n, "tenant", tenant, "error", err)
}

func recorder(tenant id.ID) caller.Caller {
	return caller.Caller{Tenant: tenant, Actor: caller.Actor{Kind: caller.System, Name: "recorder"}}
}

// write inserts every tenant's rows in one transaction, or none.
func (w *Writer[T]) write(ctx context.Context, rows map[id.ID][]any) error {
	n, err := db.SystemWrite(ctx, w.db, recorder(id.ID{}),
		"write the "+w.table.Name+" of several tenants in one round trip", func(st *db.SystemTx) (int64, error) {
			var n int64
			for tenant, values := range rows {
				tx := st.For(tenant)
				for _, size := range chunks {
					for cells := size * len(w.table.Columns); len(values) >= cells; values = values[cells:] {
						tx.Later(w.inserts[size], values[:cells]...)
						n += int64(size)
					}
				}
			}
			return n, nil
		})
	if err == nil {
		w.written.Add(n)
	}
	return err
}

// chunks are the row counts of the insert statements: few, so that each is prepared once.
var chunks = []int{32, 8, 1}

func inserts(into string, columns []string) map[int]string {
	out := map[int]string{}
	for _, rows := range chunks {
		var b strings.Builder
		fmt.Fprintf(&b, "INSERT INTO %s (tenant_id, %s) VALUES ", into, strings.Join(columns, ", "))
		for i := range rows {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("($1")
			for p := range columns {
				fmt.Fprintf(&b, ", $%d", 2+len(columns)*i+p)
			}
			b.WriteString(")")
		}
		out[rows] = b.String()
	}
	return out
}
