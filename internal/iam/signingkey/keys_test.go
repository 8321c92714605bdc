package signingkey_test

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ringKey = secret.NewKey("test")

// keys returns the keys of one replica. All have the same key ring.
func keys(t *testing.T, d *testkit.Database) *signingkey.Keys {
	t.Helper()
	ring, err := secret.ParseKeyRing(ringKey)
	if err != nil {
		t.Fatal(err)
	}
	return signingkey.New(d.DB, ring, d.Clock, testkit.Key, func(*db.Tx) {})
}

func TestKeysAreMadeLazilyOnceAndStayInTheirTenant(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		ring, _ := secret.ParseKeyRing(secret.NewKey("test"))
		var wg sync.WaitGroup
		tokens := make([]string, 16)
		for i := range tokens {
			wg.Go(func() { // 16 replicas that need the first key at once
				k := signingkey.New(d.DB, ring, d.Clock, testkit.Keys(), func(*db.Tx) {})
				s, err := k.Signer(ctx, acme, jose.ES256, jose.TypeJWT)
				if err != nil {
					t.Error(err)
					return
				}
				tokens[i], err = s.Sign(claims(d.Clock.Now()))
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		k := signingkey.New(d.DB, ring, d.Clock, testkit.Key, func(*db.Tx) {})
		for _, tok := range tokens {
			if tok == "" {
				continue
			}
			if header(t, tok) != header(t, tokens[0]) {
				t.Error("two replicas sign with different keys")
			}
			if _, err := k.Verify(ctx, acme, tok, []string{"JWT"}); err != nil {
				t.Error(err)
			}
			if _, err := k.Verify(ctx, globex, tok, []string{"JWT"}); err == nil {
				t.Error("another tenant's token was believed")
			}
		}
		body, err := k.JWKS(ctx, acme)
		if err != nil || strings.Count(string(body), `"kid"`) != 4 || strings.Contains(string(body), `"d"`) {
			t.Errorf("published: %s (%v), want the current and the next key of ES256 and RS256", body, err)
		}
	})
}

// claims are those of a token that is issued at a time and lives for ten minutes.
func claims(at time.Time) jose.Claims {
	return jose.Claims{Subject: "x", IssuedAt: jose.At(at), Expiry: jose.At(at.Add(10 * time.Minute))}
}

func header(t *testing.T, token string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRotation(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		k := keys(t, d)
		old := signed(t, d, k, acme, jose.ES256)
		before, _ := k.JWKS(ctx, acme)
		key, err := k.Rotate(ctx, acme, jose.ES256)
		if err != nil || key.State != "signing" || key.SigningSince == nil {
			t.Fatalf("%+v %v", key, err)
		}
		if !strings.Contains(string(before), key.ID) {
			t.Error("the new key was not published before it signs")
		}
		if tok := signed(t, d, k, acme, jose.ES256); !strings.Contains(header(t, tok), key.ID) {
			t.Errorf("signed by %s, want %s", header(t, tok), key.ID)
		}
		if _, err := k.Verify(ctx, acme, old, []string{"JWT"}); err != nil {
			t.Errorf("a token of the retired key: %v", err)
		}
		if body, _ := k.JWKS(ctx, acme); strings.Count(string(body), `"kid"`) != 5 {
			t.Errorf("published: %s, want next, current and retired", body)
		}
		d.Clock.Advance(signingkey.PublishRetired + time.Hour)
		if body, _ := k.JWKS(ctx, acme); strings.Count(string(body), `"kid"`) != 4 {
			t.Errorf("published after its tokens ended: %s", body)
		}
		d.Clock.Advance(signingkey.RotateEvery)
		if err := k.RotateDue(ctx, acme); err != nil {
			t.Fatal(err)
		}
		if tok := signed(t, d, k, acme, jose.ES256); strings.Contains(header(t, tok), key.ID) {
			t.Error("the key was not rotated at its age")
		}
		if _, err := k.VerifyHint(ctx, acme, old); err == nil {
			t.Error("a key retired for more than 90 days still verifies")
		}
	})
}

