package outbound

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestPermittedAddresses(t *testing.T) {
	allowed := prefixes("10.1.0.0/16", "fd00::/8", "0.0.0.0/0")[:2]
	for a, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "::ffff:93.184.216.34": true, "64:ff9b::5db8:d822": true,
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "fd12::1": true,
		"10.0.0.1": false, "127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false,
		"100.64.0.1": false, "100.100.100.200": false, "169.254.169.254": false, "168.63.129.16": false,
		"172.16.0.1": false, "172.31.255.255": false, "172.32.0.1": true, "192.168.1.1": false, "192.0.0.192": false,
		"192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "::": false, "::1": false, "::127.0.0.1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::7f00:1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false, "fe80::1": false, "fe80::1%eth0": false, "ff02::1": false,
		"fc00::1": false, "fd00:ec2::254": false, "fec0::1": false, "2001::1": false, "2001:db8::1": false,
		"2002:7f00:1::": false, "3fff::1": false, "5f00::1": false, "100::1": false,
	} {
		if got := permitted(netip.MustParseAddr(a), allowed); got != want {
			t.Errorf("%s: permitted is %t", a, got)
		}
	}
	all := prefixes("0.0.0.0/0", "::/0")
	for _, a := range []string{"169.254.169.254", "fe80::1", "fd00:ec2::254", "168.63.129.16", "0.0.0.0", "::",
		"224.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"} {
		if permitted(netip.MustParseAddr(a), all) {
			t.Errorf("%s: opened by an operator who allows everything", a)
		}
	}
	if permitted(netip.Addr{}, all) {
		t.Error("an invalid address is permitted")
	}
}

func TestCheckURL(t *testing.T) {
	for _, u := range []string{"https://app.example.com", "https://app.example.com:8443/a?b=c", "https://[2606::1]/x",
		"http://localhost:3000/x", "http://127.0.0.1:3000/", "http://[::1]:1/"} {
		if err := CheckURL(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	for _, u := range []string{"", "app.example.com", "/path", "http://app.example.com/", "ftp://app.example.com/",
		"file:///etc/passwd", "https:app", "https:///path", "https://a:b@app.example.com/", "https://a@app.example.com",
		"https://app.example.com/#f", "https://app.example.com/#", "https://app.example.com/a b",
		"https://app.example.com/\r\nX: y",
		"https://app.example.com:0/", "https://app.example.com:65536/", "https://app.example.com:/", "https://bücher.example/",
		"http://10.0.0.1/", "http://localhost.example.com/", `https://app.example.com\@inside/`,
		"https://app.example.com/" + strings.Repeat("a", maxURL)} {
		if CheckURL(u) == nil {
			t.Errorf("%s is accepted", u)
		}
	}
}

// relyingParty serves h over TLS on a loopback address, and returns a client that may call it.
func relyingParty(t *testing.T, h http.HandlerFunc) (*httptest.Server, Config) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, Config{Allow: prefixes("127.0.0.0/8"), Roots: roots, Timeout: time.Second}
}

// reason returns why a call failed.
func reason(t *testing.T, c *Client, url string) string {
	t.Helper()
	res, err := c.Do(context.Background(), id.New(), Request{URL: url})
	if err == nil {
		t.Errorf("%s: answered with %d", url, res.Status)
		return ""
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("%s: %v is not an Error", url, err)
	}
	return err.Error()
}

func TestACallIsPlain(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("ALL_PROXY", "http://127.0.0.1:1")
	var seen []*http.Request
	var body bytes.Buffer
	s, cfg := relyingParty(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		_, _ = body.ReadFrom(r.Body)
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b", Path: "/"})
		_, _ = w.Write([]byte("yes"))
	})
	c := New(cfg)
	for range 2 {
		res, err := c.Do(context.Background(), id.New(), Request{URL: s.URL + "/x?y=z", Body: []byte("a=b"),
			ContentType: "application/x-www-form-urlencoded", Accept: "application/json"})
		if err != nil || res.Status != 200 || string(res.Body) != "yes" {
			t.Fatalf("%+v %v", res, err)
		}
	}
	for _, r := range seen {
		h := r.Header
		if r.Method != "POST" || r.URL.String() != "/x?y=z" || h.Get("User-Agent") != userAgent ||
			len(r.Cookies()) > 0 ||
			h.Get("Content-Type") != "application/x-www-form-urlencoded" || h.Get("Accept") != "application/json" ||
			h.Get("Accept-Encoding") != "" || h.Get("Referer") != "" || r.ProtoMajor != 1 {
			t.Errorf("%s %s %v", r.Method, r.URL, h)
		}
	}
	if body.String() != "a=ba=b" {
		t.Errorf("body %q", &body)
	}
}

