package testkit

import (
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// Key is one source of private keys for a whole test process; see Keys.
var Key = Keys()

// Keys returns a source of private keys. Each key is new, but for RSA one of a few that this test
// process generates once. Two calls in a row return different keys, so a tenant's current and next
// keys differ. Replicas that race for a tenant's keys need a source each.
func Keys() func(jose.Algorithm) (*jose.PrivateKey, error) {
	var mu sync.Mutex
	var next int
	return func(alg jose.Algorithm) (*jose.PrivateKey, error) {
		if alg != jose.RS256 {
			return jose.Generate(alg)
		}
		mu.Lock()
		defer mu.Unlock()
		next++
		return rsa(next % len(rsaKeys))
	}
}

// rsaKeys are the RSA keys of this process, as far as a test needed them.
var rsaKeys [4]struct {
	sync.Mutex
	key *jose.PrivateKey
}

func rsa(i int) (*jose.PrivateKey, error) {
	k := &rsaKeys[i]
	k.Lock()
	defer k.Unlock()
	if k.key == nil {
		key, err := jose.Generate(jose.RS256)
		if err != nil {
			return nil, err
		}
		k.key = key
	}
	return k.key, nil
}
