package grant_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// familyRows counts the rows of a grant's refresh tokens.
func (w *world) familyRows(g id.ID) int64 {
	w.t.Helper()
	n, err := db.Read(context.Background(), w.DB, w.c, func(tx *db.Tx) (int64, error) {
		return db.One(context.Background(), tx, db.Column[int64],
			`SELECT count(*) FROM refresh_tokens WHERE tenant_id = $1 AND grant_id = $2`, g)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// rotated rotates a family n times and returns all of its tokens.
func (w *world) rotated(first secret.String, n int) []secret.String {
	w.t.Helper()
	all := []secret.String{first}
	for range n {
		next, o := w.refresh(all[len(all)-1], w.app, rotate)
		if o != grant.Accepted {
			w.t.Fatalf("rotation %d: %s", len(all), o)
		}
		all = append(all, next)
	}
	return all
}

func TestAFamilyIsOneRowAndKnowsAllItsTokens(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for _, back := range []int{2, 3, 20, 40} {
			g, first := w.family(true)
			all := w.rotated(first, 40)
			if n := w.familyRows(g.ID); n != 1 {
				t.Errorf("%d rows after 40 rotations, want 1", n)
			}
			before := w.events("token.replay")
			if _, o := w.refresh(all[40-back], w.app, rotate); o != grant.Replayed {
				t.Errorf("the token of %d rotations before: %s", back, o)
			}
			if _, o := w.refresh(all[40], w.app, rotate); o != grant.Unknown {
				t.Errorf("after a replay of %d rotations before the family goes on: %s", back, o)
			}
			w.refresh(all[40-back], w.app, rotate)
			if n := w.events("token.replay") - before; n != 1 {
				t.Errorf("%d audit events of two replays, want 1", n)
			}
		}
	})
}

// A token that the key ring did not make ends nothing, whatever family and place it names.
func TestAForgedRefreshTokenEndsNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		_, first := w.family(true)
		all := w.rotated(first, 5)
		current := all[5]
		bits := bitsOf(t, current)
		for name, change := range map[string]func(b *[32]byte){
			"an earlier place":       func(b *[32]byte) { binary.BigEndian.PutUint32(b[8:], 1) },
			"a later place":          func(b *[32]byte) { binary.BigEndian.PutUint32(b[8:], 6) },
			"another MAC":            func(b *[32]byte) { b[31] ^= 1 },
			"the MAC of another one": func(b *[32]byte) { older := bitsOf(t, all[1]); copy(b[12:], older[12:]) },
		} {
			forged := bits
			change(&forged)
			token, _ := secret.TokenFrom(secret.RefreshToken, w.c.Tenant, forged)
			if _, o := w.refresh(token, w.app, rotate); o != grant.Unknown {
				t.Errorf("%s: %s", name, o)
			}
			w.update(func(ctx context.Context, tx *db.Tx) error {
				return grant.RevokeToken(ctx, tx, w.ring, token.Reveal(), w.app)
			})
		}
		if _, o := w.refresh(current, w.app, rotate); o != grant.Accepted {
			t.Errorf("after the forgeries the family does not go on: %s", o)
		}
		_, first = w.family(true)
		all = w.rotated(first, 3)
		w.update(func(ctx context.Context, tx *db.Tx) error {
			return grant.RevokeToken(ctx, tx, w.ring, all[1].Reveal(), w.app)
		})
		if _, o := w.refresh(all[3], w.app, rotate); o != grant.Unknown {
			t.Errorf("revoking an earlier token of a family must end it: %s", o)
		}
	})
}

func bitsOf(t *testing.T, token secret.String) [32]byte {
	t.Helper()
	parsed, err := secret.ParseToken(token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Bits()
}

// Of 16 that show the token of now and the one before at once, one rotates. Each other gets a token
// that is the same for all who show the same one, or is refused.
func TestRedeemersAcrossPlaces(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for range 5 {
			g, first := w.family(true)
			all := w.rotated(first, 2)
			next, outcomes := make([]secret.String, 16), make([]grant.Outcome, 16)
			w.Race(t, len(next), func(i int) { next[i], outcomes[i] = w.refresh(all[1+i%2], w.app, rotate) })
			got := map[secret.String]bool{}
			for i, o := range outcomes {
				switch {
				case i%2 == 0 && o == grant.Accepted && next[i] != all[2]:
					t.Errorf("the token before has two successors")
				case i%2 == 1 && o == grant.Accepted:
					got[next[i]] = true
				case o != grant.Accepted && o != grant.Replayed && o != grant.Unknown:
					t.Errorf("redeemer %d: %s", i, o)
				}
			}
			if len(got) > 1 || w.familyRows(g.ID) != 1 {
				t.Errorf("%d successors, %d rows", len(got), w.familyRows(g.ID))
			}
		}
	})
}

// Replicas' clocks differ by seconds.
func TestReplicasWithDifferentClocks(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		if strings.HasSuffix(w.Config.DSN, ".db") {
			t.Skip("SQLite has one process")
		}
		ahead := *w
		ahead.Database = testkit.Open(t, w.Config.DSN)
		ahead.Clock.Advance(5 * time.Second)
		for _, order := range [][2]*world{{w, &ahead}, {&ahead, w}} {
			_, first := w.family(true)
			next := make([]secret.String, 16)
			w.Race(t, len(next), func(i int) {
				var o grant.Outcome
				if next[i], o = order[i%2].refresh(first, w.app, rotate); o != grant.Accepted {
					t.Errorf("within the grace: %s", o)
				}
			})
			for _, n := range next {
				if n != next[0] {
					t.Fatal("two replicas gave two successors")
				}
			}
			token := next[0]
			for i := range 6 {
				successor, o := order[i%2].refresh(token, w.app, rotate)
				again, o2 := order[1-i%2].refresh(token, w.app, rotate)
				if o != grant.Accepted || o2 != grant.Accepted || again != successor {
					t.Fatalf("rotation %d: %s, then %s by the other replica", i, o, o2)
				}
				token = successor
			}
			if _, o := order[1].refresh(first, w.app, rotate); o != grant.Replayed {
				t.Errorf("reuse: %s", o)
			}
		}
	})
}

