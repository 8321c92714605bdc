package db_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// wire passes connections on to a server, and can cut or silence them.
type wire struct {
	mu        sync.Mutex
	conns     []*net.TCPConn
	silent    bool
	accepted  int // connections so far
	forgotten int // of them, which stay silent for good
	eat       []byte
	wake      *sync.Cond
}

// through returns dsn through a new wire.
func through(t *testing.T, dsn string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{}
	w.wake = sync.NewCond(&w.mu)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, client.(*net.TCPConn), back.(*net.TCPConn))
			w.mu.Unlock()
			w.mu.Lock()
			n := w.accepted
			w.accepted++
			w.mu.Unlock()
			go w.pass(client, back, n)
			go w.pass(back, client, n)
		}
	}()
	u.Host = l.Addr().String()
	return w, u.String()
}

func (w *wire) pass(from, to net.Conn, number int) {
	defer func() { _, _ = from.Close(), to.Close() }()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		for w.silent || number < w.forgotten {
			w.wake.Wait()
		}
		eaten := w.eat != nil && bytes.Contains(b[:n], w.eat)
		w.mu.Unlock()
		if eaten {
			return
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut resets every connection.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	w.conns = nil
}

func (w *wire) silence(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = on
	w.wake.Broadcast()
}

// swallow cuts a connection instead of passing on an answer that contains what. Nil passes on all.
func (w *wire) swallow(what []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.eat = what
}

// forget silences the connections that exist, as a firewall does that forgot them.
func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgotten = w.accepted
}

func unavailable(err error) bool {
	f, ok := errors.AsType[*fault.Fault](err)
	return ok && f.Kind == fault.Unavailable
}

func touch(ctx context.Context, d *db.DB, c caller.Caller) error {
	return d.Update(ctx, c, func(tx *db.Tx) error {
		if _, err := db.List(ctx, tx, db.Column[int64],
			`SELECT taken_at FROM owner_locks WHERE tenant_id = $1`); err != nil {
			return err
		}
		tx.Later(`INSERT INTO owner_locks (tenant_id, taken_at) VALUES ($1, $2)
			ON CONFLICT (tenant_id) DO UPDATE SET taken_at = excluded.taken_at`, tx.Now())
		return nil
	})
}

func look(ctx context.Context, d *db.DB, c caller.Caller) error {
	_, err := db.Read(ctx, d, c, func(tx *db.Tx) ([]int64, error) {
		return db.List(ctx, tx, db.Column[int64], `SELECT taken_at FROM owner_locks WHERE tenant_id = $1`)
	})
	return err
}

// A connection that ends under a statement is tried once more if nothing was stored. Otherwise
// the answer is "try again", whatever the driver calls it.
func TestLostConnections(t *testing.T) {
	w, dsn := through(t, testkit.Postgres(t))
	d := testkit.Open(t, dsn)
	acme := d.Tenant(t, "acme")
	for name, try := range map[string]func(context.Context, *db.DB, caller.Caller) error{"write": touch, "read": look} {
		for range 5 {
			if err := try(t.Context(), d.DB, acme); err != nil {
				t.Fatal(err)
			}
			w.cut()
			if err := try(t.Context(), d.DB, acme); err != nil {
				t.Errorf("the first %s after a cut: %v", name, err)
			}
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var lost, done int
	var mu sync.Mutex
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := errors.Join(touch(t.Context(), d.DB, acme), look(t.Context(), d.DB, acme))
				mu.Lock()
				if done++; err != nil {
					lost++
				}
				mu.Unlock()
				if err != nil && !unavailable(err) {
					t.Errorf("an error of its own: %v", err)
				}
			}
		})
	}
	for range 40 {
		time.Sleep(25 * time.Millisecond)
		w.cut()
	}
	close(stop)
	wg.Wait()
	t.Logf("%d of %d were lost", lost, done)
}

// A transaction whose COMMIT was sent and not answered may be stored. So it does not run again, and
// the answer is "try again".
func TestALostAnswerToCommit(t *testing.T) {
	w, dsn := through(t, testkit.Postgres(t))
	d := testkit.Open(t, dsn)
	acme := d.Tenant(t, "acme")
	w.swallow([]byte("COMMIT\x00")) // of CommandComplete
	ran := 0
	err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
		ran++
		_, err := tx.Exec(t.Context(), `INSERT INTO owner_locks (tenant_id, taken_at) VALUES ($1, $2)`, tx.Now())
		return err
	})
	if !unavailable(err) || ran != 1 {
		t.Errorf("it ran %d times: %v", ran, err)
	}
	w.swallow(nil)
	rows, err := db.Read(t.Context(), d.DB, acme, func(tx *db.Tx) ([]int64, error) {
		return db.List(t.Context(), tx, db.Column[int64], `SELECT taken_at FROM owner_locks WHERE tenant_id = $1`)
	})
	if err != nil || len(rows) != 1 {
		t.Errorf("%d rows are stored: %v", len(rows), err)
	}
}

// A silent connection costs its own caller its own time, and no other.
func TestSilentConnection(t *testing.T) {
	w, dsn := through(t, testkit.Postgres(t))
	d := testkit.Open(t, dsn)
	acme := d.Tenant(t, "acme")
	w.silence(true)
	for name, try := range map[string]func(context.Context, *db.DB, caller.Caller) error{"write": touch, "read": look} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		began := time.Now()
		err := try(ctx, d.DB, acme)
		cancel()
		if !unavailable(err) || time.Since(began) > 5*time.Second {
			t.Errorf("a silent %s ended after %v: %v", name, time.Since(began), err)
		}
	}
	w.silence(false)
	if err := touch(t.Context(), d.DB, acme); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Idle connections that a firewall forgot cost one caller one second. They do not cost each caller
