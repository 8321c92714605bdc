package signingkey_test

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func keys(t *testing.T, d *testkit.Database) *signingkey.Keys {
	t.Helper()
	ring, err := secret.ParseKeyRing(secret.NewKey("test"))
	if err != nil {
		t.Fatal(err)
	}
	return signingkey.New(d.DB, ring, d.Clock, func(*db.Tx) {})
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
				k := signingkey.New(d.DB, ring, d.Clock, func(*db.Tx) {})
				s, err := k.Signer(ctx, acme, jose.ES256, jose.TypeJWT)
				if err != nil {
					t.Error(err)
					return
				}
				tokens[i], err = s.Sign(map[string]string{"sub": "x"})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		k := signingkey.New(d.DB, ring, d.Clock, func(*db.Tx) {})
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
		if err != nil || strings.Count(string(body), `"kid"`) != 2 || strings.Contains(string(body), `"d"`) {
			t.Errorf("published: %s (%v), want the current and the next key", body, err)
		}
	})
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
		sign := func() string {
			s, err := k.Signer(ctx, acme, jose.ES256, jose.TypeJWT)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := s.Sign(map[string]string{"sub": "x"})
			if err != nil {
				t.Fatal(err)
			}
			return tok
		}
		old := sign()
		before, _ := k.JWKS(ctx, acme)
		kid, err := k.Rotate(ctx, acme, jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(before), kid) {
			t.Error("the new key was not published before it signs")
		}
		if tok := sign(); !strings.Contains(header(t, tok), kid) {
			t.Errorf("signed by %s, want %s", header(t, tok), kid)
		}
		if _, err := k.Verify(ctx, acme, old, []string{"JWT"}); err != nil {
			t.Errorf("a token of the retired key: %v", err)
		}
		if body, _ := k.JWKS(ctx, acme); strings.Count(string(body), `"kid"`) != 3 {
			t.Errorf("published: %s, want next, current and retired", body)
		}
		d.Clock.Advance(signingkey.PublishRetired + time.Hour)
		k.Drop(acme.Tenant)
		if body, _ := k.JWKS(ctx, acme); strings.Count(string(body), `"kid"`) != 2 {
			t.Errorf("published after a week: %s", body)
		}
		d.Clock.Advance(signingkey.RotateEvery)
		if err := k.RotateDue(ctx, acme); err != nil {
			t.Fatal(err)
		}
		if tok := sign(); strings.Contains(header(t, tok), kid) {
			t.Error("the key was not rotated at its age")
		}
		if _, err := k.Verify(ctx, acme, old, []string{"JWT"}); err == nil {
			t.Error("a key retired for more than 90 days still verifies")
		}
	})
}