// Families outlive the keys of the ring: a key that was replaced still tells their older tokens,
// and one that is gone ends none.
func TestFamiliesOutliveKeys(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		one, two := secret.NewKey("one"), secret.NewKey("two")
		ring := func(lines ...secret.String) {
			var text secret.String
			for _, l := range lines {
				text += l + "\n"
			}
			var err error
			if w.ring, err = secret.ParseKeyRing(text); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time the reuse comes after the new key
			ring(one)
			_, first := w.family(true)
			all := w.rotated(first, 2)
			ring(two, one)
			if again, o := w.refresh(all[1], w.app, rotate); o != grant.Accepted || again != all[2] {
				t.Errorf("the grace after a new key: %s", o)
			}
			all = append(all, w.rotated(all[2], 2)...)
			if _, o := w.refresh(all[1], w.app, rotate); o != grant.Replayed {
				t.Errorf("a token of the key before: %s", o)
			}
		}
		ring(one)
		g, first := w.family(true)
		all := w.rotated(first, 2)
		ring(two)
		if _, o := w.refresh(all[1], w.app, rotate); o != grant.Unknown {
			t.Errorf("a token of a key that is gone: %s", o)
		}
		all = w.rotated(all[2], 2) // the newest goes on, because its hash is stored
		if _, o := w.refresh(all[0], w.app, rotate); o != grant.Unknown || w.familyRows(g.ID) != 1 {
			t.Errorf("after the rotation its predecessor: %s, %d rows", o, w.familyRows(g.ID))
		}
	})
}

// earlier redeems a refresh token as the release before families does.
func (w *world) earlier(token secret.String) secret.String {
	w.t.Helper()
	var next secret.String
	w.update(func(ctx context.Context, tx *db.Tx) error {
		hash := secret.HashOf(token)
		n, err := tx.Exec(ctx, `UPDATE refresh_tokens SET rotated_at = $2
			WHERE tenant_id = $1 AND token_hash = $3 AND rotated_at IS NULL AND expires_at > $2`, tx.Now(), hash)
		if err != nil {
			return err
		}
		type row struct {
			grant id.ID
			keyID string
		}
		r, err := db.One(ctx, tx, func(r db.Row) (row, error) { var v row; return v, r.Scan(&v.grant, &v.keyID) },
			`SELECT grant_id, key_id FROM refresh_tokens WHERE tenant_id = $1 AND token_hash = $2`, hash)
		if err != nil {
			return err
		}
		bits, err := w.ring.MAC(r.keyID, tx.Tenant(), "refresh-successor", []byte(token.Reveal()))
		if err != nil {
			return err
		}
		successor, successorHash := secret.TokenFrom(secret.RefreshToken, tx.Tenant(), bits)
		next = successor
		if n == 0 {
			return nil
		}
		_, err = tx.Exec(ctx, `INSERT INTO refresh_tokens (tenant_id, token_hash, grant_id, parent, key_id, created_at,
			expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`, successorHash, r.grant, hash, r.keyID, tx.Now(),
			tx.Now().Add(time.Hour))
		return err
	})
	return next
}

// A token of the release before starts a family, and a replica of that release takes the newest
// token of a family.
func TestBesideTheReleaseBefore(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		_, family := w.family(true)
		old := w.earlier(family)
		if again, o := w.refresh(family, w.app, rotate); o != grant.Accepted || again != old {
			t.Fatalf("after a rotation by the release before: %s, the same successor: %t", o, again == old)
		}
		next := make([]secret.String, 16)
		w.Race(t, len(next), func(i int) {
			var o grant.Outcome
			if next[i], o = w.refresh(old, w.app, rotate); o != grant.Accepted {
				t.Errorf("a token of the release before: %s", o)
			}
		})
		for _, n := range next {
			if n != next[0] || n == old {
				t.Fatal("a token of the release before has more than one successor")
			}
		}
		all := w.rotated(next[0], 3)
		if back := w.rotated(w.earlier(all[3]), 2); len(back) != 3 {
			t.Error("the family does not go on")
		}
		for name, replayed := range map[string]func(all []secret.String, old secret.String) secret.String{
			"the token of the release before": func(_ []secret.String, old secret.String) secret.String { return old },
			"one that the release before rotated": func(all []secret.String, _ secret.String) secret.String {
				w.rotated(w.earlier(all[3]), 1)
				return all[3]
			},
			"one before that": func(all []secret.String, _ secret.String) secret.String {
				w.earlier(all[3])
				return all[2]
			},
		} {
			g, family := w.family(true)
			old := w.earlier(family)
			first, _ := w.refresh(old, w.app, rotate)
			all := w.rotated(first, 3)
			if _, o := w.refresh(replayed(all, old), w.app, rotate); o != grant.Replayed {
				t.Errorf("%s: %s", name, o)
			}
			if w.good(w.opaque(g).Reveal()) {
				t.Errorf("%s: the grant goes on", name)
			}
		}
		g, family := w.family(true)
		w.rotated(w.earlier(family), 3)
		w.Clock.Advance(2*time.Hour + 24*time.Hour)
		w.update(func(ctx context.Context, tx *db.Tx) error { _, err := grant.Purge(ctx, tx); return err })
		if n := w.familyRows(g.ID); n != 1 {
			t.Errorf("%d rows after the closed ones went, want 1", n)
		}
	})
}