// signed returns a token that the tenant signs.
func signed(t *testing.T, d *testkit.Database, k *signingkey.Keys, c caller.Caller, alg jose.Algorithm) string {
	t.Helper()
	s, err := k.Signer(context.Background(), c, alg, jose.TypeJWT)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := s.Sign(claims(d.Clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// Whatever two replicas do, the key of a token is in each key set that a client may still keep. A
// client keeps a key set for five minutes, and a replica serves one that is a few seconds old.
func TestNoKeySignsBeforeClientsHaveIt(t *testing.T) {
	const kept, behind = 5 * time.Minute, 5 * time.Second
	type published struct {
		at   time.Time
		body string
	}
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		random := rand.New(rand.NewPCG(1, 2))
		for range 4 {
			tenant := d.Tenant(t, "t-"+id.New().String())
			name(t, d, tenant, jose.EdDSA)
			replicas := []*signingkey.Keys{keys(t, d), keys(t, d)}
			var sets []published
			rotations := 0
			for range 60 {
				k := replicas[random.IntN(2)]
				alg := jose.Signing[random.IntN(3)]
				switch random.IntN(4) {
				case 0:
					body, err := k.JWKS(ctx, tenant)
					if err != nil {
						t.Fatal(err)
					}
					sets = append(sets, published{d.Clock.Now(), string(body)})
				case 1:
					if alg == jose.RS256 { // testkit has only a few of these keys
						alg = jose.EdDSA
					}
					_, err := k.Rotate(ctx, tenant, alg)
					if err == nil {
						rotations++
					} else if fault.Of(err) != fault.Conflict {
						t.Fatal(err)
					}
				case 2:
					d.Clock.Advance(time.Duration(random.IntN(400)) * time.Second)
					replicas[0].Drop(tenant.Tenant) // they poll in turn
				case 3:
					d.Clock.Advance(behind)
					replicas[1].Drop(tenant.Tenant)
				}
				tok := signed(t, d, k, tenant, alg)
				_, kid, _ := strings.Cut(header(t, tok), `"kid":"`)
				kid, _, _ = strings.Cut(kid, `"`)
				for _, s := range sets {
					if d.Clock.Now().Sub(s.at) <= kept && !strings.Contains(s.body, kid) {
						t.Fatalf("%s signed by a key that a set of %s ago lacks", alg, d.Clock.Now().Sub(s.at))
					}
				}
			}
			if rotations == 0 {
				t.Error("no rotation succeeded, so nothing was proved")
			}
		}
	})
}

// An earlier release created the keys of each algorithm when it was first used. The missing ones
// are published before they sign.
func TestKeysOfATenantOfAnEarlierRelease(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		name(t, d, acme, jose.EdDSA)
		signed(t, d, keys(t, d), acme, jose.ES256)
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM signing_keys WHERE tenant_id = $1 AND alg <> 'ES256'`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		d.Clock.Advance(24 * time.Hour)
		k := keys(t, d)
		if _, err := k.Signer(ctx, acme, jose.RS256, jose.TypeJWT); fault.Of(err) != fault.Unavailable {
			t.Errorf("a key that no client can have signs: %v", err)
		}
		signed(t, d, k, acme, jose.ES256)
		body, err := k.JWKS(ctx, acme)
		if err != nil || strings.Count(string(body), `"kid"`) != 6 {
			t.Errorf("published: %s %v", body, err)
		}
		if _, err := k.Rotate(ctx, acme, jose.RS256); fault.Of(err) != fault.Conflict {
			t.Errorf("rotated to a key that no client can have: %v", err)
		}
		d.Clock.Advance(signingkey.PublishAhead)
		signed(t, d, k, acme, jose.RS256)

		// Housekeeping publishes them without a request, and none for an unused tenant.
		globex, idle := d.Tenant(t, "globex"), d.Tenant(t, "idle")
		name(t, d, globex, jose.EdDSA)
		name(t, d, idle, jose.EdDSA)
		signed(t, d, k, globex, jose.ES256)
		for _, c := range []caller.Caller{globex, idle} {
			if err := d.Update(ctx, c, func(tx *db.Tx) error {
				_, err := tx.Exec(ctx, `DELETE FROM signing_keys WHERE tenant_id = $1 AND alg = 'EdDSA'`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		k = keys(t, d)
		for c, want := range map[caller.Caller]int{globex: 6, idle: 0} {
			if err := k.RotateDue(ctx, c); err != nil {
				t.Fatal(err)
			}
			got, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) ([]signingkey.Key, error) {
				return signingkey.List(ctx, tx)
			})
			if err != nil || len(got) != want {
				t.Errorf("%d keys after housekeeping, want %d: %v", len(got), want, err)
			}
		}
	})
}

// A tenant that rotates without end keeps every key that a token may need, and no more than it can
// read.
func TestRotationsAreBounded(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		name(t, d, acme, jose.EdDSA)
		k := keys(t, d)
		old := signed(t, d, k, acme, jose.EdDSA)
		refused := ""
		for range 40 {
			if _, err := k.Rotate(ctx, acme, jose.EdDSA); err != nil {
				refused = fault.As(err).Code
			}
			d.Clock.Advance(signingkey.PublishAhead)
		}
		if refused != "signing_key.too_many" {
			t.Errorf("the last refusal was %q", refused)
		}
		if _, err := k.VerifyHint(ctx, acme, old); err != nil {
			t.Errorf("a hint of the first key: %v", err)
		}
		d.Clock.Advance(signingkey.RotateEvery)
		if err := k.RotateDue(ctx, acme); err != nil {
			t.Fatal(err)
		}
		d.Clock.Advance(signingkey.PublishAhead)
		if _, err := k.Rotate(ctx, acme, jose.EdDSA); err != nil {
			t.Errorf("after the old keys were deleted: %v", err)
		}
	})
}
