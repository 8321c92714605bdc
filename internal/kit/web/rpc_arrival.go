package web

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// The headers of a call open it, and its message follows. gRPC waits for the message for as long as
// the client keeps the call open. inTime bounds that wait as readBody bounds the wait for a body.
// gRPC does not tell how much of a message has arrived, so the bytes of its connection count.

// inTime decodes a call's message into m by dec. It ends the call, with DeadlineExceeded, if the
// message does not arrive in time. ctx has a callContext.
func inTime(ctx context.Context, m any, dec func(any) error) error {
	w := arrival{began: time.Now(), from: originOf(ctx)}
	w.call, _ = ctx.Value(callKey{}).(*callContext)
	w.before = w.from.arrived()
	w.mu.Lock()
	w.timer = time.AfterFunc(bodyGrace, w.check)
	w.mu.Unlock()
	defer w.stop()
	return dec(m)
}

// arrival is the wait for one message.
type arrival struct {
	call   *callContext
	from   *origin
	began  time.Time
	before int64 // bytes that had arrived on the connection when the wait began

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// check ends the call if its time is over.
func (w *arrival) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if left := arrivalTime(w.from.arrived()-w.before) - time.Since(w.began); left > 0 {
		w.timer.Reset(left)
		return
	}
	w.call.end()
}

// stop ends the wait.
func (w *arrival) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}

// callContext is the context of a call that inTime can end. gRPC answers such a call with the
// status of the context's error.
type callContext struct {
	context.Context
	cancel context.CancelFunc
	late   atomic.Bool
}

type callKey struct{}

func newCallContext(ctx context.Context) *callContext {
	ctx, cancel := context.WithCancel(ctx)
	return &callContext{Context: ctx, cancel: cancel}
}

// end ends the call because its message is late.
func (c *callContext) end() {
	c.late.Store(true)
	c.cancel()
}

// Err implements context.Context.
func (c *callContext) Err() error {
	err := c.Context.Err()
	if err != nil && c.late.Load() {
		return context.DeadlineExceeded
	}
	return err
}

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// opening is a stream that waits for its first message.
type opening struct {
	grpc.ServerStream
	open bool
}

// RecvMsg implements grpc.ServerStream. A stream may be silent for long after its first message.
func (s *opening) RecvMsg(m any) error {
	if s.open {
		return s.ServerStream.RecvMsg(m)
	}
	err := inTime(s.Context(), m, s.ServerStream.RecvMsg)
	s.open = err == nil
	return err
}

// counted is a listener whose connections count the bytes that arrive.
type counted struct{ net.Listener }

// Accept implements net.Listener.
func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, &origin{Addr: c.RemoteAddr()}}, nil
}

type countedConn struct {
	net.Conn
	from *origin
}

// Read implements net.Conn.
func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.from.read.Add(int64(n))
	return n, err
}

// RemoteAddr implements net.Conn. gRPC shows a call nothing else of its connection.
func (c *countedConn) RemoteAddr() net.Addr { return c.from }

// origin is the client's end of a connection.
type origin struct {
	net.Addr
	read atomic.Int64 // bytes
}

// originOf returns the origin of a call, or nil.
func originOf(ctx context.Context) *origin {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	o, _ := p.Addr.(*origin)
	return o
}

// arrived returns how many bytes have arrived, or 0 if that is not known.
func (o *origin) arrived() int64 {
	if o == nil {
		return 0
	}
	return o.read.Load()
}
