package oidc_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// keyServer serves the key set of an application.
type keyServer struct {
	*httptest.Server
	calls  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newKeyServer(t *testing.T, keys ...*jose.PrivateKey) *keyServer {
	t.Helper()
	k := &keyServer{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.calls.Add(1)
		(*k.answer.Load())(w, r)
	}))
	t.Cleanup(k.Close)
	k.publish(t, keys...)
	return k
}

func (k *keyServer) serve(h http.HandlerFunc) { k.answer.Store(&h) }

func (k *keyServer) publish(t *testing.T, keys ...*jose.PrivateKey) {
	t.Helper()
	var set jose.Set
	for _, key := range keys {
		set = append(set, key.Public())
	}
	b, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	k.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
}

// write returns a handler that answers with a text.
func write(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func newKey(t *testing.T) *jose.PrivateKey {
	t.Helper()
	key, err := jose.Generate(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var assertions atomic.Int64

// authenticate asks for a token with an assertion that key signed.
func (c *client) authenticate(t *testing.T, key *jose.PrivateKey) world.Answer {
	t.Helper()
	signer, err := jose.NewSigner(key, jose.TypeJWT)
	if err != nil {
		t.Fatal(err)
	}
	now := c.w.Clock.Now()
	assertion, err := signer.Sign(map[string]any{"iss": c.ClientID, "sub": c.ClientID, "aud": c.w.issuer,
		"jti": fmt.Sprint(assertions.Add(1)), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	return c.post("/oauth2/token", "grant_type", "client_credentials", "client_assertion_type", assertionType,
		"client_assertion", assertion)
}

func (w *scene) machineWithKeysAt(uri string) *client {
	return w.client(application.New{Type: application.Machine, AuthMethod: application.AuthJWT, JWKSURI: uri})
}

// A key set is read when it is needed, read again for a new key, and counts for a day if its
// address fails. Nothing that a stranger sends calls the address more than once a minute.
func TestKeysByJWKSURI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		first, second, strange := newKey(t), newKey(t), newKey(t)
		server := newKeyServer(t, first)
		c := w.machineWithKeysAt(server.URL + "/jwks")
		expect := func(what string, a world.Answer, status int, calls int64) {
			t.Helper()
			if a.Status != status || server.calls.Load() != calls {
				t.Errorf("%s: %d %s after %d calls, want %d after %d", what, a.Status, a.Body, server.calls.Load(),
					status, calls)
			}
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { mustTokens(t, c.authenticate(t, first)) })
		}
		all.Wait()
		expect("cached", c.authenticate(t, first), 200, 1)
		server.publish(t, first, second)
		expect("a new key within a minute", c.authenticate(t, second), 401, 1)
		w.Clock.Advance(time.Minute)
		expect("a new key after it", c.authenticate(t, second), 200, 2)
		for range 3 {
			expect("an unknown key", c.authenticate(t, strange), 401, 2)
		}
		w.Clock.Advance(time.Minute)
		for range 3 {
			expect("an unknown key, later", c.authenticate(t, strange), 401, 3)
		}
		server.publish(t, second)
		w.Clock.Advance(10 * time.Minute)
		expect("a withdrawn key", c.authenticate(t, first), 401, 4)

		server.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		w.Clock.Advance(10 * time.Minute)
		for range 3 {
			expect("while the address fails", c.authenticate(t, second), 200, 5)
		}
		w.Clock.Advance(time.Minute)
		expect("a minute later", c.authenticate(t, second), 200, 6)
		w.Clock.Advance(24 * time.Hour)
		for range 3 {
			expect("a day later", c.authenticate(t, second), 401, 7)
		}
		server.publish(t, second)
		expect("within the next minute", c.authenticate(t, second), 401, 7)
		w.Clock.Advance(time.Minute)
		expect("when it answers again", c.authenticate(t, second), 200, 8)
	})
}

// The audit log says what is wrong with a jwks_uri. The answer, which a stranger may
// read, does not.
func TestWhyKeysCannotBeRead(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		key := newKey(t)
		server := newKeyServer(t, key)
		inside := "https://10.0.0.1/jwks"
		for what, tt := range map[string]struct {
			uri   string
			serve http.HandlerFunc
			want  string
		}{
			"inside":    {inside, nil, "inside a network"},
			"redirects": {"", http.RedirectHandler(server.URL+"/other", http.StatusFound).ServeHTTP, "status 302"},
			"absent":    {"", http.NotFound, "status 404"},
			"huge":      {"", write(strings.Repeat(" ", 1<<20)), "larger than"},
			"a page":    {"", write("<html>"), "not JSON"},
			"no keys":   {"", write("{}"), "list named"},
			"a secret":  {"", write(`{"keys":[{"kty":"oct","k":"AAAA"}]}`), "cannot be used"},
		} {
			uri := tt.uri
			if uri == "" {
				uri = server.URL
				server.serve(tt.serve)
			}
			c := w.machineWithKeysAt(uri)
			a := c.authenticate(t, key)
			refusedWith(t, what, a, 401, "invalid_client")
			if strings.Contains(a.Body, "jwks_uri") {
				t.Errorf("%s: the answer tells a stranger %s", what, a.Body)
			}
			found := w.events(audit.Filter{Action: "client.refuse", RequestID: a.Header.Get("X-Request-Id")})
			if len(found) != 1 || !strings.Contains(string(found[0].Detail), tt.want) {
				t.Errorf("%s: the audit log has %d events, not one with %q", what, len(found), tt.want)
			}
		}
	})
}
