package signingkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// How long keys live.
const (
	RotateEvery    = 90 * 24 * time.Hour // age at which housekeeping rotates the current key
	PublishRetired = 7 * 24 * time.Hour  // longer than any token we sign is good for
	KeepRetired    = 90 * 24 * time.Hour // an expired ID token may still serve as a hint (RP-Initiated Logout §2)
)

// Status says what a key is for.
type Status string

// The statuses, in the order a key goes through them.
const (
	Next    Status = "next"
	Current Status = "current"
	Retired Status = "retired"
)

// Sealer keeps private keys unreadable at rest; kit/secret's key ring is one.
type Sealer interface {
	Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error)
	Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error)
}

const purpose = "signing-key"

// Keys gives signers and verifies signatures, per tenant. It is safe for
// concurrent use.
type Keys struct {
	db    *db.DB
	seal  Sealer
	clock clock.Clock
	touch func(*db.Tx)                  // tells other replicas that the tenant's keys changed
	cache *cache.Cache[struct{}, *ring] // one ring a tenant
}

// New returns the keys of all tenants. touch is called in every transaction that
// changes a tenant's keys.
func New(d *db.DB, seal Sealer, c clock.Clock, touch func(*db.Tx)) *Keys {
	return &Keys{db: d, seal: seal, clock: c, touch: touch, cache: cache.New[struct{}](cache.Options[*ring]{Max: 10_000})}
}

// Drop forgets the copies of a tenant's keys, of all tenants' for the zero id.
func (k *Keys) Drop(tenant id.ID) {
	k.cache.Drop(tenant)
}

// Check proves that the tenant's keys can be unsealed. It makes none.
func (k *Keys) Check(ctx context.Context, c caller.Caller) error {
	_, err := k.ring(ctx, c)
	return err
}

// ring is what one tenant's keys come to; immutable.
type ring struct {
	signers map[signerKey]*jose.Signer
	verify  jose.Set // everything kept
	jwks    []byte   // what is published, rendered
	version string   // of jwks; changes when it does
}

type signerKey struct {
	alg jose.Algorithm
	typ string
}

var types = []string{jose.TypeAccessToken, jose.TypeLogout, jose.TypeJWT}

// Signer returns the signer of the caller's tenant for an algorithm and a token
// type. The tenant's first call for an algorithm makes its keys: some
// microseconds, for RS256 some 200 ms.
func (k *Keys) Signer(ctx context.Context, c caller.Caller, alg jose.Algorithm, typ string) (*jose.Signer, error) {
	for range 2 {
		r, err := k.ring(ctx, c)
		if err != nil {
			return nil, err
		}
		if s, ok := r.signers[signerKey{alg, typ}]; ok {
			return s, nil
		}
		if err := k.make(ctx, c, alg); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("signingkey: no signer for %s and %q", alg, typ)
}

// Verify checks a token that the caller's tenant is said to have signed and
// returns its payload; see jose.Verify. Expiry is the caller's to judge.
func (k *Keys) Verify(ctx context.Context, c caller.Caller, token string, types []string) ([]byte, error) {
	r, err := k.ring(ctx, c)
	if err != nil {
		return nil, err
	}
	return jose.Verify(token, types, r.verify.Find)
}

// JWKS returns the tenant's published key set as JSON, and a version that changes
// when it does. A tenant that has no key yet gets its default ones.
func (k *Keys) JWKS(ctx context.Context, c caller.Caller) (body []byte, version string, err error) {
	if _, err := k.Signer(ctx, c, jose.ES256, jose.TypeJWT); err != nil {
		return nil, "", err
	}
	r, err := k.ring(ctx, c)
	if err != nil {
		return nil, "", err
	}
	return r.jwks, r.version, nil
}

func (k *Keys) ring(ctx context.Context, c caller.Caller) (*ring, error) {
	return k.cache.Get(ctx, c.Tenant, struct{}{}, func(ctx context.Context) (*ring, error) {
		rows, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]row, error) { return list(ctx, tx) })
		if err != nil {
			return nil, err
		}
		return k.open(c.Tenant, rows)
	})
}

