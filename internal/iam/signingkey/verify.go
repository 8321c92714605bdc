package signingkey

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// lateSigning is how long after its retirement a key may still sign. Another replica may use its
// copy for a few seconds, and clocks differ.
const lateSigning = time.Minute

// Verify checks that the caller's tenant may have signed a token, and returns its payload; see
// jose.Verify. It does not check expiry. It refuses tokens that no replica issues: those that live
// longer than application.MaxTokenLifetime, and those that a retired key signed after its
// retirement. So a retired key verifies nothing from MaxTokenLifetime after its retirement on, once
// the caller has checked the expiry.
func (k *Keys) Verify(ctx context.Context, c caller.Caller, token string, types []string) ([]byte, error) {
	r, err := k.ring(ctx, c)
	if err != nil {
		return nil, err
	}
	var retiredAt time.Time // of the key of the token; zero if it is not retired
	payload, err := jose.Verify(token, types, func(kid string) []jose.PublicKey {
		keys := r.verify.Find(kid)
		if len(keys) > 0 {
			retiredAt = r.retired[keys[0].ID]
		}
		return keys
	})
	if err != nil {
		return nil, err
	}
	var claims jose.Claims
	if err := jose.ReadClaims(payload, &claims); err != nil {
		return nil, fmt.Errorf("%w: %w", jose.ErrToken, err)
	}
	issued := claims.IssuedAt.Time()
	switch {
	case claims.Expiry.Time().Sub(issued) > application.MaxTokenLifetime:
		return nil, fmt.Errorf("%w: it lives longer than any token that we issue", jose.ErrToken)
	case !retiredAt.IsZero() && issued.After(retiredAt.Add(lateSigning)):
		return nil, fmt.Errorf("%w: its key was retired before it was issued", jose.ErrToken)
	}
	return payload, nil
}

// VerifyHint checks that the caller's tenant once signed an ID token, and returns its payload. It
// accepts every key that the tenant still has, however long ago it was retired: a hint names a user
// and is not a credential (RP-Initiated Logout §2).
func (k *Keys) VerifyHint(ctx context.Context, c caller.Caller, token string) ([]byte, error) {
	r, err := k.ring(ctx, c)
	if err != nil {
		return nil, err
	}
	return jose.Verify(token, []string{jose.TypeJWT}, r.verify.Find)
}
