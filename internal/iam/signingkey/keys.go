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
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// How long keys live.
const (
	rotateEvery    = 90 * 24 * time.Hour // the age at which housekeeping rotates the current key
	publishRetired = 7 * 24 * time.Hour  // longer than the lifetime of any token that we sign
	keepRetired    = 90 * 24 * time.Hour // an expired ID token may still be a hint (RP-Initiated Logout §2)

	// PublishAhead is how long a key is published before it signs. It exceeds the time for which
	// clients and proxies keep a key set, and for which a replica trusts its copies.
	PublishAhead = 10 * time.Minute
)

// maxKeys is how many keys of one algorithm a tenant has at most. Rotating more often than that in
// keepRetired is refused.
const maxKeys = 24

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
	make  Source
	touch func(*db.Tx)                  // tells the other replicas that the tenant's keys changed
	cache *cache.Cache[struct{}, *ring] // one ring a tenant
}

// Source returns a new private key; jose.Generate is one, and jose.Pool.Get a faster one.
type Source func(alg jose.Algorithm) (*jose.PrivateKey, error)

// maxRings is how many tenants' keys a replica keeps ready.
const maxRings = 10_000

// New returns the keys of all tenants. It calls touch in every transaction that changes a tenant's
// keys.
func New(d *db.DB, seal sealer, c clock.Clock, source Source, touch func(*db.Tx)) *Keys {
	return &Keys{
		db: d, seal: seal, clock: c, make: source, touch: touch,
		cache: cache.New[struct{}](cache.Options[*ring]{Max: maxRings}),
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
	from    map[jose.Algorithm]time.Time // when the current key may sign
	missing []jose.Algorithm             // those without a current or a next key
	verify  jose.Set                     // all keys
	jwks    []byte                       // the published keys, as JSON
}

type signerKey struct {
	alg jose.Algorithm
	typ string
}

var types = []string{jose.TypeAccessToken, jose.TypeLogout, jose.TypeJWT}

// errNotPublished is the fault for a key that clients may not know yet.
var errNotPublished = fault.New(fault.Unavailable, "signing_key.not_published",
	"The key for this signature was published a moment ago, and clients may not know it yet. Try again in ten minutes.")

// Signer returns the signer of the caller's tenant for an algorithm and a token type. It creates
// the keys of a tenant that has none. It fails with errNotPublished if clients may have a key set
// without the key. That happens only to a tenant of an earlier release, which created the keys of
// each algorithm apart.
func (k *Keys) Signer(ctx context.Context, c caller.Caller, alg jose.Algorithm, typ string) (*jose.Signer, error) {
	r, err := k.whole(ctx, c)
	if err != nil {
		return nil, err
	}
	s, ok := r.signers[signerKey{alg, typ}]
	switch {
	case !ok:
		return nil, fmt.Errorf("signingkey: no signer for %s and %q", alg, typ)
	case k.clock.Now().Before(r.from[alg]):
		return nil, errNotPublished
	}
	return s, nil
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

// JWKS returns the tenant's published key set as JSON. It creates the keys of a tenant that has
// none.
func (k *Keys) JWKS(ctx context.Context, c caller.Caller) ([]byte, error) {
	r, err := k.whole(ctx, c)
	if err != nil {
		return nil, err
	}
	return r.jwks, nil
}

// whole returns the tenant's ring with keys of every algorithm. It creates missing ones. A tenant
// gets all of them at once, before its first key set is published. So no client ever has a key set
// without the key that signs, whatever algorithm an application chooses later.
func (k *Keys) whole(ctx context.Context, c caller.Caller) (*ring, error) {
	for range 2 {
		r, err := k.ring(ctx, c)
		if err != nil || len(r.missing) == 0 {
			return r, err
		}
		if err := k.create(ctx, c, r.missing); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("signingkey: keys are still missing after they were created")
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
	r := &ring{signers: map[signerKey]*jose.Signer{}, from: map[jose.Algorithm]time.Time{}}
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
		r.from[row.alg] = signsFrom(rows, row)
		for _, typ := range types {
			s, err := jose.NewSigner(key, typ)
			if err != nil {
				return nil, err
			}
			r.signers[signerKey{row.alg, typ}] = s
		}
	}
	for _, alg := range jose.Signing {
		if !has(rows, alg, statusCurrent) || !has(rows, alg, statusNext) {
			r.missing = append(r.missing, alg)
		}
	}
	var err error
	r.jwks, err = published.Marshal()
	return r, err
}

// has reports whether there is a key of this algorithm and status.
func has(rows []row, alg jose.Algorithm, s status) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.alg == alg && r.status == s })
}

