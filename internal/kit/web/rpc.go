package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // a client may compress; a message's limit holds for what it unpacks to
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// RPC is a gRPC listener and everything between it and the doors, as Handler is for HTTP. It
// answers grpc.health.v1 and reflection itself, without a token. Fill in a struct literal, then
// call Register, Listen and Serve.
type RPC struct {
	Address  string // "127.0.0.1:8082"
	CertFile string // PEM; with KeyFile makes the listener speak TLS
	KeyFile  string
	// Secure refuses calls without TLS, because their tokens are valid for an https public URL. A
	// trusted proxy may report that it ended TLS.
	Secure  bool
	Proxies Proxies
	Limits  Limits // Body bounds a message; Path and Query are of no use here
	Limiter *Limiter
	Metrics *Metrics
	Log     *slog.Logger
	Lines   *Lines // as of Handler
	Clock   clock.Clock
	Drain   time.Duration // default 20 s, as of Server
	// PerClient bounds the connections of one client, as of Server.
	PerClient int64

	services []service
	listener net.Listener
	server   *grpc.Server
	health   *health.Server
	places   *network.Places // for calls that are answered
	arriving *network.Places // for messages on their way
	watching *network.Places // for streams of health checks and reflection
	cut      atomic.Bool     // calls in flight are cut off
}

// Admit authenticates a call before its message is read. It returns the context of the method. Its
// error is a status.
type Admit func(ctx context.Context, bearer []string) (context.Context, error)

type service struct {
	desc  *grpc.ServiceDesc
	impl  any
	admit Admit
}

// Register adds a service of unary methods. Call it before Listen.
func (s *RPC) Register(desc *grpc.ServiceDesc, impl any, admit Admit) {
	s.services = append(s.services, service{desc, impl, admit})
}

// Listen binds the address and reads the certificate.
func (s *RPC) Listen() error {
	s.Limits = s.Limits.withDefaults()
	s.places = network.NewPlaces(s.Limits.Concurrent, s.Limits.Concurrent/concurrentShare)
	// A message arrives only for a caller who was admitted, so its share is that of calls.
	s.arriving = network.NewPlaces(s.Limits.Arriving, s.Limits.Arriving/concurrentShare)
	s.watching = network.NewPlaces(maxStreams, maxStreams/arrivingShare)
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(int(s.Limits.Body)),
		grpc.MaxConcurrentStreams(1000),
		grpc.MaxHeaderListSize(32 << 10),
		// Windows have a fixed size. Otherwise gRPC would measure the connection by a ping for
		// every message, and let a stream grow to 16 MiB before its caller is admitted. A message
		// larger than a stream's window is received once a method reads it.
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(1 << 20),
		// The workers' goroutines stay: a decision is deep, and a new goroutine grows its stack
		// step by step.
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.InTapHandle(s.tap),
		grpc.StreamInterceptor(s.stream),
		// Connections are renewed now and then, so that calls spread over new replicas.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 15 * time.Minute, MaxConnectionAge: 10 * time.Minute, MaxConnectionAgeGrace: time.Minute,
			Time: 2 * time.Minute, Timeout: 20 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second,
			PermitWithoutStream: true}),
	}
	if s.CertFile != "" {
		cert, err := newCertificate(s.CertFile, s.KeyFile, s.Clock, s.Log)
		if err != nil {
			return err
		}
		options = append(options,
			grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get})))
	}
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listen for gRPC calls: %w", err)
	}
	s.listener = counted{shared(l, s.PerClient, s.Proxies)}
	s.server, s.health = grpc.NewServer(options...), health.NewServer()
	for _, sv := range s.services {
		s.server.RegisterService(s.guarded(sv), sv.impl)
		s.health.SetServingStatus(sv.desc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	}
	s.server.RegisterService(s.open(&healthpb.Health_ServiceDesc), s.health)
	reflection.Register(s.server)
	return nil
}

// maxStreams bounds the calls that need no token: health checks, and reflection. Some last.
const maxStreams = 1024

// watch takes a place for a call that needs no token. It returns the function that returns it.
func (s *RPC) watch(ctx context.Context) (func(), error) {
	a, _ := s.client(ctx)
	if s.watching.Take(a, 1) != network.Taken {
		s.Metrics.limited.Inc()
		return nil, status.Error(codes.ResourceExhausted, "Too many streams are open. Close one and try again.")
	}
	return func() { s.watching.Give(a, 1) }, nil
}

// stream bounds the streams that last, in all and for each client.
func (s *RPC) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	give, err := s.watch(ss.Context())
	if err != nil {
		return err
	}
	defer give()
	return handler(srv, &opening{ServerStream: ss})
}

