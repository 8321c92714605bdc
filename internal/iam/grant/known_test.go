package grant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// signed returns a JWT of the application, for a grant unless it is zero.
func (w *world) signed(g id.ID) string {
	w.t.Helper()
	s, err := w.verifier.Keys.Signer(w.t.Context(), w.c, jose.ES256, jose.TypeAccessToken)
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.Clock.Now()
	claims := grant.AccessClaims{Application: w.app.String(), Claims: jose.Claims{Issuer: issuer,
		ID: id.New().String(), IssuedAt: jose.At(now), Expiry: jose.At(now.Add(5 * time.Minute))}}
	if !g.IsZero() {
		claims.GrantID = g.String()
	}
	token, err := s.Sign(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// A replica that has not yet heard of a change trusts what it remembers of a machine's token. An
// exact one asks.
func TestExactAsksAboutAMachinesToken(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		token := w.signed(id.ID{})
		if !w.good(token) {
			t.Fatal("not good to begin with")
		}
		w.update(func(ctx context.Context, tx *db.Tx) error { // and touches nothing
			_, err := tx.Exec(ctx, `UPDATE applications SET status = 'disabled' WHERE tenant_id = $1 AND id = $2`,
				w.app)
			return err
		})
		if _, err := w.known.Exact().Verify(t.Context(), w.c, token, nil); !errors.Is(err, grant.ErrToken) {
			t.Errorf("exact: %v", err)
		}
		if _, err := w.known.Verify(t.Context(), w.c, token, nil); err != nil {
			t.Errorf("the copy was not used: %v", err)
		}
	})
}

// What travels with a verification is read with the token's user. The first use of a token has no
// user to read, and a token that has ended gives none.
func TestReadsTravelWithAVerification(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		g, _ := w.grant(true)
		token := w.signed(g.ID)
		verify := func() (int, []string, error) {
			var calls int
			var found []string
			_, err := w.known.Exact().Verify(t.Context(), w.c, token,
				func(_ context.Context, first grant.Token) func(*db.Tx) {
					calls++
					return func(tx *db.Tx) {
						db.LaterList(tx, db.Column[string], &found,
							`SELECT email FROM users WHERE tenant_id = $1 AND id = $2`, first.User)
					}
				})
			return calls, found, err
		}
		if calls, _, err := verify(); calls != 0 || err != nil {
			t.Errorf("the first time: %d calls, %v", calls, err)
		}
		if _, found, err := verify(); err != nil || len(found) != 1 || found[0] != "ada@example.com" {
			t.Errorf("the second time: %v, %v", found, err)
		}
		w.update(func(_ context.Context, tx *db.Tx) error {
			grant.RevokeOfUser(tx, w.user, "test")
			return nil
		})
		if _, _, err := verify(); !errors.Is(err, grant.ErrToken) {
			t.Errorf("revoked: %v", err)
		}
	})
}
