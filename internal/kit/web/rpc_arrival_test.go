package web

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
)

// rawCall opens a call on a connection of its own, without its message. It returns the connection's
// framer, and the channel that gets the call's gRPC status.
func rawCall(t *testing.T, c net.Conn, method string) (*http2.Framer, <-chan string) {
	t.Helper()
	ended := make(chan string, 1)
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	go func() {
		defer close(ended)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.MetaHeadersFrame); ok {
				for _, field := range h.Fields {
					if field.Name == "grpc-status" {
						ended <- field.Value
						return
					}
				}
			}
		}
	}()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", method},
		{":authority", "id.test"}, {"content-type", "application/grpc"}, {"te", "trailers"},
		{"authorization", "Bearer good"}} {
		if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	return f, ended
}

// A call whose message does not come ends as a request does whose body does not come, and holds no
// place afterwards. That holds with a token and without, for calls and for streams.
func TestAMessageMustArriveInTime(t *testing.T) {
	text, err := proto.Marshal(&healthpb.HealthCheckRequest{Service: strings.Repeat("x", 600_000)})
	if err != nil {
		t.Fatal(err)
	}
	long := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
	const call, chunk, late, soon = "/test.Calls/Do", 16 << 10, codes.DeadlineExceeded, bodyGrace + time.Second
	const check, watch = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
	const reflect = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	for name, tc := range map[string]struct {
		method string
		bytes  int           // of the message that are sent, in chunks
		pause  time.Duration // after each chunk
		status codes.Code
		least  time.Duration
		most   time.Duration
	}{
		"no message":                    {call, 0, 0, late, bodyGrace, bodyGrace},
		"half of a header":              {call, 3, 0, late, bodyGrace, soon},
		"part of a message":             {call, 2 * chunk, 0, late, bodyGrace, soon},
		"a drip":                        {call, 100 * chunk, 10 * time.Second, late, bodyGrace, soon},
		"a pace that is kept":           {call, len(long), time.Second / 4, codes.OK, 8 * time.Second, bodyTime},
		"a check of health":             {check, 0, 0, late, bodyGrace, bodyGrace},
		"a watch of health":             {watch, 0, 0, late, bodyGrace, bodyGrace},
		"reflection without a question": {reflect, 0, 0, late, bodyGrace, bodyGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &RPC{Address: "127.0.0.1:0", Metrics: NewMetrics(prometheus.NewRegistry()),
					Log: slog.New(slog.DiscardHandler), Clock: &clock.Fake{}}
				of := &calls{}
				s.Register(of.desc(), nil,
					func(ctx context.Context, _ []string) (context.Context, error) { return ctx, nil })
				if err := s.Listen(); err != nil {
					t.Fatal(err)
				}
				_ = s.listener.Close()
				l := newPipes()
				s.listener = counted{l}
				ctx, cancel := context.WithCancel(t.Context())
				served := make(chan error, 1)
				go func() { served <- s.Serve(ctx) }()
				c := l.dial()
				start := time.Now()
				f, ended := rawCall(t, c, tc.method)
				answered := make(chan struct{})
				go func() {
					for rest := long[:min(tc.bytes, len(long))]; len(rest) > 0; {
						n := min(chunk, len(rest))
						if f.WriteData(1, n == len(rest) && tc.bytes >= len(long), rest[:n]) != nil {
							return
						}
						rest = rest[n:]
						select {
						case <-time.After(tc.pause):
						case <-answered:
							return
						}
					}
				}()
				synctest.Wait()
				if held := s.arriving.Used() + s.watching.Used(); held != 1 || s.places.Used() != 0 {
					t.Errorf("while it waits: %d places for that, %d of those that are answered", held,
						s.places.Used())
				}
				got := <-ended
				took := time.Since(start)
				close(answered)
				if got != strconv.Itoa(int(tc.status)) || took < tc.least || took > tc.most {
					t.Errorf("status %s after %s, want %d after %s to %s", got, took, tc.status, tc.least, tc.most)
				}
				synctest.Wait()
				if s.arriving.Used()+s.watching.Used()+s.places.Used() != 0 {
					t.Error("places are left over")
				}
				_ = c.Close()
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
