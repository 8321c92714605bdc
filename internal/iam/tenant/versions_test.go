package tenant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func advance(t *testing.T, d *testkit.Database, c caller.Caller) {
	t.Helper()
	if err := d.Update(t.Context(), c, func(tx *db.Tx) error { PrincipalsChanged(tx); return nil }); err != nil {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		v := NewVersions(d.DB)
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		want := func(c caller.Caller, want Version) {
			t.Helper()
			if got, err := v.Read(t.Context(), c.Tenant); err != nil || got != want {
				t.Errorf("%+v, want %+v: %v", got, want, err)
			}
		}
		want(acme, Version{0, true})
		advance(t, d, acme)
		advance(t, d, acme)
		want(acme, Version{2, true})
		want(globex, Version{0, true})
		if err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
			_, err := SetStatus(t.Context(), tx, Suspended)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		want(acme, Version{2, false})
		if _, err := v.Read(t.Context(), id.New()); !errors.Is(err, ErrNotFound) {
			t.Errorf("a tenant that does not exist: %v", err)
		}
	})
}

// A version counts for a shorter time than Update delays its return after a change, by every way to
// change one.
func TestAReadIsGoodForAMoment(t *testing.T) {
	if fresh >= settle {
		t.Errorf("a read is good for %s, and a change is answered after %s", fresh, settle)
	}
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		for name, change := range map[string]func(tx *db.Tx) error{
			"principals": func(tx *db.Tx) error { PrincipalsChanged(tx); PrincipalsChanged(tx); return nil },
			"status":     func(tx *db.Tx) error { _, err := SetStatus(t.Context(), tx, Suspended); return err },
		} {
			var committed time.Time
			err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
				tx.AfterCommit(func() { committed = time.Now() })
				return change(tx)
			})
			if kept := time.Since(committed); err != nil || kept < settle {
				t.Errorf("%s: answered %s after the commit: %v", name, kept, err)
			}
		}
	})
	acme := id.New()
	read := func(age time.Duration) *reading {
		return &reading{began: time.Now().Add(-age), versions: map[id.ID]Version{acme: {7, true}}}
	}
	var k known
	k.keep(read(0))
	if got, ok := k.of(acme); !ok || got.Principals != 7 {
		t.Errorf("just read: %v %v", got, ok)
	}
	k = known{}
	k.keep(read(fresh))
	if _, ok := k.of(acme); ok {
		t.Error("too old")
	}
	k = known{}
	for i := range 1000 {
		k.keep(&reading{began: time.Now().Add(time.Duration(i) * fresh / 10),
			versions: map[id.ID]Version{id.New(): {}}})
	}
	if n := len(k.recent) + len(k.older); n > 20 {
		t.Errorf("%d readings are kept", n)
	}
}

// Callers that come during a read share the next one, whatever the number of tenants. Its answer is
// not older than their question.
func TestReadsAreSharedAndFresh(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		v := NewVersions(d.DB)
		var tenants []caller.Caller
		for i := range 2*readWidth + 3 {
			tenants = append(tenants, d.Tenant(t, fmt.Sprintf("t%d", i)))
		}
		v.turn.Lock() // a read is under way
		var all sync.WaitGroup
		var before *reading
		for i, c := range tenants {
			all.Go(func() {
				got, err := v.Read(t.Context(), c.Tenant)
				if err != nil || got.Principals != 1 || !got.Active {
					t.Errorf("%d: %+v, want what was committed before the read began: %v", i, got, err)
				}
			})
		}
		testkit.Eventually(t, "all have joined one read", func() bool {
			v.mu.Lock()
			defer v.mu.Unlock()
			before = v.next
			return before != nil && len(before.tenants) == len(tenants)
		})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Read(gone, tenants[0].Tenant); !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone away waits: %v", err)
		}
		for _, c := range tenants {
			advance(t, d, c) // after the question, before the read
		}
		v.turn.Unlock()
		all.Wait()
		if before.err != nil || len(before.versions) != len(tenants) {
			t.Errorf("one read had %d of %d tenants: %v", len(before.versions), len(tenants), before.err)
		}
		if v.next != nil {
			t.Error("a read that has ended can still be joined")
		}
	})
}

// A read that has begun does not answer a caller that comes later. The only connection is taken, so
// the read stays under way for as long as the test likes.
func TestAReadUnderWayIsNotJoined(t *testing.T) {
	d := testkit.Open(t, testkit.Postgres(t))
	first, second := d.Tenant(t, "first"), d.Tenant(t, "second")
	cfg := d.Config
	cfg.MaxConns = 1
	one, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	v := NewVersions(one)
	var all sync.WaitGroup
	ask := func(c caller.Caller) {
		all.Go(func() {
			if _, err := v.Read(t.Context(), c.Tenant); err != nil {
				t.Error(err)
			}
		})
	}
	joined := func(c caller.Caller) bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.next == nil {
			return false
		}
		_, ok := v.next.tenants[c.Tenant]
		return ok
	}
	var during time.Time
	err = one.View(t.Context(), first, func(tx *db.Tx) error {
		if _, err := db.List(t.Context(), tx, db.Column[int64], `SELECT 1 FROM tenants WHERE id = $1`); err != nil {
			return err
		}
		ask(first)
		testkit.Eventually(t, "the read has begun and knows its tenants", func() bool {
			if v.turn.TryLock() {
				v.turn.Unlock()
				return false
			}
			return !joined(first)
		})
		during = time.Now()
		ask(second)
		testkit.Eventually(t, "the second tenant has joined the next read", func() bool { return joined(second) })
		if joined(first) {
			t.Error("a caller joined a read that had begun")
		}
		return nil
	})
	all.Wait()
	if err != nil {
		t.Error(err)
	}
	r := v.known.recent[first.Tenant]
	if r == nil {
		r = v.known.older[first.Tenant]
	}
	if r == nil || r.began.After(during) {
		t.Errorf("a read is as old as its question to the database, not as the answer: %+v, asked before %s", r, during)
	}
}

// The caller that begins a read waits no longer than the others do.
func TestTheFirstCallerOfAReadWatchesItsDeadline(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	acme := d.Tenant(t, "acme")
	v := NewVersions(d.DB)
	v.turn.Lock() // a read that does not end
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := v.Read(ctx, acme.Tenant); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	v.mu.Lock()
	begun := v.next
	v.mu.Unlock()
	v.turn.Unlock()
	<-begun.done
	if got := begun.versions[acme.Tenant]; begun.err != nil || !got.Active {
		t.Errorf("the read ended with the caller that began it: %+v, %v", got, begun.err)
	}
}