// open returns a service that needs no token, whose unary methods are bounded as streams are.
func (s *RPC) open(of *grpc.ServiceDesc) *grpc.ServiceDesc {
	desc := *of
	desc.Methods = make([]grpc.MethodDesc, len(of.Methods))
	for i, m := range of.Methods {
		desc.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName,
			Handler: func(impl any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any,
				error) {
				give, err := s.watch(ctx)
				if err != nil {
					return nil, err
				}
				defer give()
				return m.Handler(impl, ctx, func(m any) error { return inTime(ctx, m, dec) }, nil)
			}}
	}
	return &desc
}

// streamWorkers is how many goroutines are kept to answer calls. Further calls get one of their
// own.
const streamWorkers = 64

// Addr returns the bound address. Call it after Listen.
func (s *RPC) Addr() net.Addr { return s.listener.Addr() }

// Serve answers calls until ctx ends. Then it tells health checks, accepts no new calls, gives
// those in flight Drain to end, and returns nil. Call it after Listen.
func (s *RPC) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve gRPC calls: %w", err)
	case <-ctx.Done():
	}
	drain := s.Drain
	if drain == 0 {
		drain = 20 * time.Second
	}
	s.health.Shutdown()
	cut := time.AfterFunc(drain, func() {
		s.Log.Warn("calls were cut off at shutdown", "listener", "grpc")
		s.cut.Store(true)
		s.server.Stop()
	})
	defer cut.Stop()
	s.server.GracefulStop()
	return nil
}

// tap refuses an address that calls too often, before any other work. Otherwise it lets inTime end
// the call.
func (s *RPC) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if s.Limiter != nil {
		address, _ := s.client(ctx)
		if ok, _ := s.Limiter.Allow(address); !ok {
			s.Metrics.limited.Inc()
			return ctx, status.Error(codes.ResourceExhausted,
				"Too many calls came from your address. Wait a moment and try again.")
		}
	}
	return newCallContext(ctx), nil
}

// client returns the address and the scheme of the client.
func (s *RPC) client(ctx context.Context) (netip.Addr, string) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}, "http"
	}
	scheme := "http"
	if p.AuthInfo != nil && p.AuthInfo.AuthType() == "tls" {
		scheme = "https"
	}
	if len(s.Proxies.Trusted) > 0 {
		r := &http.Request{RemoteAddr: p.Addr.String(), Header: http.Header{}}
		for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"} {
			r.Header[name] = metadata.ValueFromIncomingContext(ctx, name)
		}
		if scheme == "https" {
			r.TLS = &tls.ConnectionState{}
		}
		return s.Proxies.client(r)
	}
	from := p.Addr
	if c, ok := from.(*origin); ok {
		from = c.Addr
	}
	if a, ok := from.(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone(""), scheme
	}
	return netip.Addr{}, scheme
}

// guarded returns a service whose methods go through call. A method's message is then not read
// before its caller is admitted.
func (s *RPC) guarded(sv service) *grpc.ServiceDesc {
	desc := *sv.desc
	desc.Methods = make([]grpc.MethodDesc, len(sv.desc.Methods))
	for i, m := range sv.desc.Methods {
		route, handler := "/"+desc.ServiceName+"/"+m.MethodName, m.Handler
		desc.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName,
			Handler: func(impl any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any,
				error) {
				return s.call(ctx, route, sv.admit, func(ctx context.Context, x *scope) (any, error) {
					return handler(impl, ctx, func(m any) error { return s.receive(x, m, dec) }, nil)
				})
			}}
	}
	return &desc
}

// receive waits for the call's message and decodes it. Meanwhile the call has no place among those
// that are answered, as a request of Handler has none.
func (s *RPC) receive(x *scope, m any, dec func(any) error) error {
	a := x.caller.Address
	s.leave(x)
	if err := refused(s.arriving.Take(a, 1)); err != nil {
		return err
	}
	in := message{to: m}
	err := inTime(x, &in, dec)
	s.arriving.Give(a, 1)
	if err != nil {
		return err // too large, too late, or the client went away
	}
	if err := s.enter(x); err != nil {
		return err
	}
	x.At = time.Now().Add(s.Limits.Time)
	x.size = in.size
	if in.err != nil {
		return status.Error(codes.InvalidArgument, "The message is not one of this method: "+in.err.Error())
	}
	return nil
}

// enter takes a place for a call.
func (s *RPC) enter(x *scope) error {
	err := refused(s.places.Take(x.caller.Address, 1))
	x.placed = err == nil
	return err
}

// leave returns the place of a call.
func (s *RPC) leave(x *scope) {
	if x.placed {
		x.placed = false
		s.places.Give(x.caller.Address, 1)
	}
}

