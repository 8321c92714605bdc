package signingkey_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// name creates an application that names an algorithm.
func name(t *testing.T, d *testkit.Database, c caller.Caller, alg jose.Algorithm) {
	t.Helper()
	err := d.Update(context.Background(), c, func(tx *db.Tx) error {
		_, _, err := application.Create(context.Background(), tx, application.New{Name: "Shop", Type: application.Web,
			RedirectURIs: []string{"https://shop.example/cb"}, IDTokenAlg: string(alg)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Some clients reject a key set with a type that they do not know. So EdDSA keys are there only
// while an application needs them, or a token of them may live.
func TestEdDSAKeysAreThereWhileAnApplicationNamesThem(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		k, other := keys(t, d), keys(t, d)
		published := func(want bool) {
			t.Helper()
			for _, replica := range []*signingkey.Keys{k, other} {
				body, err := replica.JWKS(ctx, acme)
				if err != nil || strings.Contains(string(body), `"OKP"`) != want {
					t.Errorf("%s %v, want EdDSA %v", body, err, want)
				}
			}
		}
		touch := func() { // what tenant.Touch does
			k.Drop(acme.Tenant)
			other.Drop(acme.Tenant)
		}
		published(false)
		if _, err := k.Rotate(ctx, acme, jose.EdDSA); fault.As(err).Code != "signing_key.unused" {
			t.Errorf("rotated keys that are not there: %v", err)
		}
		d.Clock.Advance(time.Hour)
		name(t, d, acme, jose.EdDSA)
		if err := d.Update(ctx, acme, func(tx *db.Tx) error { return k.Publish(ctx, tx, "EdDSA") }); err != nil {
			t.Fatal(err)
		}
		touch()
		published(true)
		for _, replica := range []*signingkey.Keys{k, other} {
			_, err := replica.Signer(ctx, acme, jose.EdDSA, jose.TypeJWT)
			if !errors.Is(err, signingkey.ErrNotPublished) {
				t.Errorf("a key that clients may not have signs: %v", err)
			}
		}
		d.Clock.Advance(signingkey.PublishAhead)
		token := signed(t, d, k, acme, jose.EdDSA)

		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE applications SET id_token_alg = 'RS256' WHERE tenant_id = $1`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		touch()
		for range 2 { // the second finds nothing to do
			if err := k.RotateDue(ctx, acme); err != nil {
				t.Fatal(err)
			}
		}
		touch()
		published(true)
		if _, err := other.Verify(ctx, acme, token, []string{jose.TypeJWT}); err != nil {
			t.Errorf("a token that still lives: %v", err)
		}
		d.Clock.Advance(signingkey.PublishRetired)
		published(false)
		if _, err := other.VerifyHint(ctx, acme, token); err != nil {
			t.Errorf("its hint: %v", err)
		}

		// Named again, it waits again.
		name(t, d, acme, jose.EdDSA)
		touch()
		published(true)
		if _, err := k.Signer(ctx, acme, jose.EdDSA, jose.TypeJWT); !errors.Is(err, signingkey.ErrNotPublished) {
			t.Errorf("named again: %v", err)
		}

		// A tenant without keys gets them all at once, and they sign at once.
		globex := d.Tenant(t, "globex")
		name(t, d, globex, jose.EdDSA)
		if err := d.Update(ctx, globex, func(tx *db.Tx) error { return k.Publish(ctx, tx, "EdDSA") }); err != nil {
			t.Fatal(err)
		}
		signed(t, d, k, globex, jose.ES256)
		signed(t, d, k, globex, jose.EdDSA)
	})
}

// While the first keys are made, an application may name EdDSA. Its keys are missing then, and are
// made in the same call.
func TestAnApplicationNamesEdDSAWhileTheFirstKeysAreMade(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		ring, err := secret.ParseKeyRing(ringKey)
		if err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		k := signingkey.New(d.DB, ring, d.Clock, func(alg jose.Algorithm) (*jose.PrivateKey, error) {
			once.Do(func() { name(t, d, acme, jose.EdDSA) })
			return testkit.Key(alg)
		}, func(*db.Tx) {})
		if body, err := k.JWKS(ctx, acme); err != nil || strings.Count(string(body), `"kid"`) != 6 {
			t.Errorf("published: %s (%v), want the current and the next key of three algorithms", body, err)
		}
	})
}
