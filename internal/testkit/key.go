package testkit

import (
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// Key returns a private key: a new one, but for RSA one of a few that this test process generates
// once. A tenant's current and next keys differ. Another tenant may have the same ones.
func Key(alg jose.Algorithm) (*jose.PrivateKey, error) {
	if alg != jose.RS256 {
		return jose.Generate(alg)
	}
	rsa.Lock()
	defer rsa.Unlock()
	i := rsa.next % len(rsa.keys)
	rsa.next++
	if rsa.keys[i] == nil {
		key, err := jose.Generate(alg)
		if err != nil {
			return nil, err
		}
		rsa.keys[i] = key
	}
	return rsa.keys[i], nil
}

var rsa struct {
	sync.Mutex
	keys [4]*jose.PrivateKey
	next int
}
