package network

import (
	"net/netip"
	"sync"
)

// Outcome is the answer to a request for places.
type Outcome int

// The outcomes.
const (
	Taken   Outcome = iota
	Full            // all places are taken
	TooMany         // the client's network holds its share
)

// Places are a bounded number of places, of which no network may hold more than its share. It is
// safe for concurrent use.
type Places struct {
	max    int64
	shares [len(Levels{})]int64 // of each level

	mu   sync.Mutex
	used int64
	by   [len(Levels{})]map[netip.Prefix]int64
}

// NewPlaces returns limit places. A client may hold at most share of them, and a wider network as
// much more as AtOnce says. No site or provider holds more than three quarters of all.
func NewPlaces(limit, share int64) *Places {
	p := &Places{max: limit}
	most := max(limit*3/4, 1)
	for i := range p.by {
		p.by[i] = map[netip.Prefix]int64{}
		p.shares[i] = min(max(share, 1)*AtOnce[i], max(most, share))
	}
	return p
}

// Take takes n places for a client, or none. Give returns them.
func (p *Places) Take(a netip.Addr, n int64) Outcome {
	levels := Of(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used+n > p.max {
		return Full
	}
	for i, l := range levels.All() {
		if p.by[i][l]+n > p.shares[i] {
			return TooMany
		}
	}
	p.used += n
	for i, l := range levels.All() {
		p.by[i][l] += n
	}
	return Taken
}

// Give returns n places that Take gave the client.
func (p *Places) Give(a netip.Addr, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	for i, l := range Of(a).All() {
		if left := p.by[i][l] - n; left > 0 {
			p.by[i][l] = left
		} else {
			delete(p.by[i], l)
		}
	}
}

// Used returns how many places are taken.
func (p *Places) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}
