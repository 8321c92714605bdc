package signingkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
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
	rotateEvery    = 90 * 24 * time.Hour                      // the age at which housekeeping rotates the current key
	publishRetired = application.MaxTokenLifetime + time.Hour // longer than its tokens live

	// keepRetired is how long an ID token is good as a hint (RP-Initiated Logout §2).
	keepRetired = 90 * 24 * time.Hour

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

// onDemand is the algorithm whose keys a tenant has only while an application or an API names it.
// Some clients reject a key set with a type of key that they do not know (kty OKP, RFC 8037).
const onDemand = jose.EdDSA

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
		cache: cache.New[struct{}](cache.Options[*ring]{Max: maxRings, Valid: func(r *ring) bool {
			return r.until.IsZero() || c.Now().Before(r.until)
		}}),
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
	missing []jose.Algorithm             // those that need a current or a next key
	named   bool                         // an application or an API names the algorithm onDemand
	verify  jose.Set                     // all keys
	retired map[string]time.Time         // when the retired ones were retired, by kid
	jwks    []byte                       // the published keys, as JSON
	until   time.Time                    // when jwks loses a retired key; zero: never
}

type signerKey struct {
	alg jose.Algorithm
	typ string
}

var types = []string{jose.TypeAccessToken, jose.TypeLogout, jose.TypeJWT}

// ErrNotPublished is the fault for a key that clients may not know yet.
var ErrNotPublished = fault.New(fault.Unavailable, "signing_key.not_published",
	"The key for this signature was published a moment ago, and clients may not know it yet. Try again in ten minutes.")

// Signer returns the signer of the caller's tenant for an algorithm and a token type. It creates
// the keys of a tenant that has none. It fails with ErrNotPublished if clients may have a key set
// without the key. That happens after the first application named EdDSA, and to a tenant of an
// earlier release, which created the keys of each algorithm apart.
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
		return nil, ErrNotPublished
	}
	return s, nil
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

// IDSigner returns the signer of an application's ID tokens, or of its logout tokens. If clients
// may not have the key of its algorithm yet, the application goes on with the one before.
func (k *Keys) IDSigner(
	ctx context.Context, c caller.Caller, app *application.Application, typ string,
) (*jose.Signer, error) {
	s, err := k.Signer(ctx, c, jose.Algorithm(app.IDTokenAlg), typ)
	if errors.Is(err, ErrNotPublished) && app.EarlierIDTokenAlg != "" {
		if earlier, e := k.Signer(ctx, c, jose.Algorithm(app.EarlierIDTokenAlg), typ); e == nil {
			return earlier, nil
		}
	}
	return s, err
}

// whole returns the tenant's ring with keys of ES256, of RS256, and of EdDSA if an application
// names it. It creates missing ones. A tenant gets all of them at once, before its first key set is
// published. Keys that are created later sign after PublishAhead.
func (k *Keys) whole(ctx context.Context, c caller.Caller) (*ring, error) {
	for range len(jose.Signing) + 1 { // while keys are created, an application may name another algorithm
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
		var rows []row
		var named bool
		err := k.db.View(ctx, c, func(tx *db.Tx) error {
			var err error
			// Names first: the change that names the algorithm also stores its keys.
			if named, err = isNamed(ctx, tx); err != nil {
				return err
			}
			rows, err = list(ctx, tx)
			return err
		})
		if err != nil {
			return nil, err
		}
		return k.open(c.Tenant, rows, named)
	})
}

// isNamed reports whether an application or an API of the tenant names the algorithm onDemand.
func isNamed(ctx context.Context, tx *db.Tx) (bool, error) {
	named, err := application.Names(ctx, tx, string(onDemand))
	if err != nil || named {
		return named, err
	}
	return resourceserver.Names(ctx, tx, string(onDemand))
}