func TestInsideIsNotCalled(t *testing.T) {
	var calls atomic.Int64
	s, cfg := relyingParty(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	cfg.Allow = nil
	c := New(cfg)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "169.254.169.254",
		"10.0.0.1", "[64:ff9b::7f00:1]"} {
		if why := reason(t, c, "https://"+host+":"+port); !strings.Contains(why, "inside") {
			t.Errorf("%s: %s", host, why)
		}
	}
	if why := reason(t, c, "http://127.0.0.1:"+port); why != errPlain.Reason {
		t.Error(why)
	}
	if calls.Load() > 0 {
		t.Error("the server inside was called")
	}
}

// A server for development calls this machine without TLS, and nothing else that is inside.
func TestDevelopment(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	c := New(Config{Development: true})
	if res, err := c.Do(context.Background(), id.New(), Request{URL: s.URL}); err != nil || res.Status != 200 {
		t.Errorf("%+v %v", res, err)
	}
	if why := reason(t, c, "https://10.0.0.1/"); !strings.Contains(why, "inside") {
		t.Error(why)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var calls atomic.Int64
	s, cfg := relyingParty(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	res, err := New(cfg).Do(context.Background(), id.New(), Request{URL: s.URL})
	if err != nil || res.Status != 307 || calls.Load() != 1 {
		t.Errorf("%+v %v after %d calls", res, err, calls.Load())
	}
}

func TestSlowAndHugeAnswersEnd(t *testing.T) {
	stop := make(chan bool)
	s, cfg := relyingParty(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-stop
		case "/drips":
			for range 100 {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		case "/huge":
			_, _ = w.Write(make([]byte, maxBody+1))
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 2*maxHeader))
		case "/most":
			_, _ = w.Write(make([]byte, maxBody))
		}
	})
	defer close(stop)
	cfg.Timeout = 300 * time.Millisecond
	c := New(cfg)
	for path, want := range map[string]string{"/silent": "did not answer", "/drips": "did not answer",
		"/huge": "larger than", "/headers": "cannot be reached"} {
		if why := reason(t, c, s.URL+path); !strings.Contains(why, want) {
			t.Errorf("%s: %s", path, why)
		}
	}
	res, err := c.Do(context.Background(), id.New(), Request{URL: s.URL + "/most"})
	if err != nil || len(res.Body) != maxBody {
		t.Errorf("%d bytes, %v", len(res.Body), err)
	}
	if c.running != 0 || len(c.of) != 0 {
		t.Errorf("%d places are still taken: %v", c.running, c.of)
	}
}

// A connection to an address that stays silent ends with its call. net/http would keep it for ever.
func TestASilentAddressHoldsNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err = io.Copy(io.Discard, conn) // nil when the caller closes
		}
		ended <- err
	}()
	c := New(Config{Development: true, Timeout: 100 * time.Millisecond})
	if why := reason(t, c, "https://"+l.Addr().String()+"/"); !strings.Contains(why, "did not answer") {
		t.Error(why)
	}
	if err := <-ended; err != nil {
		t.Error("the connection was still open after ten seconds: ", err)
	}
}

func TestACertificateIsChecked(t *testing.T) {
	s, cfg := relyingParty(t, func(http.ResponseWriter, *http.Request) {})
	cfg.Roots = x509.NewCertPool()
	if why := reason(t, New(cfg), s.URL); !strings.Contains(why, "certificate") {
		t.Error(why)
	}
}

