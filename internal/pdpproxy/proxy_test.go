package pdpproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// server stands in for Gatehouse: it gives out tokens, accepts the last one, and repeats what it
// receives.
type server struct {
	*httptest.Server
	grpc string

	mu      sync.Mutex
	tokens  int
	life    int64 // seconds
	refused string
	down    bool
	seen    http.Header
}

// good reports whether an Authorization header has the last token.
func (s *server) good(header string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.down && header == fmt.Sprintf("Bearer token-%d", s.tokens)
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) issued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

func newServer(t *testing.T) *server {
	s := &server{life: 600}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /t/acme/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case s.refused != "" || id != "shop" || secret != "a%2Bsecret" || r.FormValue("scope") != scopeDecide:
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client",
				"error_description": "It is wrong."})
		default:
			s.tokens++
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprintf("token-%d", s.tokens),
				"expires_in": s.life})
		}
	})
	mux.HandleFunc("GET /t/acme/_cerbos/health", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/t/acme/", func(w http.ResponseWriter, r *http.Request) {
		if !s.good(r.Header.Get("Authorization")) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.set(func() { s.seen = r.Header.Clone() })
		w.Header().Set("Access-Control-Allow-Origin", "*")
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte(r.Method+" "+r.URL.Path+" "), body...))
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	calls := grpc.NewServer(grpc.ForceServerCodecV2(newCodec()), grpc.UnknownServiceHandler(
		func(_ any, stream grpc.ServerStream) error {
			given, _ := metadata.FromIncomingContext(stream.Context())
			if v := given.Get("authorization"); len(v) != 1 || !s.good(v[0]) {
				return status.Error(codes.Unauthenticated, "no")
			}
			var in frame
			if err := stream.RecvMsg(&in); err != nil {
				return err
			}
			if strings.HasPrefix(string(in.data), "fail") {
				return status.Error(codes.InvalidArgument, "as the server says")
			}
			_ = stream.SetHeader(metadata.Pairs("x-request-id", strings.Join(given.Get("x-request-id"), ",")))
			return stream.SendMsg(&in)
		}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = calls.Serve(l) }()
	t.Cleanup(calls.Stop)
	s.grpc = l.Addr().String()
	return s
}

func (s *server) options() Options {
	return Options{URL: s.URL + "/t/acme/", GRPC: s.grpc, ClientID: "shop", ClientSecret: "a+secret",
		Listen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
}

// running opens a proxy and serves until the test ends. It returns the base of its HTTP listener
// and a connection to the other.
func running(t *testing.T, o Options) (*Proxy, string, *grpc.ClientConn) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p, err := Open(ctx, o)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx) }()
	overGRPC, overHTTP := p.Addr()
	target := overGRPC.String()
	if overGRPC.Network() == "unix" {
		target = "unix:" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return p, "http://" + overHTTP.String(), conn
}

func send(t *testing.T, method, address, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s %s is open to browsers", method, address)
	}
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

const checkMethod = "/cerbos.svc.v1.CerbosService/CheckResources"

// Decisions are forwarded with the token, nothing else is, and callers' credentials stay here.
func TestForwarding(t *testing.T) {
	s := newServer(t)
	_, base, conn := running(t, s.options())
	code, text := send(t, "POST", base+"/api/check/resources?pretty", `{"a":1}`, "Authorization", "Bearer theirs",
		"Cookie", "session=x", "X-Request-Id", "r1")
	if code != 200 || text != `POST /t/acme/api/check/resources {"a":1}` {
		t.Errorf("a check: %d %s", code, text)
	}
	if s.seen.Get("Cookie") != "" || s.seen.Get("X-Request-Id") != "r1" {
		t.Errorf("the server received %v", s.seen)
	}
	for request, want := range map[string]int{
		"GET /api/server_info": 200, "POST /access/v1/evaluation": 200, "POST /api/plan/resources": 200,
		"GET /_cerbos/health": 200, "GET /api/v1/users": 404, "POST /oauth2/token": 404, "GET /": 404,
		"POST /api/check/../v1/users": 404, "DELETE /api/check/resources": 404,
		"POST /access/v1/../../api/v1/users": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		if code, text := send(t, method, base+path, ""); code != want {
			t.Errorf("%s: %d %s, want %d", request, code, text, want)
		}
	}
	for _, header := range []string{"Origin", "Sec-Fetch-Site"} {
		if code, _ := send(t, "POST", base+"/api/check/resources", "{}", header, "https://evil.example"); code != 403 {
			t.Errorf("a page in a browser: %d", code)
		}
	}
	if code, _ := send(t, "POST", base+"/api/check/resources", strings.Repeat("x", maxRequest+1)); code != 413 {
		t.Errorf("a large request: %d", code)
	}

	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer theirs", "x-request-id", "r7")
	var out frame
	var header metadata.MD
	if err := conn.Invoke(ctx, checkMethod, &frame{[]byte("hello")}, &out, grpc.Header(&header)); err != nil ||
		string(out.data) != "hello" || strings.Join(header.Get("x-request-id"), "") != "r7" {
		t.Errorf("a call: %q %v %v", out.data, header, err)
	}
	err := conn.Invoke(ctx, checkMethod, &frame{[]byte("fail")}, &out)
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "as the server says" {
		t.Errorf("a refused call: %v", err)
	}
	if err := conn.Invoke(ctx, "/other.Service/Do", &frame{}, &out); status.Code(err) != codes.Unimplemented {
		t.Errorf("another service: %v", err)
	}
	if err := conn.Invoke(ctx, checkMethod, &frame{make([]byte, maxRequest+1)}, &out); status.Code(err) !=
		codes.ResourceExhausted {
		t.Errorf("a large call: %v", err)
	}
	for _, service := range append([]string{""}, services...) {
		h, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", service, h, err)
		}
	}
}