// signsFrom returns when a key may sign: PublishAhead after its creation, or at once if the tenant
// had no key set before it. rows are the tenant's keys.
func signsFrom(rows []row, key row) time.Time {
	for _, r := range rows {
		if r.createdAt.Before(key.createdAt) {
			return key.createdAt.Add(PublishAhead)
		}
	}
	return key.createdAt
}

// sealed is a new key whose private half is sealed.
type sealed struct {
	kid string
	der []byte
}

func (k *Keys) generate(tenant id.ID, alg jose.Algorithm) (sealed, error) {
	key, err := k.make(alg)
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

// create stores the missing current and next keys of algorithms. Of two calls at once, one wins,
// and the keys of the other are discarded.
func (k *Keys) create(ctx context.Context, c caller.Caller, algs []jose.Algorithm) error {
	type pair struct{ current, next sealed }
	made := make([]pair, len(algs))
	for i, alg := range algs {
		var err error
		if made[i].current, err = k.generate(c.Tenant, alg); err != nil {
			return err
		}
		if made[i].next, err = k.generate(c.Tenant, alg); err != nil {
			return err
		}
	}
	return k.db.Update(ctx, c, func(tx *db.Tx) error {
		tx.AfterCommit(func() { k.Drop(c.Tenant) })
		created := false
		for i, alg := range algs {
			won, err := insert(ctx, tx, made[i].current, alg, statusCurrent)
			if err != nil {
				return err
			}
			if won {
				audit.Write(tx, event("key.create", made[i].current.kid, alg, "", made[i].current.kid))
			}
			too, err := insert(ctx, tx, made[i].next, alg, statusNext)
			if err != nil {
				return err
			}
			created = created || won || too
		}
		if created {
			k.touch(tx)
		}
		return nil
	})
}

// Rotate retires the current key of an algorithm, promotes the next one, and creates a new next
// one. It returns the key that signs from now on. It creates the keys of a tenant that has none.
// It fails with a Conflict fault if clients may not know the next key yet, or if the tenant has too
// many keys.
func (k *Keys) Rotate(ctx context.Context, c caller.Caller, alg jose.Algorithm) (Key, error) {
	if !slices.Contains(jose.Signing, alg) {
		return Key{}, fault.InvalidField("signing_key.algorithm", "algorithm",
			"Tokens are signed with ES256, RS256 or EdDSA.")
	}
	if _, err := k.whole(ctx, c); err != nil {
		return Key{}, err
	}
	fresh, err := k.generate(c.Tenant, alg)
	if err != nil {
		return Key{}, err
	}
	return db.Write(ctx, k.db, c, func(tx *db.Tx) (Key, error) {
		before, kid, err := rotate(ctx, tx, alg, fresh)
		if err != nil {
			return Key{}, err
		}
		audit.Write(tx, event("key.rotate", kid, alg, before, kid))
		k.changed(tx)
		return find(ctx, tx, kid)
	})
}

// RotateDue rotates every current key that is older than 90 days, and deletes the keys that were
// retired more than 90 days ago. It creates the keys that a tenant of an earlier release lacks, so
// that they are published long before an application asks for them.
func (k *Keys) RotateDue(ctx context.Context, c caller.Caller) error {
	rows, err := db.Read(ctx, k.db, c, func(tx *db.Tx) ([]row, error) { return list(ctx, tx) })
	if err != nil {
		return err
	}
	if len(rows) == 0 { // no request has needed this tenant's keys yet
		return nil
	}
	now := k.clock.Now()
	_, err = k.whole(ctx, c)
	errs := []error{err}
	for _, r := range rows {
		switch {
		case r.status == statusCurrent && now.Sub(r.activatedAt) >= rotateEvery:
			_, err := k.Rotate(ctx, c, r.alg)
			errs = append(errs, err)
		case r.status == statusRetired && now.Sub(r.retiredAt) >= keepRetired:
			errs = append(errs, k.db.Update(ctx, c, func(tx *db.Tx) error {
				tx.Later(`DELETE FROM signing_keys WHERE tenant_id = $1 AND kid = $2 AND status = 'retired'`, r.kid)
				audit.Write(tx, event("key.delete", r.kid, r.alg, r.kid, ""))
				k.changed(tx)
				return nil
			}))
		}
	}
	return errors.Join(errs...)
}

func (k *Keys) changed(tx *db.Tx) {
	k.touch(tx)
	tenant := tx.Tenant()
	tx.AfterCommit(func() { k.Drop(tenant) })
}

// event says which key was there before and which is there now, "" for none.
func event(action, kid string, alg jose.Algorithm, before, after string) audit.Event {
	return audit.Event{
		Action: action, Target: audit.Target{Kind: "signing_key", ID: kid, Name: string(alg)},
		Changed: audit.Changes{}.With("kid", before, after),
	}
}
