package api

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A request that lost its key, because it took longer than the claim lasts, cannot commit.
func TestAClaimThatWasTakenOverCannotCommit(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx, acme := t.Context(), d.Tenant(t, "acme")
		ring, err := secret.ParseKeyRing(secret.NewKey("k"))
		if err != nil {
			t.Fatal(err)
		}
		request := digestOf([]byte("request"))
		try := func() (*claim, error) {
			c := &claim{ring: ring, key: digestOf([]byte("key")), caller: digestOf([]byte("ada")), held: id.New(),
				status: 201}
			sealed, err := ring.Seal(acme.Tenant, c.purpose(), request[:])
			if err != nil {
				t.Fatal(err)
			}
			return c, d.Update(ctx, acme, func(tx *db.Tx) error {
				_, err := c.take(ctx, tx, request, sealed)
				return err
			})
		}
		keep := func(c *claim) error {
			return d.Update(ctx, acme, func(tx *db.Tx) error { return Request{claim: c}.Keep(ctx, tx, None{}) })
		}
		slow, err := try()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := try(); !errors.Is(err, ErrRunning) {
			t.Errorf("a key that is held: %v", err)
		}
		d.Clock.Advance(claimLife + time.Second)
		next, err := try()
		if err != nil {
			t.Fatal(err)
		}
		if err := keep(slow); !errors.Is(err, ErrRunning) || slow.done {
			t.Errorf("a request without its key committed: %v", err)
		}
		if err := keep(next); err != nil || !next.done {
			t.Errorf("the request with the key: %v", err)
		}
	})
}

func TestReadKey(t *testing.T) {
	for value, want := range map[string]string{
		"k": "k", `"k"`: "k", `"a\"b\\c"`: `a"b\c`,
		`""`: "", `"`: "", `"k`: "", "\xff": "", "": "",
	} {
		got, err := readKey(http.Header{"Idempotency-Key": {value}})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", value, got, err)
		}
	}
	if _, err := readKey(http.Header{"Idempotency-Key": {"a", "b"}}); err == nil {
		t.Error("two keys were taken")
	}
	if claimLife <= web.DefaultTime {
		t.Error("a claim must last longer than a request")
	}
}
