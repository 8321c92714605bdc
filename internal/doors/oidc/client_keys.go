package oidc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
)

// Bounds on the key sets that are read from a jwks_uri.
const (
	keysFresh = 10 * time.Minute // then the set is read again before its next use
	keysStale = 24 * time.Hour   // how long a set counts whose address does not answer
	keysEvery = time.Minute      // the shortest time between two calls, also after a failure
)

// keySource identifies where the keys of an application come from. It changes with the application.
type keySource struct {
	app     id.ID
	updated time.Time
}

// clientKeys are the keys that one application authenticates by. They are stored with the
// application, or read from its jwks_uri.
type clientKeys struct {
	uri string // "" for keys that are stored

	// reading is held by the one caller that calls the address.
	reading sync.Mutex

	mu    sync.Mutex
	set   jose.Set
	read  time.Time // when set was read
	tried time.Time // when the address was called last
	err   error     // why that call gave no set
}

// keysOf returns the keys of an application.
func (d *Door) keysOf(ctx context.Context, c caller.Caller, app *application.Application) (*clientKeys, error) {
	return d.clients.Get(ctx, c.Tenant, keySource{app.ID, app.UpdatedAt}, func(context.Context) (*clientKeys, error) {
		if app.JWKSURI != "" {
			return &clientKeys{uri: app.JWKSURI}, nil
		}
		set, err := jose.ParseSet(app.JWKS)
		if err != nil {
			return nil, errors.Join(errors.New("oidc: a stored key set cannot be read"), err)
		}
		return &clientKeys{set: set}, nil
	})
}

// find returns the keys with a kid. It calls the jwks_uri if the set is old or lacks the kid, at
// most once in keysEvery. It fails with a sentence if the address does not answer and there is no
// set from the last keysStale. The caller has no transaction.
func (d *Door) find(ctx context.Context, c caller.Caller, k *clientKeys, kid string) ([]jose.PublicKey, error) {
	keys, due, err := k.lookup(kid, d.Clock.Now())
	if !due {
		return keys, err
	}
	k.reading.Lock() // for at most the time of a call
	defer k.reading.Unlock()
	if keys, due, err = k.lookup(kid, d.Clock.Now()); !due { // another caller has read meanwhile
		return keys, err
	}
	set, err := readKeys(ctx, d.Outbound, c.Tenant, k.uri)
	if errors.Is(err, outbound.ErrBusy) { // it says nothing about the address: the next caller calls again
		if len(keys) > 0 {
			err = nil
		}
		return keys, err
	}
	k.note(set, err, d.Clock.Now())
	keys, _, err = k.lookup(kid, d.Clock.Now())
	return keys, err
}

// lookup returns the keys with a kid, or why there are none. It reports whether the address should
// be called first.
func (k *clientKeys) lookup(kid string, now time.Time) ([]jose.PublicKey, bool, error) {
	if k.uri == "" {
		return k.set.Find(kid), false, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	due := k.tried.IsZero() || now.Sub(k.tried) >= keysEvery
	if k.read.IsZero() || now.Sub(k.read) >= keysStale {
		return nil, due, k.err
	}
	keys := k.set.Find(kid)
	return keys, due && (len(keys) == 0 || now.Sub(k.read) >= keysFresh), nil
}

// note stores the result of a call.
func (k *clientKeys) note(set jose.Set, err error, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = now, err
	if err == nil {
		k.set, k.read = set, now
	}
}

// readKeys reads a key set. Its errors are sentences.
func readKeys(ctx context.Context, calls *outbound.Client, tenant id.ID, uri string) (jose.Set, error) {
	// The result is for every caller. So a caller that leaves does not end the call.
	body, err := calls.ReadJSON(context.WithoutCancel(ctx), tenant, outbound.Request{URL: uri,
		Accept: "application/jwk-set+json, application/json"})
	if err != nil {
		return nil, err
	}
	set, err := jose.ParseSet(body)
	if err != nil {
		return nil, &outbound.Error{Reason: fault.As(err).Reason}
	}
	return set, nil
}