// all of its time.
func TestForgottenIdleConnections(t *testing.T) {
	testkit.SkipFast(t, "the seconds after which a connection is idle")
	t.Parallel()
	w, dsn := through(t, testkit.Postgres(t))
	d := testkit.Open(t, dsn)
	acme := d.Tenant(t, "acme")
	var all sync.WaitGroup
	hold := make(chan struct{})
	for range 8 {
		all.Go(func() {
			err := d.View(t.Context(), acme, func(tx *db.Tx) error {
				_, err := db.List(t.Context(), tx, db.Column[int64],
					`SELECT taken_at FROM owner_locks WHERE tenant_id = $1`)
				<-hold
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	testkit.Eventually(t, "eight connections are open", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.accepted >= 8
	})
	close(hold)
	all.Wait()
	time.Sleep(1200 * time.Millisecond) // idle
	w.forget()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		if err := look(ctx, d.DB, acme); err != nil {
			t.Errorf("a read beside forgotten connections: %v", err)
		}
		cancel()
	}
}

// A read on a connection that falls silent is tried on another one while its caller still waits.
func TestAReadOutlivesASilentConnection(t *testing.T) {
	testkit.SkipFast(t, "the seconds that a statement may take")
	t.Parallel()
	w, dsn := through(t, testkit.Postgres(t))
	d := testkit.Open(t, dsn)
	acme := d.Tenant(t, "acme")
	if err := look(t.Context(), d.DB, acme); err != nil {
		t.Fatal(err)
	}
	for _, own := range []time.Duration{5 * time.Second, time.Minute} { // of a load, and of a request or job
		w.forget() // before the connection counts as idle
		ctx, cancel := context.WithTimeout(t.Context(), own)
		defer cancel()
		if err := look(ctx, d.DB, acme); err != nil {
			t.Errorf("within %s: %v", own, err)
		}
	}
}

// A database that is silent at start is told, and not waited for.
func TestStartWithASilentDatabase(t *testing.T) {
	testkit.SkipFast(t, "the seconds that a statement may take")
	t.Parallel()
	w, dsn := through(t, testkit.Postgres(t))
	cfg := testkit.Open(t, dsn).Config
	w.silence(true)
	t.Cleanup(func() { w.silence(false) })
	for name, step := range map[string]func() error{
		"inspect": func() error { _, err := db.Inspect(t.Context(), cfg); return err },
		"open":    func() error { _, err := db.Open(t.Context(), cfg); return err },
		"migrate": func() error { _, err := db.Migrate(t.Context(), cfg); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := step(); !unavailable(err) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// A database that takes no writes is not ready, says "try again", and is used again once it does.
func TestReadOnlyDatabase(t *testing.T) {
	dsn := testkit.Postgres(t)
	u, _ := url.Parse(dsn)
	set := func(value string) {
		testkit.Execute(t, dsn, "SET default_transaction_read_only = off",
			"ALTER DATABASE "+u.Path[1:]+" SET default_transaction_read_only = "+value)
	}
	d := testkit.Open(t, dsn)
	acme := d.Tenant(t, "acme")
	if err := d.Willing(); err != nil {
		t.Fatal(err)
	}
	set("on")
	d = testkit.Open(t, dsn)
	if err := touch(t.Context(), d.DB, acme); !unavailable(err) {
		t.Errorf("a write: %v", err)
	}
	if err := look(t.Context(), d.DB, acme); err != nil {
		t.Errorf("a read: %v", err)
	}
	if err := d.Willing(); !unavailable(err) {
		t.Errorf("ready: %v", err)
	}
	set("off") // the connections of before keep what they began with
	if err := touch(t.Context(), d.DB, acme); err != nil {
		t.Errorf("a write afterwards: %v", err)
	}
	if err := d.Willing(); err != nil {
		t.Errorf("ready afterwards: %v", err)
	}
}

// A caller that leaves while its COMMIT waits in the server learns what became of it.
func TestLeavingDuringACommit(t *testing.T) {
	d := testkit.Open(t, testkit.Postgres(t))
	acme := d.Tenant(t, "acme")
	rename := func(ctx context.Context, name string, then func()) error {
		return d.System(ctx, acme, "test", func(st *db.SystemTx) error {
			if then == nil {
				st.For(acme.Tenant).Later(`UPDATE tenants SET name = $2 WHERE id = $1`, name)
				return nil
			}
			_, err := st.For(acme.Tenant).Exec(ctx, `UPDATE tenants SET name = $2 WHERE id = $1`, name)
			then()
			return err
		})
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	left := make(chan error, 1)
	err := rename(t.Context(), "first", func() {
		go func() { left <- rename(ctx, "second", nil) }()
		time.Sleep(300 * time.Millisecond) // until its COMMIT waits for the row
		leave()
		time.Sleep(100 * time.Millisecond)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-left; err != nil {
		t.Errorf("the caller that left was told %v", err)
	}
	name, err := db.SystemRead(t.Context(), d.DB, acme, "test", func(st *db.SystemTx) (string, error) {
		return db.One(t.Context(), st.For(acme.Tenant), db.Column[string], `SELECT name FROM tenants WHERE id = $1`)
	})
	if err != nil || name != "second" {
		t.Errorf("the name is %q: %v", name, err)
	}
}