// refused returns the status for an outcome, or nil for network.Taken.
func refused(o network.Outcome) error {
	switch o {
	case network.Full:
		return status.Error(codes.Unavailable, busy.Reason)
	case network.TooMany:
		return status.Error(codes.ResourceExhausted, tooManyAtOnce.Reason)
	case network.Taken:
	}
	return nil
}

// call handles one call from its headers to its answer and its log line.
func (s *RPC) call(ctx context.Context, route string, admit Admit,
	method func(context.Context, *scope) (any, error)) (answer any, err error) {
	start := s.Clock.Now()
	x := &scope{Bounded: clock.Bounded{Context: ctx, At: time.Now().Add(s.Limits.Time)}}
	defer x.End()
	x.caller.Actor.Kind = caller.Anonymous
	x.caller.Address, x.scheme = s.client(ctx)
	x.caller.Agent = cleanAgent(first(metadata.ValueFromIncomingContext(ctx, "user-agent")))
	x.caller.RequestID = newRequestID()
	_ = grpc.SetHeader(ctx, metadata.MD{"x-request-id": {x.caller.RequestID}})
	defer func() {
		s.leave(x)
		if p := recover(); p != nil {
			x.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			answer, err = nil, status.Error(codes.Internal,
				"Something went wrong on our side. Try again; if it stays, give the request id to your administrator.")
		}
		s.record(x, route, status.Code(err), start)
	}()
	if err := s.enter(x); err != nil {
		return nil, err
	}
	if s.Secure && x.scheme != "https" {
		return nil, status.Error(codes.FailedPrecondition,
			"This server is called over TLS only. If a proxy in front of it ends TLS, the proxy's address must be "+
				"named in GATEHOUSE_TRUSTED_PROXIES and it must send X-Forwarded-Proto.")
	}
	inside, err := admit(x, metadata.ValueFromIncomingContext(ctx, "authorization"))
	if err != nil {
		return nil, err
	}
	answer, err = method(inside, x)
	if m, ok := answer.(generated); ok && m.SizeVT() < worthCompressing {
		// fails where the headers are out, and then it is late anyway
		_ = grpc.SetSendCompressor(ctx, encoding.Identity)
	}
	return answer, err
}

// worthCompressing is the size, in bytes, from which an answer is compressed for a client that
// compresses its calls, as Cerbos' Go SDK does. A smaller answer fits into the ten segments that
// TCP sends at once (RFC 6928). Compressing it would cost more than a decision and gain no time.
const worthCompressing = 14 << 10

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// record writes the metrics and the log line of a call. The line has gRPC's status (0 is OK) and
// the bytes of the call's message.
func (s *RPC) record(x *scope, route string, code codes.Code, start time.Time) {
	took := s.Clock.Now().Sub(start)
	err := x.err
	switch {
	case !x.abandoned():
	case s.cut.Load():
		err = errCutOff
	default:
		code, err = codes.Canceled, errClientClosed
	}
	s.Metrics.calls.WithLabelValues(route, code.String()).Observe(took.Seconds())
	level := slog.LevelInfo
	if code == codes.Internal || code == codes.Unknown {
		level = slog.LevelError
	}
	if !s.Log.Enabled(x.Context, level) {
		return
	}
	if s.Lines != nil && level == slog.LevelInfo && err == nil {
		s.Lines.add(line{
			at: start.Add(took), route: route, method: "gRPC", status: int(code), took: took, bytes: int64(x.size),
			tenant: x.site.Slug, address: x.caller.Address, requestID: x.caller.RequestID,
		})
		return
	}
	attrs := [...]slog.Attr{
		slog.String("route", route),
		slog.String("method", "gRPC"),
		slog.Int("status", int(code)),
		slog.Duration("took", took),
		slog.Int("bytes", x.size),
		slog.String("tenant", x.site.Slug),
		slog.String("address", x.caller.Address.String()),
		slog.String("request_id", x.caller.RequestID),
		{},
	}
	n := len(attrs) - 1
	if err != nil {
		attrs[n] = slog.String("error", err.Error())
		n++
	}
	s.Log.LogAttrs(x.Context, level, "request", attrs[:n]...)
}

// Enter sets the tenant of a call, which its token named, and returns the call's anonymous caller.
func Enter(ctx context.Context, site Site) caller.Caller {
	x := scopeOf(ctx)
	x.site, x.caller.Tenant = site, site.Tenant
	return x.caller
}

// CallSize returns the size of the call's message as it was received, in bytes.
func CallSize(ctx context.Context) int {
	if x := scopeOf(ctx); x != nil {
		return x.size
	}
	return 0
}

var errNoMessage = errors.New("not a protobuf message")
