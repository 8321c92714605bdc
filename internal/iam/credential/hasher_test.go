package credential

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

var light = Params{Memory: 64, Passes: 1, Lanes: 1}

func TestHashAndVerify(t *testing.T) {
	ctx := t.Context()
	h := NewHasher(HasherConfig{Params: light})
	phc, err := h.Hash(ctx, "a fine password")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseHash(phc); err != nil {
		t.Errorf("our own string %s: %v", phc, err)
	}
	if other, _ := h.Hash(ctx, "a fine password"); other == phc {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	if ok, rehash, err := h.Verify(ctx, phc, "a fine password"); !ok || rehash || err != nil {
		t.Errorf("the password: %v %v %v", ok, rehash, err)
	}
	if ok, _, err := h.Verify(ctx, phc, "a fine passwore"); ok || err != nil {
		t.Errorf("another: %v %v", ok, err)
	}
	stronger := NewHasher(HasherConfig{Params: Params{Memory: 128, Passes: 1, Lanes: 1}})
	if ok, rehash, err := stronger.Verify(ctx, phc, "a fine password"); !ok || !rehash || err != nil {
		t.Errorf("under other parameters: %v %v %v, want a rehash", ok, rehash, err)
	}
	if ok, rehash, _ := stronger.Verify(ctx, phc, "wrong"); ok || rehash {
		t.Error("a wrong password is rehashed")
	}
}

func TestDefaultsAreOWASP(t *testing.T) {
	phc, err := NewHasher(HasherConfig{}).Hash(t.Context(), "a fine password")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s, %v", phc, err)
	}
}

// Composed and decomposed letters, and the various spaces, are one password (RFC 8265
// OpaqueString).
func TestSamePasswordOtherKeyboard(t *testing.T) {
	h := NewHasher(HasherConfig{Params: light})
	phc, _ := h.Hash(t.Context(), "Zu\u0308rich\u00a0am See")
	if ok, _, err := h.Verify(t.Context(), phc, "Zürich am See"); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

func TestNoPasswordNeverMatches(t *testing.T) {
	h := NewHasher(HasherConfig{Params: light})
	for _, p := range []secret.String{"", "a", secret.String(strings.Repeat("x", 1<<16))} {
		if ok, _, err := h.Verify(t.Context(), "", p); ok || err != nil {
			t.Errorf("an account without a password: %v %v", ok, err)
		}
	}
	empty, _ := h.Hash(t.Context(), "")
	if ok, _, _ := h.Verify(t.Context(), empty, secret.String(strings.Repeat("x", 1<<16))); ok {
		t.Error("a text longer than any password matches the empty one")
	}
}

// The test compares the computation, not the time.
func TestUnknownUserCostsTheSame(t *testing.T) {
	h := NewHasher(HasherConfig{Params: light})
	stored, _ := h.Hash(t.Context(), "a fine password")
	real, err := parsePHC(stored)
	if err != nil {
		t.Fatal(err)
	}
	n := h.nothing
	if n.scheme != real.scheme || n.memory != real.memory || n.passes != real.passes || n.lanes != real.lanes ||
		len(n.salt) != len(real.salt) || len(n.sum) != len(real.sum) {
		t.Errorf("unknown users: %+v, known ones: %+v", n, real)
	}
}

func TestStoredRubbishIsOurFault(t *testing.T) {
	h := NewHasher(HasherConfig{Params: light})
	_, _, err := h.Verify(t.Context(), "rubbish", "x")
	if err == nil || fault.Of(err) != fault.Internal {
		t.Errorf("%v, want an internal error", err)
	}
}

// The test holds every slot and checks which calls still enter.
func TestHashesAreLimited(t *testing.T) {
	ctx := t.Context()
	h := NewHasher(HasherConfig{Params: light, Slots: 2, Queue: 1, Wait: time.Minute})
	first, err := h.enter(ctx, 64)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.enter(ctx, 1) // less memory, but a core all the same
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		release, err := h.enter(ctx, 1)
		if err == nil {
			release()
		}
		waited <- err
	}()
	for h.waiting.Load() == 0 {
		select {
		case err := <-waited:
			t.Fatalf("a third came into two slots: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	// A full queue refuses a call before its timeout and context count.
	left, leave := context.WithCancel(ctx)
	leave()
	if _, err := h.enter(left, 64); !errors.Is(err, ErrBusy) || fault.Of(err) != fault.Limited {
		t.Errorf("a full queue: %v, want ErrBusy", err)
	}
	first()
	if err := <-waited; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	second()
	short := NewHasher(HasherConfig{Params: light, Slots: 1, Wait: time.Millisecond})
	release, _ := short.enter(ctx, 64)
	if _, err := short.Hash(ctx, "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("after the wait: %v, want ErrBusy", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := short.Hash(gone, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	release()
}

// An imported hash that needs more memory than all slots together takes all of them.
func TestLargeHashRunsAlone(t *testing.T) {
	h := NewHasher(HasherConfig{Params: light, Slots: 4, Wait: time.Millisecond})
	release, err := h.enter(t.Context(), maxMemoryKiB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Hash(t.Context(), "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("beside it: %v, want ErrBusy", err)
	}
	release()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := h.Hash(t.Context(), "x"); err != nil && !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if !h.free.TryAcquire(h.budget) {
		t.Error("places were lost")
	}
}

// One client fills only its share of the queue.
func TestTheQueueIsShared(t *testing.T) {
	h := NewHasher(HasherConfig{Params: light, Slots: 1, Queue: 8, Wait: time.Minute})
	release, err := h.enter(t.Context(), int64(light.Memory))
	if err != nil {
		t.Fatal(err)
	}
	from := func(a string) context.Context {
		return context.WithValue(t.Context(), caller.AddressKey{}, netip.MustParseAddr(a))
	}
	got := make(chan error)
	for range 8 {
		go func() {
			_, err := h.Hash(from("192.0.2.1"), "a password")
			got <- err
		}()
	}
	for range 6 { // two wait: the share of one client in a queue of eight
		if err := <-got; !errors.Is(err, ErrBusy) {
			t.Errorf("a guess beyond the share: %v", err)
		}
	}
	go func() {
		_, err := h.Hash(from("198.51.100.1"), "a password")
		got <- err
	}()
	release()
	for range 3 {
		if err := <-got; err != nil {
			t.Errorf("a hash within the share: %v", err)
		}
	}
}