func (k *Keys) open(tenant id.ID, rows []row, named bool) (*ring, error) {
	r := &ring{signers: map[signerKey]*jose.Signer{}, from: map[jose.Algorithm]time.Time{},
		retired: map[string]time.Time{}, named: named}
	var published jose.Set
	now := k.clock.Now()
	for _, row := range slices.SortedFunc(slices.Values(rows), inOrder) {
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
		switch row.status {
		case statusNext:
			published = append(published, key.Public())
		case statusRetired:
			r.retired[row.kid] = row.retiredAt
			end := row.retiredAt.Add(publishRetired)
			if !now.Before(end) {
				continue
			}
			published = append(published, key.Public())
			if r.until.IsZero() || end.Before(r.until) {
				r.until = end
			}
		case statusCurrent:
			published = append(published, key.Public())
			r.from[row.alg] = signsFrom(rows, row)
			for _, typ := range types {
				s, err := jose.NewSigner(key, typ)
				if err != nil {
					return nil, err
				}
				r.signers[signerKey{row.alg, typ}] = s
			}
		}
	}
	for _, alg := range jose.Signing {
		if alg == onDemand && !named {
			continue
		}
		if !has(rows, alg, statusCurrent) || !has(rows, alg, statusNext) {
			r.missing = append(r.missing, alg)
		}
	}
	var err error
	r.jwks, err = published.Marshal()
	return r, err
}

// inOrder compares keys by their place in the key set. Clients that use the first key that fits
// find the default algorithm first, and of each algorithm the key that signs.
func inOrder(a, b row) int {
	order := []status{statusCurrent, statusNext, statusRetired}
	return cmp.Or(
		cmp.Compare(slices.Index(jose.Signing, a.alg), slices.Index(jose.Signing, b.alg)),
		cmp.Compare(slices.Index(order, a.status), slices.Index(order, b.status)),
		b.retiredAt.Compare(a.retiredAt),
		cmp.Compare(a.kid, b.kid))
}

// has reports whether there is a key of this algorithm and status.
func has(rows []row, alg jose.Algorithm, s status) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.alg == alg && r.status == s })
}

// signsFrom returns when a key may sign: PublishAhead after its creation, or at once if the tenant
// had no key set before it. A key that was promoted signs in any case: Rotate waited, and Withdraw
// must not. rows are the tenant's keys.
func signsFrom(rows []row, key row) time.Time {
	if key.activatedAt.After(key.createdAt) {
		return key.createdAt
	}
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

// pair is the first current and next key of an algorithm.
type pair struct{ current, next sealed }

func (k *Keys) generatePair(tenant id.ID, alg jose.Algorithm) (pair, error) {
	current, err := k.generate(tenant, alg)
	if err != nil {
		return pair{}, err
	}
	next, err := k.generate(tenant, alg)
	return pair{current, next}, err
}

// store stores what the tenant lacks of a pair. It reports whether that was anything.
func store(ctx context.Context, tx *db.Tx, alg jose.Algorithm, made pair) (bool, error) {
	won, err := insert(ctx, tx, made.current, alg, statusCurrent)
	if err != nil {
		return false, err
	}
	if won {
		audit.Write(tx, event("key.create", made.current.kid, alg, "", made.current.kid))
	}
	too, err := insert(ctx, tx, made.next, alg, statusNext)
	return won || too, err
}

// Publish creates the keys of an algorithm that an application or an API names from now on, in the
// transaction of its change. So the ten minutes until they sign begin at once. A tenant without any
// keys gets them all with the first token or key set.
func (k *Keys) Publish(ctx context.Context, tx *db.Tx, alg string) error {
	if alg != string(onDemand) {
		return nil
	}
	rows, err := list(ctx, tx)
	if err != nil || len(rows) == 0 || has(rows, onDemand, statusCurrent) && has(rows, onDemand, statusNext) {
		return err
	}
	made, err := k.generatePair(tx.Tenant(), onDemand)
	if err != nil {
		return err
	}
	created, err := store(ctx, tx, onDemand, made)
	if created {
		k.changed(tx)
	}
	return err
}

// create stores the missing current and next keys of algorithms. Of two calls at once, one wins,
// and the keys of the other are discarded.
func (k *Keys) create(ctx context.Context, c caller.Caller, algs []jose.Algorithm) error {
	made := make([]pair, len(algs))
	for i, alg := range algs {
		var err error
		if made[i], err = k.generatePair(c.Tenant, alg); err != nil {
			return err
		}
	}
	return k.db.Update(ctx, c, func(tx *db.Tx) error {
		tx.AfterCommit(func() { k.Drop(c.Tenant) })
		created := false
		for i, alg := range algs {
			won, err := store(ctx, tx, alg, made[i])
			if err != nil {
				return err
			}
			created = created || won
		}
		if created {
			k.touch(tx)
		}
		return nil
	})
}
