package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// calls is a service of one method that does what its message says.
type calls struct {
	read    int // messages
	holding chan struct{}
	release chan struct{}
}

func (c *calls) desc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "test.Calls", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Do", Handler: func(_ any, ctx context.Context, dec func(any) error,
				_ grpc.UnaryServerInterceptor) (any, error) {
				in := &healthpb.HealthCheckRequest{}
				if err := dec(in); err != nil {
					return nil, err
				}
				c.read++
				switch in.Service {
				case "panic":
					panic("a secret detail")
				case "fail":
					NoteError(ctx, errors.New("the cause"))
					return nil, status.Error(codes.Internal, "Something went wrong.")
				case "leave":
					close(c.holding)
					<-ctx.Done()
					NoteError(ctx, ctx.Err())
					return nil, status.Error(codes.Internal, "Something went wrong.")
				case "hold":
					close(c.holding)
					<-c.release
				}
				return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
			}}}}
}

type rpcFixture struct {
	*RPC
	calls
	log  strings.Builder
	conn *grpc.ClientConn
	stop func() error
}

func newRPC(t *testing.T, with func(*RPC), creds credentials.TransportCredentials) *rpcFixture {
	t.Helper()
	f := &rpcFixture{calls: calls{holding: make(chan struct{}), release: make(chan struct{})}}
	f.RPC = &RPC{Address: "127.0.0.1:0", Metrics: NewMetrics(prometheus.NewRegistry()),
		Log: slog.New(slog.NewTextHandler(&f.log, nil)), Clock: &clock.Fake{}, Drain: 20 * time.Second}
	with(f.RPC)
	f.Register(f.desc(), nil, func(ctx context.Context, bearer []string) (context.Context, error) {
		if len(bearer) != 1 || bearer[0] != "Bearer good" {
			return nil, status.Error(codes.Unauthenticated, "Show a token.")
		}
		return ctx, nil
	})
	if err := f.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	f.stop = func() error { cancel(); return <-served }
	var err error
	if f.conn, err = grpc.NewClient(f.Addr().String(), grpc.WithTransportCredentials(creds)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close(); cancel() })
	return f
}

func (f *rpcFixture) do(token, what string) error {
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", token)
	return f.conn.Invoke(ctx, "/test.Calls/Do", &healthpb.HealthCheckRequest{Service: what},
		&healthpb.HealthCheckResponse{})
}

func TestACallHasOneLineAndKeepsItsSecrets(t *testing.T) {
	f := newRPC(t, func(*RPC) {}, insecure.NewCredentials())
	for what, want := range map[string]codes.Code{"": codes.OK, "panic": codes.Internal, "fail": codes.Internal} {
		err := f.do("Bearer good", what)
		if status.Code(err) != want || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", what, err)
		}
	}
	if err := f.do("Bearer bad", ""); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a bad token: %v", err)
	}
	if f.read != 3 {
		t.Errorf("%d messages were read; that of a caller who is not known must not be", f.read)
	}
	if err := f.stop(); err != nil { // all lines are written
		t.Fatal(err)
	}
	log := f.log.String()
	if strings.Count(log, "route=/test.Calls/Do method=gRPC") != 4 || !strings.Contains(log, "a secret detail") ||
		!strings.Contains(log, "the cause") || strings.Contains(log, "Bearer") {
		t.Error(log)
	}
}

func TestAnAddressThatCallsTooOften(t *testing.T) {
	f := newRPC(t, func(s *RPC) { s.Limiter = NewLimiter(s.Clock, 1, 2) }, insecure.NewCredentials())
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		if err := f.do("Bearer good", ""); status.Code(err) != want {
			t.Errorf("call %d: %v, want %s", i+1, err, want)
		}
	}
}

func TestCallsInClear(t *testing.T) {
	f := newRPC(t, func(s *RPC) { s.Secure = true }, insecure.NewCredentials())
	if err := f.do("Bearer good", ""); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("in clear: %v", err)
	}
	dir := t.TempDir()
	writePair(t, dir, "one", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	f = newRPC(t, func(s *RPC) {
		s.Secure, s.CertFile, s.KeyFile = true, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	}, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}))
	if err := f.do("Bearer good", ""); err != nil {
		t.Errorf("over TLS: %v", err)
	}
}

// A call in flight ends although the server stops, and new ones are not taken.
func TestStoppingLetsCallsEnd(t *testing.T) {
	f := newRPC(t, func(*RPC) {}, insecure.NewCredentials())
	held, stopped := make(chan error, 1), make(chan error, 1)
	go func() { held <- f.do("Bearer good", "hold") }()
	<-f.holding
	go func() { stopped <- f.stop() }()
	testkit.Eventually(t, "the server has said that it goes away",
		func() bool { return f.conn.GetState().String() != "READY" })
	close(f.release)
	if err := <-held; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// One client has a share of the streams that need no token, and of the calls.
func TestAClientHasAShareOfTheCalls(t *testing.T) {
	f := newRPC(t, func(s *RPC) { s.Limits.Concurrent = 4 }, insecure.NewCredentials())
	client := healthpb.NewHealthClient(f.conn)
	for i := range maxStreams/arrivingShare + 1 {
		w, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if last := i == maxStreams/arrivingShare; last != (status.Code(err) == codes.ResourceExhausted) {
			t.Fatalf("stream %d of a client: %v", i+1, err)
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer good")
	do := func(what string) error {
		return f.conn.Invoke(ctx, "/test.Calls/Do", &healthpb.HealthCheckRequest{Service: what},
			&healthpb.HealthCheckResponse{})
	}
	held := make(chan error, 1)
	go func() { held <- do("hold") }()
	<-f.holding
	if err := do(""); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second call of a client whose share is one: %v", err)
	}
	close(f.release)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if err := do(""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if f.places.Used()+f.arriving.Used() != 0 {
		t.Error("places are left over")
	}
}
