package web

import (
	"math"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// Limiter bounds how often one address may do something. It lives in memory and
// forgets the addresses longest unseen: it protects this replica from a flood, while
// the lockout of accounts, which must survive a restart, is kept in the database.
type Limiter struct {
	rate  rate.Limit
	burst int
	clock clock.Clock

	mu   sync.Mutex
	seen *lru.LRU[netip.Prefix, *rate.Limiter]
}

// limiterSize is how many addresses a Limiter remembers: about 10 MB.
const limiterSize = 1 << 16

// NewLimiter allows each address burst events at once and perSecond of them in the long run.
func NewLimiter(c clock.Clock, perSecond float64, burst int) *Limiter {
	seen, err := lru.NewLRU[netip.Prefix, *rate.Limiter](limiterSize, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Limiter{rate: rate.Limit(perSecond), burst: max(burst, 1), clock: c, seen: seen}
}

// networkOf is what counts as one address: all of an IPv4 address, the /64 of an
// IPv6 address, because that is what one customer of a provider is given.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// Allow counts one event from a. When it is one too many it returns false and how long to
// wait until the next would be allowed, rounded up to whole seconds.
func (l *Limiter) Allow(a netip.Addr) (ok bool, retry time.Duration) {
	now := l.clock.Now()
	key := networkOf(a)
	l.mu.Lock()
	b, found := l.seen.Get(key)
	if !found {
		b = rate.NewLimiter(l.rate, l.burst)
		l.seen.Add(key, b)
	}
	l.mu.Unlock()
	if b.AllowN(now, 1) {
		return true, 0
	}
	missing := 1 - b.TokensAt(now)
	return false, time.Duration(math.Ceil(missing/float64(l.rate))) * time.Second
}
