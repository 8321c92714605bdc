package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// lines receives each line of a log.
type lines chan string

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// A request whose client went away is not a failure of the server. Whatever else ended a context,
// or failed besides, is one.
func TestAbandonedRequests(t *testing.T) {
	fail := func(w http.ResponseWriter, r *http.Request, err error) {
		NoteError(r.Context(), err)
		Refuse(w, r, refusalOf(err))
	}
	for _, c := range []struct {
		name   string
		leaves bool // the client does
		cut    bool // the server cuts the request off
		door   http.HandlerFunc
		want   []string
	}{
		{"the client leaves", true, false, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			fail(w, r, r.Context().Err())
		}, []string{"level=INFO", "status=499", `error="client closed the request"`}},
		{"the client leaves while something fails", true, false, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			NoteError(r.Context(), errors.New("broken"))
			fail(w, r, r.Context().Err())
		}, []string{"level=ERROR", "status=500", "error=broken"}},
		{"the client leaves and a door panics", true, false, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			NoteError(r.Context(), r.Context().Err())
			panic("broken")
		}, []string{"level=ERROR", "status=500", "broken"}},
		{"a context of a door's own ends", false, false, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			fail(w, r, ctx.Err())
		}, []string{"level=ERROR", "status=500", `error="context canceled"`}},
		{"the request's time ends", false, false, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			fail(w, r, r.Context().Err())
		}, []string{"level=ERROR", "status=500", "deadline exceeded"}},
		{"the server ends", false, true, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			fail(w, r, r.Context().Err())
		}, []string{"level=ERROR", "status=500", `error="context canceled"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, reg := make(lines, 10), prometheus.NewRegistry()
			routes, began := NewRoutes(nil), make(chan struct{})
			routes.Group(Page, nil).HandleFunc("GET /door", func(w http.ResponseWriter, r *http.Request) {
				close(began)
				c.door(w, r)
			})
			h := (&Handler{Sites: sites{acme: id.New()}, PublicURL: &url.URL{Scheme: "http", Host: "id.test"},
				Tenant: routes, Metrics: NewMetrics(reg), Log: slog.New(slog.NewTextHandler(log, nil)),
				Clock: clock.System{}, Limits: Limits{Time: 5 * time.Second}}).Ready()
			if !c.leaves && !c.cut {
				h.Limits.Time = 100 * time.Millisecond
			}
			s := &Server{Name: "test", Address: "127.0.0.1:0", Handler: h, Log: slog.New(slog.DiscardHandler),
				Clock: clock.System{}, Drain: time.Millisecond}
			if err := s.Listen(); err != nil {
				t.Fatal(err)
			}
			serving, end := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- s.Serve(serving) }()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.Addr().String()+"/t/acme/door", nil)
			r.Host = "id.test"
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
					_ = resp.Body.Close()
				}
			}()
			<-began
			switch {
			case c.leaves:
				leave()
			case c.cut:
				end()
			}
			<-answered
			line := <-log
			end()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			for _, words := range c.want {
				if !strings.Contains(line, words) {
					t.Errorf("the log lacks %s: %s", words, line)
				}
			}
			w := httptest.NewRecorder()
			OpsHandler(s.Log, reg, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			status := strings.TrimPrefix(c.want[1], "status=")
			if !strings.Contains(w.Body.String(), `status="`+status+`"`) {
				t.Errorf("no status %s in the metrics", status)
			}
		})
	}
}

// After the request's time the server ends reads itself, so a connection that ends then is our end.
func TestAClientLeavesWithinTheRequestsTime(t *testing.T) {
	for name, c := range map[string]struct {
		left time.Duration // of the request's time
		gone bool
	}{"within": {time.Hour, true}, "after": {-time.Second, false}} {
		ctx, leave := context.WithCancel(t.Context())
		s := &scope{Bounded: clock.Bounded{Context: ctx, At: time.Now().Add(c.left)}}
		leave()
		s.note(ctx.Err())
		if s.abandoned() != c.gone || (s.err == nil) != c.gone {
			t.Errorf("%s: abandoned %t, error %v", name, s.abandoned(), s.err)
		}
	}
}

// A call whose client went away is not a failure either.
func TestAbandonedCalls(t *testing.T) {
	f := newRPC(t, func(*RPC) {}, insecure.NewCredentials())
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-f.holding
		leave()
	}()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer good")
	err := f.conn.Invoke(ctx, "/test.Calls/Do", &healthpb.HealthCheckRequest{Service: "leave"},
		&healthpb.HealthCheckResponse{})
	if err == nil {
		t.Error("answered")
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if l := f.log.String(); !strings.Contains(l, "level=INFO") || !strings.Contains(l, "status=1 ") ||
		!strings.Contains(l, "client closed the request") {
		t.Errorf("log: %s", l)
	}
}
