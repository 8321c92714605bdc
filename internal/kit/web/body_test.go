package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// behindProxy serves f on a real connection, behind a proxy that reports its clients.
func behindProxy(t *testing.T, f *fixture) *httptest.Server {
	t.Helper()
	f.Proxies.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s
}

const head = "POST /t/acme/form HTTP/1.1\r\nHost: id.test\r\nX-Forwarded-For: %s\r\n" +
	"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"

// begin sends a request's head and what is there of its body.
func begin(t *testing.T, s *httptest.Server, client string, length int, part string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	fmt.Fprintf(c, head, client, length)
	_, _ = io.WriteString(c, part)
	return c
}

func statusOf(t *testing.T, c net.Conn) int {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// Requests whose bodies never come hold no place, and their sender's share of waiting ends.
func TestStalledBodiesLeaveThePlaces(t *testing.T) {
	f := newFixture(t)
	f.Limits.Concurrent, f.Limits.Arriving = 8, 64
	f.Ready()
	s := behindProxy(t, f)
	var stalled []net.Conn
	for range 100 {
		stalled = append(stalled, begin(t, s, "192.0.2.66", 3, ""))
	}
	if got := statusOf(t, stalled[99]); got != http.StatusTooManyRequests {
		t.Errorf("more stalled requests than the share of one client: %d", got)
	}
	if used := f.arriving.Used(); used > 4 {
		t.Errorf("one client has %d of 64 bodies on their way, want at most 4", used)
	}
	for i := range 10 {
		c := begin(t, s, fmt.Sprintf("198.51.100.%d", i+1), 3, "a=1")
		if got := statusOf(t, c); got != http.StatusOK {
			t.Errorf("another client beside them: %d", got)
		}
	}
	if used := f.places.Used(); used != 0 {
		t.Errorf("stalled requests hold %d places", used)
	}
}

// One client cannot use up the places of requests that are answered.
func TestAClientHasAShareOfThePlaces(t *testing.T) {
	f := newFixture(t)
	f.Limits.Concurrent = 8
	f.Ready()
	leave, entered := make(chan struct{}), make(chan struct{}, 8)
	f.Tenant.Group(Page, nil).HandleFunc("GET /slow", func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	from := func(a string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = a + ":1" } }
	done := make(chan struct{})
	for range 2 {
		go func() { f.do("GET", "/t/acme/slow", from("192.0.2.1")); done <- struct{}{} }()
		<-entered
	}
	if w := f.do("GET", "/t/acme/where", from("192.0.2.1")); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("a third request of one client at once: %d", w.Code)
	}
	if w := f.do("GET", "/t/acme/where", from("198.51.100.1")); w.Code != 200 {
		t.Errorf("another client: %d", w.Code)
	}
	close(leave)
	<-done
	<-done
}

// pipes is a listener whose connections are in memory, for tests with a clock of their own.
type pipes struct {
	calls chan net.Conn
	once  sync.Once
	end   chan struct{}
}

func newPipes() *pipes { return &pipes{calls: make(chan net.Conn), end: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.end) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.calls <- there
	return here
}

// A body ends at its time: 5 seconds, and one for each 64 KiB. One that keeps that pace arrives.
func TestABodyMustArriveInTime(t *testing.T) {
	const second = bodyRate // bytes
	for name, tc := range map[string]struct {
		length int
		pause  time.Duration // between parts
		part   int           // bytes
		status int
		after  time.Duration
	}{
		"stalls at once":       {10, time.Hour, 2, 408, bodyGrace},
		"drips":                {1 << 19, time.Second, 100, 408, bodyGrace},
		"stalls in the middle": {1 << 20, time.Hour, 4 * second, 408, bodyGrace + 4*time.Second},
		"keeps the pace":       {15 * second, time.Second, second, 200, 14 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				l := newPipes()
				s := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
				go func() { _ = s.Serve(l) }()
				c := l.dial()
				start := time.Now()
				answered := make(chan struct{})
				go func() {
					fmt.Fprintf(c, head, "192.0.2.1", tc.length)
					for sent := 0; sent < tc.length; sent += tc.part {
						part := min(tc.part, tc.length-sent)
						if _, err := io.WriteString(c, strings.Repeat("a", part)); err != nil {
							return
						}
						select {
						case <-time.After(tc.pause):
						case <-answered:
							return
						}
					}
				}()
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				// The time is extended by steps of half a second.
				took := time.Since(start)
				if resp.StatusCode != tc.status || took > tc.after || took < tc.after-time.Second/2 {
					t.Errorf("%d after %s, want %d after %s", resp.StatusCode, took, tc.status, tc.after)
				}
				close(answered)
				_, _ = c.Close(), s.Close()
				time.Sleep(time.Second) // the server's goroutines end
			})
		})
	}
}

