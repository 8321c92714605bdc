package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds of a Client.
const (
	timeout   = 5 * time.Second // of a call: resolving, connecting, the whole answer
	maxHeader = 16 << 10        // bytes of the answer's header
	maxBody   = 64 << 10        // bytes of the answer's body
	atOnce    = 64              // calls that run at the same moment
	perTenant = 4               // of them for one tenant
	userAgent = "Gatehouse"
)

// Config is what an operator decides about a Client. The zero Config is for production.
type Config struct {
	Allow []netip.Prefix // internal networks that applications are in
	// Development permits plain http to a loopback address, and the loopback addresses.
	Development bool

	Roots    *x509.CertPool // nil: those of the system
	Resolver *net.Resolver  // nil: that of the system
	Timeout  time.Duration  // 0: 5 seconds
}

// Client calls addresses that tenants register. Each purpose has a client of its own, because a
// client's calls take places from each other. It is safe for concurrent use.
type Client struct {
	http    http.Client
	plain   bool // http to a loopback address is permitted
	timeout time.Duration

	mu      sync.Mutex
	running int
	of      map[id.ID]int  // by tenant
	by      map[id.ID]bool // has a call that runs: Request.By
}

// New returns a client.
func New(cfg Config) *Client {
	allowed := cfg.Allow
	if cfg.Development {
		allowed = append(prefixes("127.0.0.0/8", "::1/128"), allowed...)
	}
	c := &Client{plain: cfg.Development, timeout: cfg.Timeout, of: map[id.ID]int{}, by: map[id.ID]bool{}}
	if c.timeout == 0 {
		c.timeout = timeout
	}
	// net/http goes on to dial after its request has ended, so these have bounds of their own.
	dialer := &net.Dialer{Resolver: cfg.Resolver, Timeout: c.timeout}
	dialer.Control = func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !permitted(a.Addr(), allowed) {
			return errInside
		}
		return nil
	}
	c.http = http.Client{
		// Every field that could take something from the environment or from another call is off.
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2
			MaxResponseHeaderBytes: maxHeader, TLSHandshakeTimeout: c.timeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Request is one call.
type Request struct {
	URL         string
	Accept      string // media types of the answer
	ContentType string // of Body
	Body        []byte // nil: the call is a GET, otherwise a POST
	// By is the actor that waits for the call. It has one at once, so that no actor takes all
	// places of its tenant. Zero is for the tenant's own work.
	By id.ID
}

// Response is the answer of the address, whatever its status.
type Response struct {
	Status int
	Body   []byte // at most 64 KiB
}

// Error says why a call has no answer. Its text is a sentence for the tenant's administrators: it
// has nothing of what stands behind the address.
type Error struct {
	Reason string
	cause  error
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// Unwrap returns the cause, which is for the operator's log.
func (e *Error) Unwrap() error { return e.cause }

// ErrBusy is the error of a call that found no place. It says nothing about the address.
var ErrBusy = &Error{Reason: "Too many calls to addresses of this tenant run at the same moment. Try again later."}

var (
	errInside = errors.New("outbound: the address is inside")
	errPlain  = &Error{Reason: "Plain http is only called by a server for development. Use https."}
	errLarge  = &Error{Reason: fmt.Sprintf("The answer is larger than %d bytes.", maxBody)}
)

// Do calls an address for a tenant. It fails with an Error, or with the fault of CheckURL. A
// redirect is an answer like any other.
func (c *Client) Do(ctx context.Context, tenant id.ID, r Request) (Response, error) {
	u, err := parse(r.URL)
	if err != nil {
		return Response{}, err
	}
	if u.Scheme != "https" && !c.plain {
		return Response{}, errPlain
	}
	if !c.enter(tenant, r.By) {
		return Response{}, ErrBusy
	}
	defer c.leave(tenant, r.By)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	method := http.MethodGet
	if r.Body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Response{}, fmt.Errorf("outbound: %w", err)
	}
	req.Header.Set("User-Agent", userAgent)
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return Response{}, c.explain(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return Response{}, c.explain(ctx, err)
	case len(body) > maxBody:
		return Response{}, errLarge
	}
	return Response{Status: res.StatusCode, Body: body}, nil
}

// ReadJSON returns the JSON that answers a call. Its errors are those of Do, as an Error each.
func (c *Client) ReadJSON(ctx context.Context, tenant id.ID, r Request) ([]byte, error) {
	res, err := c.Do(ctx, tenant, r)
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return nil, &Error{Reason: f.Reason}
	}
	switch {
	case err != nil:
		return nil, err
	case res.Status != http.StatusOK:
		return nil, &Error{Reason: fmt.Sprintf("The address answered with status %d instead of 200.", res.Status)}
	case !json.Valid(res.Body):
		return nil, &Error{Reason: "The answer is not JSON."}
	}
	return res.Body, nil
}

// explain returns the Error for what went wrong.
func (c *Client) explain(ctx context.Context, err error) error {
	reason := "The address cannot be reached, or does not answer as a web server does."
	var unknown *net.DNSError
	var certificate *tls.CertificateVerificationError
	slow, _ := errors.AsType[net.Error](err) // the dialer has the same time, and can be the first to say so
	switch {
	case errors.Is(err, errInside):
		reason = "The address is inside a network that this server does not call for tenants. " +
			"An operator can allow it with --outbound-allow."
	case ctx.Err() != nil, slow != nil && slow.Timeout():
		reason = fmt.Sprintf("The address did not answer within %d seconds.", (c.timeout+time.Second-1)/time.Second)
	case errors.As(err, &unknown):
		reason = "The name of the host cannot be resolved."
	case errors.As(err, &certificate):
		reason = "The certificate of the address is not valid, or its authority is not trusted by this server."
	}
	return &Error{reason, err}
}

// enter takes a place for a call of a tenant, by an actor or none. It reports whether there was
// one.
func (c *Client) enter(tenant, by id.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running >= atOnce || c.of[tenant] >= perTenant || c.by[by] {
		return false
	}
	c.running++
	c.of[tenant]++
	if !by.IsZero() {
		c.by[by] = true
	}
	return true
}

func (c *Client) leave(tenant, by id.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	delete(c.by, by)
	if c.of[tenant]--; c.of[tenant] == 0 {
		delete(c.of, tenant)
	}
}
