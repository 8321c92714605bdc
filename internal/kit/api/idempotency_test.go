package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
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
				status: 201, mostOfCaller: 1, mostOfTenant: 1}
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

func newRing(t *testing.T) *secret.KeyRing {
	t.Helper()
	ring, err := secret.ParseKeyRing(secret.NewKey("k"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// post claims a key for a call of POST /things, as admit does.
func (m *Mount) post(t *testing.T, by caller.Caller, key string) (*claim, *answered, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/things", strings.NewReader("{}"))
	r.Header.Set("Idempotency-Key", key)
	return m.claimKey(r, Op{Method: "POST", ID: "create-thing", Status: 201}, by)
}

// The commit of an effect was not confirmed, so the call failed and gave its key back. The answer
// stays if the effect does.
func TestAnAnswerThatWasStoredIsNotReleased(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, m := d.Tenant(t, "acme"), &Mount{DB: d.DB, Ring: newRing(t)}
		c, _, err := m.post(t, acme, "k")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Update(t.Context(), acme, func(tx *db.Tx) error {
			return Request{claim: c}.Keep(t.Context(), tx, None{})
		}); err != nil {
			t.Fatal(err)
		}
		m.release(t.Context(), acme, c)
		if _, before, err := m.post(t, acme, "k"); err != nil || before == nil || before.Status != 201 {
			t.Errorf("the answer is lost: %v %v", before, err)
		}
	})
}

// The keys of a caller and of a tenant are bounded, and the bounds hold for all parts together.
func TestKeysAreBounded(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		claims := func(m *Mount, slug string, callers int) int {
			by, taken := d.Tenant(t, slug), 0
			for i := range 4 * keyParts {
				if i%callers == 0 {
					by.Actor.ID = id.New()
				}
				_, _, err := m.post(t, by, fmt.Sprint(i))
				if errors.Is(err, errTooManyKeys) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				taken++
			}
			return taken
		}
		ring := newRing(t)
		mine := &Mount{DB: d.DB, Ring: ring, KeysOfCaller: 2 * keyParts}
		if n := claims(mine, "acme", 4*keyParts); n > 2*keyParts || n < keyParts {
			t.Errorf("a caller has %d keys, the bound is %d", n, 2*keyParts)
		}
		all := &Mount{DB: d.DB, Ring: ring, KeysOfTenant: 2 * keyParts}
		if n := claims(all, "globex", 1); n > 2*keyParts || n < keyParts {
			t.Errorf("the callers of a tenant have %d keys, the bound is %d", n, 2*keyParts)
		}
		d.Clock.Advance(keyLife)
		by := d.Tenant(t, "initech")
		if _, _, err := mine.post(t, by, "k"); err != nil {
			t.Errorf("a caller of another tenant: %v", err)
		}
	})
}

// A claim whose COMMIT's answer was lost is given back: nothing runs for it.
func TestAClaimOfALostCommitIsReleased(t *testing.T) {
	u, err := url.Parse(testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	var cut atomic.Bool
	u.Host = cutting(t, u.Host, &cut)
	d := testkit.Open(t, u.String())
	acme, m := d.Tenant(t, "acme"), &Mount{DB: d.DB, Ring: newRing(t)}
	cut.Store(true)
	if _, _, err := m.post(t, acme, "k"); err == nil {
		t.Fatal("the answer was not lost")
	}
	if _, before, err := m.post(t, acme, "k"); before != nil || err != nil {
		t.Errorf("after a lost COMMIT: %v %v", before, err)
	}
}

// cutting listens before a server. Once, when cut is set, it drops a connection instead of passing
// on the answer to COMMIT.
func cutting(t *testing.T, server string, cut *atomic.Bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	pass := func(from, to net.Conn) {
		defer func() { _, _ = from.Close(), to.Close() }()
		b := make([]byte, 16<<10)
		for {
			n, err := from.Read(b)
			if bytes.Contains(b[:n], []byte("COMMIT\x00Z")) && cut.CompareAndSwap(true, false) {
				return
			}
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go pass(client, back)
			go pass(back, client)
		}
	}()
	return l.Addr().String()
}

// admitted is a gate that admits one caller to everything.
type admitted struct{ by caller.Caller }

// Admit implements Gate.
func (g admitted) Admit(*http.Request, Op) (Request, error) {
	return Request{Caller: g.by, Rights: anything{}, Reads: true}, nil
}

type anything struct{}

// Allows implements Rights.
func (anything) Allows(string) bool { return true }

// A call that panicked gives its key back. A method that can be repeated as it is ignores the
// header, whatever it says.
func TestAPanicReleasesTheKey(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		panics := true
		create := Op{Method: "POST", Path: "/things", ID: "create-thing", Action: "thing.create", Tag: "T",
			Summary: "Create a thing", Status: 201}
		read := Op{Method: "GET", Path: "/things", ID: "get-things", Action: "thing.read", Tag: "T", Summary: "Get"}
		mux := http.NewServeMux()
		m := &Mount{Mux: mux, Prefix: "/api/v1", Title: "T", DB: d.DB, Ring: newRing(t),
			Gate:   admitted{d.Tenant(t, "acme")},
			Answer: func(_ context.Context, _ *fault.Fault) (int, http.Header) { return 400, nil }}
		m.Operations([]Operation{
			Write(create, func(context.Context, *db.Tx, Request, *struct{}) (None, error) {
				if panics {
					panic("a mistake")
				}
				return None{}, nil
			}),
			Read(read, func(context.Context, *db.Tx, Request, *struct{}) (None, error) { return None{}, nil }),
		})
		send := func(method, key string) (status int) {
			defer func() { _ = recover() }()
			r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1/things", nil)
			r.Header.Set("Idempotency-Key", key)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Code
		}
		if got := send("POST", "k"); got != 0 {
			t.Fatalf("no panic: %d", got)
		}
		panics = false
		if got := send("POST", "k"); got != 201 {
			t.Errorf("after a panic: %d", got)
		}
		if got := send("GET", `"`); got != 204 {
			t.Errorf("GET with a key that cannot be read: %d", got)
		}
	})
}
