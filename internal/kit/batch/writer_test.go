package batch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/batch"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// logged is a log that tests read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// gate stops a writer that has a batch, until the test lets it pass. A closed pass lets all
// through.
type gate struct{ arrived, pass chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

// access writes access records by their action. "skip" is a record that it cannot write. Each batch
// stops at the gate, if there is one.
func access(d *testkit.Database, log *logged, stop *gate) *batch.Writer[string] {
	return batch.New(d.DB, slog.New(slog.NewTextHandler(log, nil)), batch.Table[string]{
		Name: "access records", Into: "access_records", Columns: []string{"at", "id", "action", "actor_kind"},
		Rows: func(_ context.Context, _ caller.Caller, actions []string) ([]any, error) {
			var values []any
			var err error
			if stop != nil {
				select {
				case stop.arrived <- struct{}{}:
					<-stop.pass
				case <-stop.pass:
				}
			}
			for _, a := range actions {
				if a == "skip" {
					err = errors.New("this one cannot be written")
					continue
				}
				values = append(values, d.Clock.Now(), id.New(), a, "system")
			}
			return values, err
		},
	})
}

func count(t *testing.T, d *testkit.Database, c caller.Caller) int64 {
	var n int64
	t.Helper()
	if err := d.View(context.Background(), c, func(tx *db.Tx) error {
		var err error
		n, err = db.One(context.Background(), tx, db.Column[int64],
			`SELECT count(*) FROM access_records WHERE tenant_id = $1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Close writes the whole queue, even if it is larger than one transaction.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		w := access(d, &logged{}, nil)
		for range 2345 {
			w.Put(acme.Tenant, "a", 0)
			w.Put(globex.Tenant, "b", 100)
		}
		w.Close()
		if a, b := count(t, d, acme), count(t, d, globex); a != 2345 || b != 2345 || w.Written() != 4690 ||
			w.Dropped() != 0 {
			t.Errorf("stored %d and %d, written %d, dropped %d", a, b, w.Written(), w.Dropped())
		}
	})
}

// Refused records do not affect another tenant's, and they are counted and logged.
func TestOneTenantsRecordsDoNotSpoilAnothers(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		log := &logged{}
		w := access(d, log, nil)
		w.Put(acme.Tenant, "a", 0)
		w.Put(id.New(), "nobody's", 0)
		w.Put(globex.Tenant, "b", 0)
		w.Put(globex.Tenant, "skip", 0)
		w.Put(globex.Tenant, "c", 0)
		w.Close()
		if a, b := count(t, d, acme), count(t, d, globex); a != 1 || b != 2 || w.Written() != 3 || w.Dropped() != 2 {
			t.Errorf("stored %d and %d, written %d, dropped %d", a, b, w.Written(), w.Dropped())
		}
		if text := log.text.String(); strings.Count(text, "access records lost") != 2 ||
			!strings.Contains(text, "this one cannot be written") {
			t.Errorf("log: %s", text)
		}
	})
}

// A full queue drops and counts new records, and Put never waits. Dropped records hold no bytes.
func TestAFullQueueDrops(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme, stop := d.Tenant(t, "acme"), newGate()
	w := access(d, &logged{}, stop)
	w.Put(acme.Tenant, "a", 0)
	<-stop.arrived
	for range batch.QueueSize {
		w.Put(acme.Tenant, "a", 0)
	}
	if w.Dropped() != 0 {
		t.Errorf("a queue that is not full dropped %d", w.Dropped())
	}
	for range 5 {
		w.Put(acme.Tenant, "a", batch.QueueBytes)
	}
	if w.Dropped() != 5 {
		t.Errorf("dropped %d of 5", w.Dropped())
	}
	stop.pass <- struct{}{}
	<-stop.arrived // with the next batch: there is room again
	w.Put(acme.Tenant, "a", batch.QueueBytes)
	close(stop.pass)
	w.Close()
	if n := count(t, d, acme); w.Dropped() != 5 || n != batch.QueueSize+2 || w.Written() != n {
		t.Errorf("stored %d, written %d, dropped %d", n, w.Written(), w.Dropped())
	}
}

// The queue is bounded in bytes too. Refused records, and those being written, no longer hold any.
func TestTheQueueIsBoundedInBytes(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme, stop := d.Tenant(t, "acme"), newGate()
	w := access(d, &logged{}, stop)
	for range 3 { // each alone is too large
		w.Put(acme.Tenant, "a", batch.QueueBytes+1)
	}
	if w.Dropped() != 3 {
		t.Errorf("dropped %d of 3", w.Dropped())
	}
	w.Put(acme.Tenant, "a", batch.QueueBytes)
	if w.Dropped() != 3 {
		t.Fatal("what was refused still counts")
	}
	<-stop.arrived
	w.Put(acme.Tenant, "a", batch.QueueBytes)
	if w.Dropped() != 3 {
		t.Error("what was taken still counts")
	}
	w.Put(acme.Tenant, "a", 1)
	if w.Dropped() != 4 {
		t.Error("a byte more than the queue may hold was taken")
	}
	close(stop.pass)
	w.Close()
	if w.Written() != 2 {
		t.Errorf("written %d", w.Written())
	}
}

// A database that is silent at shutdown costs it the time of one batch, however many records wait.
// They count as lost.
func TestCloseDoesNotWaitForASilentDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := batch.New(nil, slog.New(slog.DiscardHandler), batch.Table[string]{
			Name: "records", Into: "records", Columns: []string{"at"},
			Rows: func(ctx context.Context, _ caller.Caller, _ []string) ([]any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		const n = 7500
		for range n {
			w.Put(id.ID{}, "x", 0)
		}
		time.Sleep(time.Second) // the first batch is under way
		began := time.Now()
		w.Close()
		if took := time.Since(began); took != batch.FlushTime || w.Dropped() != n {
			t.Errorf("it took %s, and %d of %d are lost", took, w.Dropped(), n)
		}
	})
}