// A connection goes on after a body of any size that is allowed.
func TestBodiesOfAllSizes(t *testing.T) {
	f := newFixture(t)
	s := behindProxy(t, f)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := s.Client()
		target := s.URL
		if proto == "HTTP/2.0" {
			secure := httptest.NewUnstartedServer(f)
			secure.EnableHTTP2 = true
			secure.StartTLS()
			defer secure.Close()
			client, target = secure.Client(), secure.URL
		}
		for _, n := range []int{0, 1, firstBuffer - 1, firstBuffer, firstBuffer + 1, 100_000, 1<<20 - 2} {
			for _, chunked := range []bool{false, true} {
				var body io.Reader = strings.NewReader("a=" + strings.Repeat("x", n))
				if chunked {
					body = io.MultiReader(body)
				}
				resp, err := client.Post(target+"/t/acme/form", "application/x-www-form-urlencoded", body)
				if err != nil {
					t.Fatalf("%s, %d bytes: %v", proto, n, err)
				}
				got, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 || len(got) != n+2 || resp.Proto != proto {
					t.Errorf("%s, %d bytes, chunked %t: %s %d, %d bytes back", proto, n, chunked, resp.Proto,
						resp.StatusCode, len(got))
				}
			}
		}
	}
	if used := f.memory.Used(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}

// A body that says it is too large is refused without waiting for any of it.
func TestADeclaredBodyIsNotRead(t *testing.T) {
	f := newFixture(t)
	s := behindProxy(t, f)
	// One that is waited for gets 408.
	if got := statusOf(t, begin(t, s, "192.0.2.1", 2<<20, "a=1")); got != http.StatusBadRequest {
		t.Errorf("a body of 2 MiB: %d", got)
	}
}

func TestMemoryOfBodiesIsShared(t *testing.T) {
	f := newFixture(t)
	f.Limits.Memory = 1 << 20
	f.Ready()
	post := func(a string, n int) int {
		return f.do("POST", "/t/acme/form", func(r *http.Request) {
			r.RemoteAddr = a + ":1"
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = io.NopCloser(bytes.NewReader(bytes.Repeat([]byte("x"), n)))
		}).Code
	}
	if got := post("192.0.2.1", 500_000); got != http.StatusTooManyRequests {
		t.Errorf("half of the memory for one client: %d", got)
	}
	if got := post("192.0.2.1", 10_000); got != http.StatusOK {
		t.Errorf("a small body: %d", got)
	}
	if used := f.memory.Used(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}

// A form of our own page is accepted whatever Host a proxy sends, and another site's is not.
func TestFormsBehindProxiesThatRewriteHost(t *testing.T) {
	f := newFixture(t)
	f.PublicURL, _ = url.Parse("https://id.test")
	f.Sites = secureSites{f.Sites}
	f.Ready()
	post := func(host, path, origin string) int {
		return f.do("POST", path, func(r *http.Request) {
			r.Host, r.TLS = host, &tls.ConnectionState{}
			r.Header.Set("Origin", origin)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = io.NopCloser(strings.NewReader("a=1"))
		}).Code
	}
	for _, host := range []string{"id.test", "id.test:443", "127.0.0.1:8080", "gatehouse:8080"} {
		if got := post(host, "/t/acme/form", "https://id.test"); got != 200 {
			t.Errorf("our own form, Host %s: %d", host, got)
		}
		for _, origin := range []string{"https://evil.test", "https://id.test:8443", "null", "https://login.acme.test"} {
			if got := post(host, "/t/acme/form", origin); got != 403 {
				t.Errorf("Origin %s, Host %s: %d", origin, host, got)
			}
		}
	}
	for _, host := range []string{"login.acme.test", "login.acme.test:443"} {
		if got := post(host, "/form", "https://login.acme.test"); got != 200 {
			t.Errorf("the domain's own form, Host %s: %d", host, got)
		}
		if got := post(host, "/form", "https://id.test"); got != 403 {
			t.Errorf("a form of the public host at the domain, Host %s: %d", host, got)
		}
	}
}

// secureSites has the sites on https.
type secureSites struct{ SiteResolver }

func (s secureSites) BySlug(ctx context.Context, slug string) (Site, error) {
	site, err := s.SiteResolver.BySlug(ctx, slug)
	site.Base = strings.Replace(site.Base, "http:", "https:", 1)
	return site, err
}

func (s secureSites) ByDomain(ctx context.Context, host string) (Site, error) {
	site, err := s.SiteResolver.ByDomain(ctx, host)
	site.Base = strings.Replace(site.Base, "http:", "https:", 1)
	return site, err
}

// A client cannot use up the connections either. Those of a proxy are not counted.
func TestConnectionsOfAClient(t *testing.T) {
	for name, tc := range map[string]struct {
		proxies Proxies
		want    int
	}{
		"a client": {Proxies{}, 3},
		"a proxy":  {Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, 5},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: newFixture(t), ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(shared(l, 3, tc.proxies)) }()
		defer func() { _ = s.Close() }()
		open := 0
		var first net.Conn
		for range 5 {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			fmt.Fprint(c, "GET /t/acme/where HTTP/1.1\r\nHost: id.test\r\n\r\n")
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				open++
				first = c
			}
		}
		if open != tc.want {
			t.Errorf("%s: %d connections of 5 answered, want %d", name, open, tc.want)
		}
		_ = first.Close()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(c, "GET /t/acme/where HTTP/1.1\r\nHost: id.test\r\nConnection: close\r\n\r\n")
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
			_ = c.Close()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: a closed connection's place is not free: %v", name, err)
			}
		}
	}
}
