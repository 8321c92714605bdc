package credential

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// ErrBusy is the fault for too many password checks at once. It says nothing about the password.
var ErrBusy = fault.New(fault.Limited, "credential.busy",
	"Too many sign-ins are being checked right now. Try again in a few seconds.")

// Params are the argon2id parameters of new hashes.
type Params struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

// DefaultParams follow the OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. A hash
// takes 25 to 40 ms of one core of 2026.
var DefaultParams = Params{Memory: 19 << 10, Passes: 2, Lanes: 1}

// HasherConfig configures a Hasher. The zero value means the defaults.
type HasherConfig struct {
	Params Params        // of new hashes
	Slots  int           // hashes with Params computed at once; 0 means one per core
	Wait   time.Duration // how long a caller waits for a slot; 0 means 3 s
	Queue  int           // how many callers may wait; 0 means 64 per slot
	// Refusal is how long a refusal takes at least in a tenant with imported hashes; see Even. With
	// the default Params it is refusal. Other Params are those of tests, which do not wait.
	Refusal time.Duration
}

// refusal is longer than a check at the limits on imported hashes takes, for two spellings.
const refusal = 2 * time.Second

// queueShare is the part of the queue that one client may fill: a quarter.
const queueShare = 4

// Hasher computes password hashes under a limit on memory, Slots × Params.Memory. An imported hash
// that needs more takes several slots. One that needs more than all of them runs alone. It is safe
// for concurrent use.
type Hasher struct {
	cfg     HasherConfig
	budget  int64 // KiB
	free    *semaphore.Weighted
	waiting atomic.Int64
	clients *network.Places // of the queue, for callers that serve a client
	nothing phc             // stands in for the password of an unknown user
}

// NewHasher returns a Hasher.
func NewHasher(cfg HasherConfig) *Hasher {
	if cfg.Params == (Params{}) {
		cfg.Params, cfg.Refusal = DefaultParams, max(cfg.Refusal, refusal)
	}
	if cfg.Slots <= 0 {
		cfg.Slots = runtime.GOMAXPROCS(0)
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 3 * time.Second
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 64 * cfg.Slots
	}
	budget := int64(cfg.Slots) * int64(cfg.Params.Memory)
	return &Hasher{
		cfg: cfg, budget: budget, free: semaphore.NewWeighted(budget),
		clients: network.NewPlaces(int64(cfg.Queue), int64(cfg.Queue)/queueShare),
		nothing: phc{
			scheme: argon2id, memory: cfg.Params.Memory, passes: cfg.Params.Passes, lanes: cfg.Params.Lanes,
			salt: randomBytes(saltBytes), sum: randomBytes(sumBytes),
		},
	}
}

const (
	saltBytes = 16 // RFC 9106 §3.1
	sumBytes  = 32
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails
	return b
}

// Hash returns the PHC string of password with the current parameters. It is slow: never call it
// inside a transaction. It fails with ErrBusy.
func (h *Hasher) Hash(ctx context.Context, password secret.String) (string, error) {
	p := h.cfg.Params
	release, err := h.enter(ctx, int64(p.Memory))
	if err != nil {
		return "", err
	}
	defer release()
	salt := randomBytes(saltBytes)
	sum := argon2.IDKey([]byte(prepare(password)), salt, p.Passes, p.Memory, p.Lanes, sumBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		p.Memory, p.Passes, p.Lanes, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// Verify reports whether password matches stored, and whether to hash it again because stored has
// other parameters than new hashes. An empty stored means that there is no password: an unknown
// user, or an account without one. Then the answer is false, after the time of a real check. It is
// slow: never call it inside a transaction. It fails with ErrBusy.
func (h *Hasher) Verify(ctx context.Context, stored string, password secret.String) (ok, rehash bool, err error) {
	target := h.nothing
	if stored != "" {
		if target, err = parsePHC(stored); err != nil {
			// %v hides the kind of fault: a broken stored string is internal, not the caller's.
			return false, false, fmt.Errorf("stored password hash: %v", err)
		}
	}
	release, err := h.enter(ctx, target.memoryKiB())
	if err != nil {
		return false, false, err
	}
	defer release()
	texts := spellings(password)
	for i, text := range texts {
		match, err := target.matches(text)
		if err != nil {
			return false, false, err
		}
		if match && stored != "" && len(password.Reveal()) <= MaxPasswordBytes {
			return true, i > 0 || !h.current(target), nil
		}
	}
	return false, false, nil
}

// Even returns a function that waits until a refusal may be answered, and one that ends the clock.
// Call Even before Verify, and wait after a wrong password, in a tenant that has imported hashes.
// Those cost up to a second, so that the time of a refusal would tell which logins have one.
func (h *Hasher) Even(ctx context.Context) (func(), func()) {
	until, stop := context.WithTimeout(ctx, h.cfg.Refusal)
	return func() { <-until.Done() }, stop
}

func (h *Hasher) current(p phc) bool {
	want := h.cfg.Params
	return p.scheme == argon2id && p.memory == want.Memory && p.passes == want.Passes && p.lanes == want.Lanes &&
		len(p.salt) >= saltBytes && len(p.sum) >= sumBytes
}

// enter waits for kib of free memory. release returns it. The client that ctx serves can fill only
// its share of the queue, so that guesses from one place do not keep others from signing in.
func (h *Hasher) enter(ctx context.Context, kib int64) (release func(), err error) {
	kib = min(max(kib, int64(h.cfg.Params.Memory)), h.budget) // every hash takes a core, so at least a slot
	if h.free.TryAcquire(kib) {
		return func() { h.free.Release(kib) }, nil
	}
	if h.waiting.Add(1) > int64(h.cfg.Queue) {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	defer h.waiting.Add(-1)
	if a := caller.AddressOf(ctx); a.IsValid() {
		if h.clients.Take(a, 1) != network.Taken {
			return nil, ErrBusy
		}
		defer h.clients.Give(a, 1)
	}
	wait, cancel := context.WithTimeout(ctx, h.cfg.Wait)
	defer cancel()
	if err := h.free.Acquire(wait, kib); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, ErrBusy
	}
	return func() { h.free.Release(kib) }, nil
}
