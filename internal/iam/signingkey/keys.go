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
	rotateEvery    = 90 * 24 * time.Hour // the age at which housekeeping rotates the current key
	publishRetired = 7 * 24 * time.Hour  // longer than the lifetime of any token that we sign
	keepRetired    = 90 * 24 * time.Hour // an expired ID token may still be a hint (RP-Initiated Logout §2)
)

// status is what a key is used for.
type status string

// The statuses, in the order in which a key has them.
const (
	statusNext    status = "next"
	statusCurrent status = "current"
	statusRetired status = "retired"
)

// sealer encrypts private keys at rest; kit/secret's key ring implements it.
type sealer interface {
	Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error)
	Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error)
}

const purpose = "signing-key"

// Keys signs and verifies with the keys of all tenants. It is safe for concurrent use.
type Keys struct {
	db    *db.DB
	seal  sealer
	clock clock.Clock
	touch func(*db.Tx)                  // tells the other replicas that the tenant's keys changed
	cache *cache.Cache[struct{}, *ring] // one ring a tenant
}

// maxRings is how many tenants' keys a replica keeps ready.
const maxRings = 10_000

// New returns the keys of all tenants. It calls touch in every transaction that changes a tenant's
// keys.
func New(d *db.DB, seal sealer, c clock.Clock, touch func(*db.Tx)) *Keys {
	return &Keys{
		db: d, seal: seal, clock: c, touch: touch, cache: cache.New[struct{}](cache.Options[*ring]{Max: maxRings}),
	}
}

// Drop forgets the copies of a tenant's keys, or for the zero id those of all tenants.
func (k *Keys) Drop(tenant id.ID) {
	k.cache.Drop(tenant)
}

// Check fails if the tenant's keys cannot be unsealed. It creates none.
func (k *Keys) Check(ctx context.Context, c caller.Caller) error {
	_, err := k.ring(ctx, c)
	return err
}

// ring has the keys of one tenant, ready for use. It is immutable.
type ring struct {
	signers map[signerKey]*jose.Signer
	verify  jose.Set // all keys
	jwks    []byte   // the published keys, as JSON
}

type signerKey struct {
	alg jose.Algorithm
	typ string
}

var types = []string{jose.TypeAccessToken, jose.TypeLogout, jose.TypeJWT}

// Signer returns the signer of the caller's tenant for an algorithm and a token type. The tenant's
// first call for an algorithm creates its keys. That takes microseconds, and for RS256 about 200
// ms.
func (k *Keys) Signer(ctx context.Context, c caller.Caller, alg jose.Algorithm, typ string) (*jose.Signer, error) {
	for range 2 {
		r, err := k.ring(ctx, c)
		if err != nil {
			return nil, err
		}
		if s, ok := r.signers[signerKey{alg, typ}]; ok {
			return s, nil
		}
		if err := k.create(ctx, c, alg); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("signingkey: no signer for %s and %q", alg, typ)
}

// Verify checks that the caller's tenant signed a token, and returns its payload; see jose.Verify.
// It does not check expiry.
func (k *Keys) Verify(ctx context.Context, c caller.Caller, token string, types []string) ([]byte, error) {
	r, err := k.ring(ctx, c)
	if err != nil {
		return nil, err
	}
	return jose.Verify(token, types, r.verify.Find)
}

// JWKS returns the tenant's published key set as JSON. It creates the default keys of a tenant that
// has none.
func (k *Keys) JWKS(ctx context.Context, c caller.Caller) ([]byte, error) {
	if _, err := k.Signer(ctx, c, jose.ES256, jose.TypeJWT); err != nil {
		return nil, err
	}
	r, err := k.ring(ctx, c)
	if err != nil {
		return nil, err
	}
	return r.jwks, nil
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
			return nil, fmt.Errorf(
				"signingkey: %s cannot be unsealed; is the key that sealed it still on the ring? %w", row.kid, err)
		}
		key, err := jose.ParsePrivateKey(row.alg, der)
		if err != nil {
			return nil, err
		}
		r.verify = append(r.verify, key.Public())
		if row.status != statusRetired || now.Sub(row.retiredAt) < publishRetired {
			published = append(published, key.Public())
		}
		if row.status != statusCurrent {
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

// sealed is a new key whose private half is sealed.
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

// create stores the first current and next key of an algorithm. Of two calls at once, one wins, and
// the keys of the other are discarded.
func (k *Keys) create(ctx context.Context, c caller.Caller, alg jose.Algorithm) error {
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
		won, err := insert(ctx, tx, current, alg, statusCurrent)
		if err != nil || !won {
			tx.AfterCommit(func() { k.Drop(c.Tenant) })
			return err
		}
		if _, err := insert(ctx, tx, next, alg, statusNext); err != nil {
			return err
		}
		audit.Write(tx, event("key.create", current.kid, alg))
		return k.changed(tx)
	})
}

// Rotate retires the current key of an algorithm, promotes the next one, and creates a new next
// one. It returns the id of the key that signs from now on. A tenant without keys for alg gets its
// first ones.
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

// RotateDue rotates every current key that is older than 90 days, and deletes the keys that were
// retired more than 90 days ago.
func (k *Keys) RotateDue(ctx context.Context, c caller.Caller) error {
	rows, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]row, error) { return list(ctx, tx) })
	if err != nil {
		return err
	}
	now := k.clock.Now()
	var errs []error
	for _, r := range rows {
		switch {
		case r.status == statusCurrent && now.Sub(r.activatedAt) >= rotateEvery:
			_, err := k.Rotate(ctx, c, r.alg)
			errs = append(errs, err)
		case r.status == statusRetired && now.Sub(r.retiredAt) >= keepRetired:
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