func (k *Keys) open(tenant id.ID, rows []row) (*ring, error) {
	r := &ring{signers: map[signerKey]*jose.Signer{}}
	var published jose.Set
	now := k.clock.Now()
	for _, row := range rows {
		der, err := k.seal.Open(tenant, purpose, row.sealed)
		if err != nil {
			return nil, fmt.Errorf("signingkey: %s cannot be unsealed; is the key that sealed it still on the ring? %w", row.kid, err)
		}
		key, err := jose.ParsePrivateKey(row.alg, der)
		if err != nil {
			return nil, err
		}
		r.verify = append(r.verify, key.Public())
		if row.status != Retired || now.Sub(row.retiredAt) < PublishRetired {
			published = append(published, key.Public())
			r.version += row.kid[:min(8, len(row.kid))]
		}
		if row.status != Current {
			continue
		}
		for _, typ := range types {
			s, err := jose.NewSigner(key, typ)
			if err != nil {
				return nil, err
			}
			r.signers[signerKey{row.alg, typ}] = s
		}
	}
	var err error
	r.jwks, err = published.Marshal()
	return r, err
}

// sealed is a new key, ready to be stored.
type sealed struct {
	kid string
	der []byte
}

func (k *Keys) generate(tenant id.ID, alg jose.Algorithm) (sealed, error) {
	key, err := jose.Generate(alg)
	if err != nil {
		return sealed{}, err
	}
	der, err := key.Marshal()
	if err != nil {
		return sealed{}, err
	}
	der, err = k.seal.Seal(tenant, purpose, der)
	return sealed{key.ID(), der}, err
}

// make stores the first current and next key of an algorithm. Of two that try at
// once one wins; the other's keys are thrown away.
func (k *Keys) make(ctx context.Context, c caller.Caller, alg jose.Algorithm) error {
	if !slices.Contains(jose.Signing, alg) {
		return fmt.Errorf("signingkey: tokens are not signed with %q", alg)
	}
	current, err := k.generate(c.Tenant, alg)
	if err != nil {
		return err
	}
	next, err := k.generate(c.Tenant, alg)
	if err != nil {
		return err
	}
	return k.db.Update(ctx, c, func(tx *db.Tx) error {
		won, err := insert(ctx, tx, current, alg, Current)
		if err != nil || !won {
			tx.AfterCommit(func() { k.Drop(c.Tenant) })
			return err
		}
		if _, err := insert(ctx, tx, next, alg, Next); err != nil {
			return err
		}
		audit.Write(tx, event("key.create", current.kid, alg))
		return k.changed(tx)
	})
}

// Rotate makes the next key of an algorithm current, the current one retired, and
// a new next one. It returns the id of the key that signs from now on. A tenant
// without keys for alg gets its first ones.
func (k *Keys) Rotate(ctx context.Context, c caller.Caller, alg jose.Algorithm) (string, error) {
	if _, err := k.Signer(ctx, c, alg, jose.TypeJWT); err != nil {
		return "", err
	}
	fresh, err := k.generate(c.Tenant, alg)
	if err != nil {
		return "", err
	}
	return db.Write(ctx, k.db, c, func(tx *db.Tx) (string, error) {
		kid, err := rotate(ctx, tx, alg, fresh)
		if err != nil {
			return "", err
		}
		audit.Write(tx, event("key.rotate", kid, alg))
		return kid, k.changed(tx)
	})
}

// RotateDue rotates every current key that is older than RotateEvery and deletes
// those retired for longer than KeepRetired.
func (k *Keys) RotateDue(ctx context.Context, c caller.Caller) error {
	rows, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]row, error) { return list(ctx, tx) })
	if err != nil {
		return err
	}
	now := k.clock.Now()
	var errs []error
	for _, r := range rows {
		switch {
		case r.status == Current && now.Sub(r.activatedAt) >= RotateEvery:
			_, err := k.Rotate(ctx, c, r.alg)
			errs = append(errs, err)
		case r.status == Retired && now.Sub(r.retiredAt) >= KeepRetired:
			errs = append(errs, k.db.Update(ctx, c, func(tx *db.Tx) error {
				tx.Later(`DELETE FROM signing_keys WHERE tenant_id = $1 AND kid = $2 AND status = 'retired'`, r.kid)
				audit.Write(tx, event("key.delete", r.kid, r.alg))
				return k.changed(tx)
			}))
		}
	}
	return errors.Join(errs...)
}

func (k *Keys) changed(tx *db.Tx) error {
	k.touch(tx)
	tenant := tx.Tenant()
	tx.AfterCommit(func() { k.Drop(tenant) })
	return nil
}

func event(action, kid string, alg jose.Algorithm) audit.Event {
	return audit.Event{Action: action, Target: audit.Target{Kind: "signing_key", ID: kid, Name: string(alg)}}
}
