package signingkey_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A stolen key signs whatever its thief wants. Once it is retired, nothing that it signs later is
// valid, and what it may have signed before ends with the longest lifetime of a token.
func TestARetiredKeyVerifiesOnlyWhatItMayHaveSigned(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		k := keys(t, d)
		stolen, err := k.Signer(ctx, acme, jose.ES256, jose.TypeAccessToken)
		if err != nil {
			t.Fatal(err)
		}
		forge := func(at time.Time, lifetime time.Duration) string {
			text, err := stolen.Sign(jose.Claims{IssuedAt: jose.At(at), Expiry: jose.At(at.Add(lifetime))})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		check := func(name, token string, want bool) {
			t.Helper()
			_, err := k.Verify(ctx, acme, token, []string{jose.TypeAccessToken})
			if err != nil && !errors.Is(err, jose.ErrToken) {
				t.Fatal(err)
			}
			if (err == nil) != want {
				t.Errorf("%s: %v, want accepted %v", name, err, want)
			}
		}
		const longest = application.MaxTokenLifetime
		start := d.Clock.Now()
		check("the longest lifetime", forge(start, longest), true)
		check("a longer one", forge(start, longest+time.Second), false)
		check("no iat", forge(time.Unix(0, 0), time.Duration(start.Unix())*time.Second+time.Hour), false)

		d.Clock.Advance(time.Hour)
		if _, err := k.Rotate(ctx, acme, jose.ES256); err != nil {
			t.Fatal(err)
		}
		retired := d.Clock.Now()
		check("issued before the rotation", forge(start, longest), true)
		check("issued by a replica that did not know yet", forge(retired.Add(5*time.Second), longest), true)
		check("issued after the rotation", forge(retired.Add(2*time.Minute), time.Hour), false)
		d.Clock.Advance(60 * 24 * time.Hour)
		check("issued now", forge(d.Clock.Now(), time.Hour), false)
		check("back-dated, for a year", forge(start, 365*24*time.Hour), false)
	})
}

// A withdrawn key verifies nothing, at no replica, whatever it was used for.
func TestAWithdrawnKeyVerifiesNothing(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		for _, state := range []string{"retired", "signing", "published"} {
			acme := d.Tenant(t, "acme-"+state)
			k, other := keys(t, d), keys(t, d)
			token := signed(t, d, k, acme, jose.ES256)
			if _, err := other.VerifyHint(ctx, acme, token); err != nil {
				t.Fatal(err)
			}
			if state == "retired" {
				if _, err := k.Rotate(ctx, acme, jose.ES256); err != nil {
					t.Fatal(err)
				}
			}
			d.Clock.Advance(time.Minute)
			next := inState(t, d, acme, "published")
			kid := inState(t, d, acme, state)
			if err := k.Withdraw(ctx, acme, kid); err != nil {
				t.Fatalf("%s: %v", state, err)
			}
			other.Drop(acme.Tenant) // its poller does
			for _, replica := range []*signingkey.Keys{k, other} {
				_, access := replica.Verify(ctx, acme, token, []string{jose.TypeJWT})
				_, hint := replica.VerifyHint(ctx, acme, token)
				if lost := state != "published"; (access != nil) != lost || (hint != nil) != lost {
					t.Errorf("%s: a token is %v, a hint %v", state, access, hint)
				}
				body, err := replica.JWKS(ctx, acme)
				if err != nil || strings.Contains(string(body), kid) {
					t.Errorf("%s: still published: %v", state, err)
				}
				after := signed(t, d, replica, acme, jose.ES256) // at once
				if _, err := replica.Verify(ctx, acme, after, []string{jose.TypeJWT}); err != nil {
					t.Errorf("%s: a token of the key after it: %v", state, err)
				}
				if state == "signing" && !strings.Contains(header(t, after), next) {
					t.Errorf("signed by %s, want the next key %s", header(t, after), next)
				}
			}
			if inState(t, d, acme, "published") == kid || inState(t, d, acme, "signing") == kid {
				t.Errorf("%s: the withdrawn key is still there", state)
			}
			if err := k.Withdraw(ctx, acme, kid); !errors.Is(err, signingkey.ErrNotFound) {
				t.Errorf("%s: again: %v", state, err)
			}
			if state == "signing" { // the new next key is not published for long enough
				if _, err := k.Rotate(ctx, acme, jose.ES256); fault.Of(err) != fault.Conflict {
					t.Errorf("rotated to a key that no client can have: %v", err)
				}
				if _, _, err := k.WithdrawCurrent(ctx, acme, jose.ES256); err != nil {
					t.Errorf("withdrawn twice: %v", err)
				}
				signed(t, d, k, acme, jose.ES256)
			}
		}
	})
}

// inState returns the id of the tenant's ES256 key in a state.
func inState(t *testing.T, d *testkit.Database, c caller.Caller, state string) string {
	t.Helper()
	all, err := db.Read(context.Background(), d.DB, c, func(tx *db.Tx) ([]signingkey.Key, error) {
		return signingkey.List(context.Background(), tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range all {
		if key.Algorithm == "ES256" && key.State == state {
			return key.ID
		}
	}
	t.Fatalf("no ES256 key is %s", state)
	return ""
}

// The key set names the default algorithm first, and of each algorithm the key that signs, then the
// next, then the retired ones. The order stays.
func TestTheKeySetIsInOrder(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		for _, slug := range []string{"a", "b", "c", "d"} { // ids are random
			acme := d.Tenant(t, slug)
			k := keys(t, d)
			if _, err := k.Rotate(ctx, acme, jose.ES256); err != nil {
				t.Fatal(err)
			}
			body, err := k.JWKS(ctx, acme)
			if err != nil {
				t.Fatal(err)
			}
			last := -1
			for _, state := range []string{"signing", "published", "retired"} {
				at := strings.Index(string(body), inState(t, d, acme, state))
				if at <= last {
					t.Errorf("the %s key is out of order: %s", state, body)
				}
				last = at
			}
			if rs := strings.Index(string(body), "RS256"); rs < last {
				t.Errorf("RS256 comes before the keys of the default: %s", body)
			}
		}
	})
}