// One tenant whose addresses do not answer leaves places to the others.
func TestNoTenantHoldsAllPlaces(t *testing.T) {
	stop, begun := make(chan bool), make(chan bool, perTenant)
	s, cfg := relyingParty(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- true
			<-stop
		}
	})
	cfg.Timeout = 10 * time.Second
	c, slow := New(cfg), id.New()
	var all sync.WaitGroup
	for range perTenant {
		all.Go(func() { _, _ = c.Do(context.Background(), slow, Request{URL: s.URL + "/slow"}) })
	}
	for range perTenant {
		<-begun
	}
	if _, err := c.Do(context.Background(), slow, Request{URL: s.URL}); !errors.Is(err, ErrBusy) {
		t.Errorf("the tenant's next call: %v", err)
	}
	if _, err := c.Do(context.Background(), id.New(), Request{URL: s.URL}); err != nil {
		t.Errorf("another tenant's call: %v", err)
	}
	close(stop)
	all.Wait()
	c.running = atOnce
	if _, err := c.Do(context.Background(), id.New(), Request{URL: s.URL}); !errors.Is(err, ErrBusy) {
		t.Errorf("a call beyond all places: %v", err)
	}
}

// An actor has one call at once, and others of its tenant go on.
func TestAnActorHasOneCallAtOnce(t *testing.T) {
	stop, begun := make(chan bool), make(chan bool)
	s, cfg := relyingParty(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- true
			<-stop
		}
	})
	cfg.Timeout = 10 * time.Second
	c, tenant, actor := New(cfg), id.New(), id.New()
	var first sync.WaitGroup
	first.Go(func() { _, _ = c.Do(context.Background(), tenant, Request{URL: s.URL + "/slow", By: actor}) })
	<-begun
	if _, err := c.Do(context.Background(), tenant, Request{URL: s.URL, By: actor}); !errors.Is(err, ErrBusy) {
		t.Errorf("the actor's second call: %v", err)
	}
	for _, by := range []id.ID{id.New(), {}, {}} {
		if _, err := c.Do(context.Background(), tenant, Request{URL: s.URL, By: by}); err != nil {
			t.Errorf("another call: %v", err)
		}
	}
	close(stop)
	first.Wait()
	if _, err := c.Do(context.Background(), tenant, Request{URL: s.URL, By: actor}); err != nil || len(c.by) != 0 {
		t.Errorf("after the first ended: %v, %d actors", err, len(c.by))
	}
}

// rebinding returns a resolver that answers a name's first lookup with a public address, and each
// later one with an address inside.
func rebinding(t *testing.T) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	var asked atomic.Int64
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				a := [4]byte{127, 0, 0, 1}
				if asked.Add(1) == 1 {
					a = [4]byte{93, 184, 216, 34}
				}
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: a}}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}, &asked
}

// A name that was public at an earlier lookup is not called after it has moved inside: the address
// of the connection counts.
func TestARebindingNameIsNotCalled(t *testing.T) {
	var calls atomic.Int64
	s, cfg := relyingParty(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	resolver, asked := rebinding(t)
	cfg.Allow, cfg.Resolver = nil, resolver
	addrs, err := resolver.LookupNetIP(context.Background(), "ip4", "rebind.example")
	if err != nil || len(addrs) != 1 || !permitted(addrs[0], nil) {
		t.Fatalf("the first lookup: %v %v", addrs, err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	why := reason(t, New(cfg), fmt.Sprintf("https://rebind.example:%s/", port))
	if !strings.Contains(why, "inside") || asked.Load() < 2 || calls.Load() > 0 {
		t.Errorf("%s; %d lookups, %d calls", why, asked.Load(), calls.Load())
	}
}

func TestAnUnknownNameSaysSo(t *testing.T) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}}
	if why := reason(t, New(Config{Resolver: resolver}), "https://nowhere.example/"); !strings.Contains(why, "resolved") {
		t.Error(why)
	}
}
