package pdpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Bounds on what callers may use. The server has bounds of its own.
const (
	maxAtOnce      = 1024    // requests
	maxConnections = 1024    // of each listener
	maxRequest     = 1 << 20 // bytes of a request
	maxReply       = 16 << 20
	maxHeader      = 32 << 10
	callTime       = 30 * time.Second
	drainTime      = 10 * time.Second
	watchEvery     = 5 * time.Second
	patience       = 30 * time.Second // for a server that does not answer at the start
)

const tooMany = "Too many requests are under way. Wait a moment and try again."

// None is the address of a listener that is off.
const None = "none"

// Options say for which application the proxy asks, and where it listens.
type Options struct {
	URL          string // issuer of the tenant
	GRPC         string // host:port of the decision API over gRPC; default: see grpcAddress
	ClientID     string
	ClientSecret secret.String
	Listen       string // "127.0.0.1:3593", "unix:/run/pdp.sock" or None
	HTTPListen   string
	AllowNetwork bool // may listen on addresses that other machines reach
	Log          *slog.Logger
}

// Proxy forwards decision requests with the token of an application. Open makes one.
type Proxy struct {
	Options
	base      *url.URL
	tokens    *source
	conn      *grpc.ClientConn
	transport *http.Transport
	health    *health.Server
	serving   atomic.Bool
	places    chan struct{}

	overGRPC, overHTTP net.Listener // nil if off
}

