package grant_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// The bit of an opaque token that says whether it has a grant is a hint: the earlier release set
// any. So each token is as good as its row, its application and its grant, whatever its bit says.
func TestAnOpaqueTokenIsAsGoodAsItsRowWhateverItsBitSays(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for _, hasGrant := range []bool{false, true} {
			for bit := range byte(2) {
				var g grant.Grant
				if hasGrant {
					g, _ = w.grant(false)
				}
				text, hash := secret.TokenFrom(secret.AccessToken, w.c.Tenant, [32]byte{0: byte(g.ID[15]), 31: bit})
				w.update(func(ctx context.Context, tx *db.Tx) error {
					_, err := tx.Exec(ctx, `INSERT INTO access_tokens (tenant_id, token_hash, id, application_id, grant_id,
						scopes, audience, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, 'a', $6, $7, $8)`,
						hash, id.New(), w.app, g.ID, issuer, tx.Now(), tx.Now().Add(time.Minute))
					return err
				})
				name := fmt.Sprintf("grant %v, bit %d", hasGrant, bit)
				if !w.good(text.Reveal()) {
					t.Errorf("%s: not good", name)
				}
				if t, err := w.verifier.Verify(context.Background(), w.c, text.Reveal()); err != nil ||
					t.Grant != g.ID || t.User != g.User || t.Application != w.app {
					w.t.Errorf("%s: %+v, %v", name, t, err)
				}
				w.update(func(ctx context.Context, tx *db.Tx) error {
					if hasGrant {
						return grant.Revoke(ctx, tx, g.ID, "test")
					}
					return grant.RevokeToken(ctx, tx, w.ring, text.Reveal(), w.app)
				})
				if w.good(text.Reveal()) {
					t.Errorf("%s: good after its revocation", name)
				}
			}
		}
	})
}

// The bit lets an application's own token be read without grants and users.
func TestAnOpaqueTokenSaysWhetherItHasAGrant(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		g, _ := w.grant(false)
		for range 4 {
			for own, of := range map[bool]grant.Grant{false: g, true: {}} {
				parsed, err := secret.ParseToken(w.opaque(of).Reveal())
				if err != nil || (parsed.Bits()[31]&1 == 1) != own {
					t.Errorf("own %v: bits %x, %v", own, parsed.Bits(), err)
				}
			}
		}
	})
}
