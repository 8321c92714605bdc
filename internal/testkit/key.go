package testkit

import (
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// Key is one source of private keys for the tests of a package that follow each other; see Keys.
var Key = Keys()

// sources are the sources of databases.
var sources sync.Map

// KeysOf returns the source of private keys of a database, which all its replicas share. Tests that
// run beside each other have one each: what one of them draws makes no key of another one repeat.
func KeysOf(database string) func(jose.Algorithm) (*jose.PrivateKey, error) {
	keys, _ := sources.LoadOrStore(database, Keys())
	return keys.(func(jose.Algorithm) (*jose.PrivateKey, error))
}

// Keys returns a source of private keys. Each key is new, but for RSA one of a few that this test
// process generates once. A source gives all of those before it repeats one, so the keys of a
// tenant differ. Replicas that race for a tenant's keys need a source each.
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
var rsaKeys [8]struct {
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
