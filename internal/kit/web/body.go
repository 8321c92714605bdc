package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// How fast a body or a gRPC message must arrive: within bodyGrace and one second more for each
// bodyRate bytes, and in bodyTime at most. A body of 1 MiB may take 21 s.
const (
	bodyGrace = 5 * time.Second
	bodyRate  = 64 << 10 // bytes a second
	bodyTime  = 25 * time.Second
)

// arrivalTime returns how long a body or a message may take, of which n bytes have arrived.
func arrivalTime(n int64) time.Duration {
	return min(bodyGrace+time.Duration(n)*time.Second/bodyRate, bodyTime)
}

// firstBuffer is the size of the pooled buffers, in bytes. Most bodies fit into one.
const firstBuffer = 4 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, firstBuffer); return &b }}

// release returns the buffer of the body to the pool. Doors copy what they keep of a body.
func (x *exchange) release() {
	if x.pooled != nil {
		x.body = nil
		buffers.Put(x.pooled)
		x.pooled = nil
	}
}

// receive waits for the request's body and keeps it. A larger one than Limits.Body is left to the
// door, which refuses it, or reads it after AllowBody. It returns the zero Refusal if the request
// may go on.
func (h *Handler) receive(x *exchange, r *http.Request) Refusal {
	if r.Body == nil || r.Body == http.NoBody {
		return Refusal{}
	}
	if r.ContentLength > h.Limits.Body {
		x.body, r.Body = r.Body, tooLarge{limit: h.Limits.Body, writer: x.writer}
		return Refusal{}
	}
	a := x.caller.Address
	switch h.arriving.Take(a, 1) {
	case network.Full:
		x.hangUp()
		return busy
	case network.TooMany:
		h.Metrics.limited.Inc()
		x.hangUp()
		return tooManyAtOnce
	case network.Taken:
	}
	defer h.arriving.Give(a, 1)
	x.pooled = buffers.Get().(*[]byte)
	got, whole, refusal := h.readBody(x, r.Body, *x.pooled)
	if refusal.Status != 0 {
		x.hangUp()
		return refusal
	}
	arrived := &x.arrived
	arrived.Reset(got)
	x.body = io.NopCloser(arrived)
	if !whole { // the door reads the rest, within the server's own time
		_ = http.NewResponseController(x.writer).SetReadDeadline(time.Now().Add(ReadTimeout))
		x.body = readCloser{io.MultiReader(arrived, r.Body), r.Body}
		r.Body = http.MaxBytesReader(x.writer, x.body, h.Limits.Body)
	} else {
		r.Body = x.body
	}
	x.At = time.Now().Add(h.Limits.Time)
	return Refusal{}
}

// readBody reads at most Limits.Body bytes of body into buf, or into larger buffers that it counts.
// It reports whether that was the whole body.
func (h *Handler) readBody(x *exchange, body io.Reader, buf []byte) ([]byte, bool, Refusal) {
	// Tests have writers without deadlines. A server's own has them.
	conn, start := http.NewResponseController(x.writer), time.Now()
	allow := func(n int) {
		_ = conn.SetReadDeadline(start.Add(arrivalTime(int64(n))))
	}
	allow(0)
	n, allowed := 0, 0
	for {
		if n == len(buf) {
			if int64(n) >= h.Limits.Body {
				return buf[:n], false, Refusal{}
			}
			larger := min(2*int64(n), h.Limits.Body)
			if h.memory.Take(x.caller.Address, larger) != network.Taken {
				return nil, false, tooManyAtOnce
			}
			x.kept += larger
			buf = append(make([]byte, 0, larger), buf...)[:larger]
		}
		m, err := body.Read(buf[n:min(int64(len(buf)), h.Limits.Body)])
		n += m
		switch {
		case err == io.EOF: //nolint:errorlint // io.Reader returns it as it is
			_ = conn.SetReadDeadline(time.Time{})
			return buf[:n], true, Refusal{}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, false, Refusal{Status: http.StatusRequestTimeout, Code: "request.too_slow",
				Reason: "The body of the request did not arrive in time. Send it again, at once."}
		case err != nil:
			return nil, false, Refusal{Status: http.StatusBadRequest, Code: "request.malformed",
				Reason: "The body of the request could not be read to its end."}
		case int64(n) >= h.Limits.Body:
			return buf[:n], false, Refusal{}
		case n-allowed >= bodyRate/2:
			allowed = n
			allow(n)
		}
	}
}

// hangUp makes the server close the connection after the answer, without waiting for the body.
func (x *exchange) hangUp() {
	x.writer.Header().Set("Connection", "close")
	_ = http.NewResponseController(x.writer).SetReadDeadline(time.Now().Add(time.Second))
}

// tooLarge is a body that its sender declares to be larger than limit. It is not read.
type tooLarge struct {
	limit  int64
	writer http.ResponseWriter
}

// Read implements io.Reader.
func (b tooLarge) Read([]byte) (int, error) {
	b.writer.Header().Set("Connection", "close")
	return 0, &http.MaxBytesError{Limit: b.limit}
}

// Close implements io.Closer.
func (b tooLarge) Close() error { return nil }

type readCloser struct {
	io.Reader
	io.Closer
}
