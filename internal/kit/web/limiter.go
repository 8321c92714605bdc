package web

import (
	"math"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// Limiter bounds how often one address may do something. It lives in memory and evicts the
// addresses longest unseen. It protects one replica from a flood. The lockout of accounts, which
// must survive a restart, is in the database.
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

// Allow counts one event of an address. If it is one too many, Allow returns false and how long to
// wait for the next, rounded up to seconds.
func (l *Limiter) Allow(a netip.Addr) (bool, time.Duration) {
	now := l.clock.Now()
	for i, key := range network.Of(a).All() {
		if wait := l.take(key, int(network.PerTime[i]), now); wait > 0 {
			return false, wait
		}
	}
	return true, 0
}

// take counts one event of a network, which may send factor times what a client may. It returns
// how long to wait if it is one too many.
func (l *Limiter) take(key netip.Prefix, factor int, now time.Time) time.Duration {
	limit := l.rate * rate.Limit(factor)
	l.mu.Lock()
	b, found := l.seen.Get(key)
	if !found {
		b = rate.NewLimiter(limit, l.burst*factor)
		l.seen.Add(key, b)
	}
	l.mu.Unlock()
	if b.AllowN(now, 1) {
		return 0
	}
	missing := 1 - b.TokensAt(now)
	return time.Duration(math.Ceil(missing/float64(limit))) * time.Second
}
