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

// knownSize is how many JWTs a replica remembers: about 20 MB.
const knownSize = 20_000

// Known is a Verifier that remembers the JWTs whose signature it verified, by their SHA-256 and
// until they expire. A caller may show the same token thousands of times. Verifying a signature
// takes about 60 µs, finding a remembered one less than 1 µs.
//
// It remembers what the signature proves. For a token with a grant it still asks the database every
// time whether the grant, its user and its session are valid. A machine application's own token has
// no grant. Whatever can end it (its tenant, its application, its revocation) touches the tenant. A
// touch drops everything remembered of the tenant: at once on the same replica, within a second on
// the others.
//
// It is safe for concurrent use. Pass Drop to tenant.Directory.Watch.
type Known struct {
	*Verifier
	clock clock.Clock
	jwts  *cache.Cache[[sha256.Size]byte, *signedToken]
}

// NewKnown returns a Verifier that remembers what v verified.
func NewKnown(v *Verifier, c clock.Clock) *Known {
	k := &Known{Verifier: v, clock: c, jwts: cache.New[[sha256.Size]byte](cache.Options[*signedToken]{Max: knownSize})}
	v.DB.Watch(k.Drop)
	return k
}

// Drop forgets the tokens of a tenant, or for the zero id those of all tenants.
func (k *Known) Drop(tenant id.ID) { k.jwts.Drop(tenant) }

// Verify is Verifier.Verify. The lists in the Token are shared: do not change them.
func (k *Known) Verify(ctx context.Context, c caller.Caller, bearer string) (Token, error) {
	if _, err := secret.ParseToken(bearer); err == nil {
		return k.Verifier.Verify(ctx, c, bearer)
	}
	var room [2 << 10]byte // a token of usual size stays on the stack
	digest := sha256.Sum256(append(room[:0], bearer...))
	t, err := k.jwts.Get(ctx, c.Tenant, digest, func(ctx context.Context) (*signedToken, error) {
		t, err := k.signed(ctx, c, bearer)
		if err == nil && t.grant.IsZero() {
			err = k.DB.View(ctx, c, func(tx *db.Tx) error { return t.confirm(ctx, tx) })
		}
		return t, err
	})
	if err == nil {
		err = k.CheckIssuer(ctx, c.Tenant, t.Issuer)
	}
	switch {
	case err != nil:
		return Token{}, err
	case !t.registered.Current(k.clock.Now()):
		return Token{}, ErrToken
	case t.grant.IsZero():
		return t.Token, nil
	}
	own := *t // confirm writes to it
	err = k.DB.View(ctx, c, func(tx *db.Tx) error { return own.confirm(ctx, tx) })
	return own.Token, err
}
