package jose

import "sync"

// Pool keeps RSA keys ready, because generating one takes 100 ms and more of CPU. It is safe for
// concurrent use. The zero Pool is empty and ready to use.
type Pool struct {
	mu      sync.Mutex
	ready   []*PrivateKey
	filling bool
}

// poolSize is how many RSA keys a pool keeps: those of two tenants.
const poolSize = 4

// Get returns a new private key: a ready one if there is any. It then generates others on a
// goroutine of its own, which ends when the pool is full.
func (p *Pool) Get(alg Algorithm) (*PrivateKey, error) {
	if alg != RS256 {
		return Generate(alg)
	}
	defer p.Fill()
	p.mu.Lock()
	if n := len(p.ready); n > 0 {
		key := p.ready[n-1]
		p.ready = p.ready[:n-1]
		p.mu.Unlock()
		return key, nil
	}
	p.mu.Unlock()
	return Generate(alg)
}

// Fill begins to generate keys until the pool is full, unless that is under way.
func (p *Pool) Fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filling || len(p.ready) >= poolSize {
		return
	}
	p.filling = true
	go p.fill()
}

func (p *Pool) fill() {
	for {
		key, err := Generate(RS256)
		p.mu.Lock()
		if err == nil {
			p.ready = append(p.ready, key)
		}
		if err != nil || len(p.ready) >= poolSize { // Get generates its own key, and reports the error
			p.filling = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}