// Open checks the options, binds the listeners, gets a token and calls the server once. It waits a
// while for a server that does not answer. Its errors say what to do.
func Open(ctx context.Context, o Options) (*Proxy, error) {
	o.URL = strings.TrimSuffix(o.URL, "/")
	base, err := baseOf(o.URL)
	switch {
	case err != nil:
		return nil, err
	case o.ClientID == "" || o.ClientSecret.IsZero():
		return nil, errors.New("name the machine application with --client-id or GATEHOUSE_CLIENT_ID, and its secret " +
			"with --client-secret-file, GATEHOUSE_CLIENT_SECRET_FILE or GATEHOUSE_CLIENT_SECRET")
	case o.Listen == None && o.HTTPListen == None:
		return nil, errors.New("both listeners are off: give an address to --listen or --http-listen")
	}
	if o.GRPC == "" {
		o.GRPC = grpcAddress(base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxResponseHeaderBytes = 64, maxHeader
	p := &Proxy{
		Options: o, base: base, transport: transport, health: health.NewServer(),
		places: make(chan struct{}, maxAtOnce),
		tokens: &source{issuer: o.URL, id: o.ClientID, secret: o.ClientSecret, clock: clock.System{},
			client: &http.Client{
				Transport: transport,
				CheckRedirect: func(*http.Request, []*http.Request) error { // it would carry the secret elsewhere
					return http.ErrUseLastResponse
				}}},
	}
	security := insecure.NewCredentials()
	if base.Scheme == "https" {
		security = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	if p.conn, err = grpc.NewClient(o.GRPC, grpc.WithTransportCredentials(security)); err != nil {
		return nil, fmt.Errorf("--grpc: %w", err)
	}
	p.report(false)
	if err := p.bind(); err != nil {
		p.close()
		return nil, err
	}
	if err := p.reach(ctx); err != nil {
		p.close()
		return nil, err
	}
	p.report(true)
	return p, nil
}

// grpcAddress returns where the decision API over gRPC is if no flag names it. Behind an https URL
// a proxy usually shares one port between both. A server for this machine has a default port.
func grpcAddress(base *url.URL) string {
	switch {
	case base.Scheme == "http":
		return net.JoinHostPort(base.Hostname(), "8082")
	case base.Port() != "":
		return base.Host
	}
	return net.JoinHostPort(base.Hostname(), "443")
}

func (p *Proxy) bind() error {
	var err error
	if p.Listen != None {
		if p.overGRPC, err = p.listen("--listen", p.Listen); err != nil {
			return err
		}
	}
	if p.HTTPListen != None {
		p.overHTTP, err = p.listen("--http-listen", p.HTTPListen)
	}
	return err
}

// listen binds an address of this machine. Other machines need AllowNetwork.
func (p *Proxy) listen(flag, address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(flag, path)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %q cannot be listened on: give HOST:PORT, unix:PATH or none", flag, address)
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) && !p.AllowNetwork {
		return nil, fmt.Errorf("%s: other machines can reach %s, and its callers need no credentials. Listen on "+
			"127.0.0.1, [::1] or unix:PATH, or say --allow-network", flag, address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return netutil.LimitListener(l, maxConnections), nil
}

// socketMode lets the user and the group of the proxy connect.
const socketMode = 0o660

// listenUnix binds a socket, in the place of one that a proxy left when it was killed.
func listenUnix(flag, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("%s: another process listens on %s", flag, path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return netutil.LimitListener(l, maxConnections), nil
}

// reach gets the first token and calls the server once for each listener. A refusal ends it at
// once, and it tries again if the server does not answer.
func (p *Proxy) reach(ctx context.Context) error {
	begun, said := p.tokens.clock.Now(), false
	for {
		err := p.reachOnce(ctx)
		if err == nil || errors.As(err, new(refusal)) {
			return err
		}
		if p.tokens.clock.Now().Sub(begun) > patience {
			return fmt.Errorf("%w. Start the server, or correct --url", err)
		}
		if !said {
			p.Log.Warn("waiting for the server", "error", err)
			said = true
		}
		select {
		case <-time.After(fetchPause + fetchPause/10):
		case <-ctx.Done():
			return errStopped
		}
	}
}

func (p *Proxy) reachOnce(ctx context.Context) error {
	if _, err := p.tokens.current(); err != nil {
		if _, err := p.tokens.replace(ctx, p.tokens.last()); err != nil {
			return err
		}
	}
	if err := p.checkHTTP(ctx); err != nil || p.overGRPC == nil {
		return err
	}
	return p.checkGRPC(ctx)
}

// Addr returns the addresses of the gRPC and of the HTTP listener, nil for one that is off.
func (p *Proxy) Addr() (net.Addr, net.Addr) {
	var g, h net.Addr
	if p.overGRPC != nil {
		g = p.overGRPC.Addr()
	}
	if p.overHTTP != nil {
		h = p.overHTTP.Addr()
	}
	return g, h
}

// Serve forwards requests until ctx ends. Then it gives those under way a time to end, and returns
// nil.
func (p *Proxy) Serve(ctx context.Context) error {
	defer p.close()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { p.watch(ctx); return nil })
	if p.overGRPC != nil {
		server := p.newGRPC()
		tasks.Go(func() error { return server.Serve(p.overGRPC) })
		tasks.Go(func() error {
			<-ctx.Done()
			p.health.Shutdown()
			cut := time.AfterFunc(drainTime, server.Stop)
			defer cut.Stop()
			server.GracefulStop()
			return nil
		})
	}
	if p.overHTTP != nil {
		server := &http.Server{Handler: p.newHTTP(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: callTime,
			WriteTimeout: 2 * callTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug)}
		tasks.Go(func() error {
			if err := server.Serve(p.overHTTP); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		tasks.Go(func() error {
			<-ctx.Done()
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
			defer cancel()
			return server.Shutdown(end)
		})
	}
	return tasks.Wait()
}

// watch renews the token before it ends, and asks the server whether it answers.
func (p *Proxy) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(fetchPause/10, min(watchEvery, p.tokens.due()))):
		}
		if p.tokens.due() <= 0 {
			_, err := p.tokens.replace(ctx, p.tokens.last())
			if err != nil && !errors.Is(err, errTooSoon) && ctx.Err() == nil {
				p.Log.Warn("the token was not renewed", "error", err)
			}
		}
		_, err := p.tokens.current()
		p.report(err == nil && p.alive(ctx))
	}
}

// report tells health checks whether decisions can be had.
func (p *Proxy) report(serving bool) {
	if p.serving.Swap(serving) != serving {
		p.Log.Info("health changed", "serving", serving)
	}
	answer := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		answer = healthpb.HealthCheckResponse_SERVING
	}
	for _, service := range append([]string{""}, services...) {
		p.health.SetServingStatus(service, answer)
	}
}

// enter takes one of the places for requests. It returns false if there is none.
func (p *Proxy) enter() bool {
	select {
	case p.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p *Proxy) leave() { <-p.places }

func (p *Proxy) close() {
	for _, l := range []net.Listener{p.overGRPC, p.overHTTP} {
		if l != nil {
			_ = l.Close()
		}
	}
	_ = p.conn.Close()
	p.transport.CloseIdleConnections()
}
