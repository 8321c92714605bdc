package grant

import (
	"context"
	"crypto/sha256"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// knownSize is how many JWTs a replica remembers: some 20 MB.
const knownSize = 20_000

// Known is a Verifier that remembers the JWTs it found good, by their SHA-256 and until they
// expire, for callers that show the same one thousands of times: a signature costs some 60 µs
// to verify, a look at what is remembered less than one.
//
// What is remembered of a token with a grant is what its signature says. Whether the grant,
// its user and session still count is asked of the database every time, as Verifier does. A
// machine application's own token has no grant. What can end it (its tenant, its application,
// its revocation) touches the tenant, and with that everything remembered of the tenant is
// dropped: at once on the replica that did it, within a second on the others.
//
// It is safe for concurrent use. Give Drop to tenant.Directory.Watch.
type Known struct {
	*Verifier
	clock clock.Clock
	jwts  *cache.Cache[[sha256.Size]byte, *claimed]
}

// NewKnown returns a Known over v.
func NewKnown(v *Verifier, c clock.Clock) *Known {
	k := &Known{Verifier: v, clock: c, jwts: cache.New[[sha256.Size]byte](cache.Options[*claimed]{Max: knownSize})}
	v.DB.Watch(k.Drop)
	return k
}

// Drop forgets a tenant's tokens; those of all tenants for the zero id.
func (k *Known) Drop(tenant id.ID) { k.jwts.Drop(tenant) }

// Verify is Verifier.Verify. Values in the Token are shared: do not change them.
func (k *Known) Verify(ctx context.Context, c caller.Caller, issuer, bearer string) (Token, error) {
	if _, err := secret.ParseToken(bearer); err == nil {
		return k.Verifier.Verify(ctx, c, issuer, bearer)
	}
	var room [2 << 10]byte // a usual token is not copied on the heap
	digest := sha256.Sum256(append(room[:0], bearer...))
	cl, err := k.jwts.Get(ctx, c.Tenant, digest, func(ctx context.Context) (*claimed, error) {
		cl, err := k.claims(ctx, c, bearer)
		if err == nil && cl.grant.IsZero() {
			err = k.DB.View(ctx, c, func(tx *db.Tx) error { return cl.stands(ctx, tx) })
		}
		return cl, err
	})
	switch {
	case err != nil:
		return Token{}, err
	case cl.issuer != issuer || !cl.registered.Current(k.clock.Now()):
		return Token{}, ErrToken
	case cl.grant.IsZero():
		return cl.Token, nil
	}
	own := *cl // what the database adds is this answer's
	err = k.DB.View(ctx, c, func(tx *db.Tx) error { return own.stands(ctx, tx) })
	return own.Token, err
}