// The token is renewed before it ends, and when the server refuses it. A caller notices neither.
func TestTheTokenIsRenewed(t *testing.T) {
	s := newServer(t)
	s.life = 1
	p, base, conn := running(t, s.options())
	testkit.Eventually(t, "the token is renewed", func() bool { return s.issued() >= 3 })
	s.set(func() { s.life = 600 })
	n := s.issued()
	testkit.Eventually(t, "a longer token", func() bool { return s.issued() > n })
	revoke := func() {
		s.set(func() { s.tokens += 10 }) // the server accepts none that it has issued
		p.tokens.fetching.Lock()
		p.tokens.fetched = time.Time{} // long ago: a token that was just issued is not replaced
		p.tokens.fetching.Unlock()
	}
	revoke()
	if code, text := send(t, "POST", base+"/api/check/resources", "{}"); code != 200 {
		t.Errorf("over HTTP, with a revoked token: %d %s", code, text)
	}
	revoke()
	var out frame
	if err := conn.Invoke(t.Context(), checkMethod, &frame{[]byte("x")}, &out); err != nil {
		t.Errorf("over gRPC, with a revoked token: %v", err)
	}
	// Refused for good: each caller gets the server's answer, and the endpoint is not flooded.
	s.set(func() { s.tokens++; s.refused = "yes" })
	for range 20 {
		if code, _ := send(t, "POST", base+"/api/check/resources", "{}"); code != http.StatusUnauthorized {
			t.Errorf("a refused application: %d", code)
		}
	}
}

// Health checks say when no decision can be had, and when it can again.
func TestHealthFollowsTheServer(t *testing.T) {
	s := newServer(t)
	s.life = 1 // so that the proxy looks often
	_, base, _ := running(t, s.options())
	for _, down := range []bool{true, false} {
		s.set(func() { s.down = down })
		want := map[bool]int{true: 503, false: 200}[down]
		testkit.Eventually(t, fmt.Sprintf("health is %d", want), func() bool {
			code, _ := send(t, "GET", base+"/_cerbos/health", "")
			return code == want
		})
	}
}

// What is wrong is said at the start.
func TestStartErrors(t *testing.T) {
	s := newServer(t)
	foreign := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no URL":          {func(o *Options) { o.URL = "" }, "--url"},
		"no tenant":       {func(o *Options) { o.URL = foreign.URL }, "issuer of a tenant"},
		"credentials":     {func(o *Options) { o.URL = "https://a:b@c.example/t/x" }, "--url"},
		"no client":       {func(o *Options) { o.ClientID = "" }, "--client-id"},
		"no secret":       {func(o *Options) { o.ClientSecret = "" }, "--client-secret-file"},
		"a wrong secret":  {func(o *Options) { o.ClientSecret = "x" }, "It is wrong. (invalid_client)"},
		"no listener":     {func(o *Options) { o.Listen, o.HTTPListen = None, None }, "--listen"},
		"no address":      {func(o *Options) { o.Listen = "3593" }, "HOST:PORT"},
		"everywhere":      {func(o *Options) { o.Listen = "0.0.0.0:0" }, "--allow-network"},
		"everywhere, too": {func(o *Options) { o.HTTPListen = ":0" }, "--allow-network"},
		"another machine": {func(o *Options) { o.HTTPListen = "192.0.2.1:0" }, "--allow-network"},
		"a taken address": {func(o *Options) { o.Listen = s.grpc }, "in use"},
	} {
		o := s.options()
		tt.change(&o)
		p, err := Open(t.Context(), o)
		if err == nil {
			p.close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "a+secret") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	// A server that does not answer is waited for, and an end meanwhile is an end.
	o := s.options()
	o.URL = "http://127.0.0.1:1/t/acme"
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Open(ctx, o); !errors.Is(err, errStopped) {
		t.Errorf("a server that does not answer: %v", err)
	}
}

// A socket takes the place of one that is left, and not of one in use.
func TestSockets(t *testing.T) {
	s := newServer(t)
	o := s.options()
	path := filepath.Join(t.TempDir(), "pdp.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	o.Listen = "unix:" + path
	_, _, conn := running(t, o)
	var out frame
	if err := conn.Invoke(t.Context(), checkMethod, &frame{[]byte("x")}, &out); err != nil {
		t.Error(err)
	}
	if p, err := Open(t.Context(), o); err == nil {
		p.close()
		t.Error("two proxies listen on one socket")
	}
}

func TestTheDefaultAddressOverGRPC(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://id.example.com/t/acme":      "id.example.com:443",
		"https://id.example.com:8443/t/acme": "id.example.com:8443",
		"http://127.0.0.1:8080/t/acme":       "127.0.0.1:8082",
		"http://[::1]:8080/t/acme":           "[::1]:8082",
	} {
		u, err := baseOf(issuer)
		if err != nil {
			t.Fatal(err)
		}
		if got := grpcAddress(u); got != want {
			t.Errorf("%s: %s, want %s", issuer, got, want)
		}
	}
}
