package bench

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
)

// proxy forwards Postgres connections and counts round trips: how often the client waits for
// answers to everything sent so far. That is a Sync of the extended protocol, which ends each
// batch, or a simple Query (PostgreSQL documentation, "Message Flow"). It does not count the
// preparation of a statement, which happens once for a connection.
type proxy struct {
	listener net.Listener
	trips    atomic.Int64
}

// countingProxy listens on loopback in front of dsn's server. It returns itself and the DSN that
// leads through it.
func countingProxy(t testing.TB, dsn string) (*proxy, string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, "", err
	}
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &proxy{listener: listener}
	go p.accept(server)
	u.Host = listener.Addr().String()
	// Encrypted messages cannot be counted.
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return p, u.String(), nil
}

func (p *proxy) accept(server string) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = client.Close() }()
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				return
			}
			defer func() { _ = upstream.Close() }()
			go func() {
				_, _ = io.Copy(client, upstream)
				_ = client.Close()
			}()
			_ = p.count(upstream, client)
		}()
	}
}

// count copies the client's messages and counts those that end a round trip. It copies the pieces
// as they arrive, so that a batch sent in one write is forwarded in one write.
func (p *proxy) count(to io.Writer, from io.Reader) error {
	var scan scanner
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.trips.Add(scan.feed(buffer[:n]))
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// scanner parses the frontend's messages. The first has a length and no type. Every other one has a
// type byte and a length that counts itself.
type scanner struct {
	started  bool
	head     []byte // type and length gathered so far
	skip     int    // bytes of the current message's body still to come
	prepares bool   // since the last Sync
}

// feed returns how many round trips end in these bytes.
func (s *scanner) feed(b []byte) int64 {
	var trips int64
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(b))
			s.skip -= n
			b = b[n:]
			continue
		}
		s.head = append(s.head, b[0])
		b = b[1:]
		switch {
		case !s.started && len(s.head) == 4:
			s.skip = int(binary.BigEndian.Uint32(s.head)) - 4
			s.started, s.head = true, s.head[:0]
		case s.started && len(s.head) == 5:
			switch s.head[0] {
			case 'P': // a statement is prepared, once per connection
				s.prepares = true
			case 'S', 'Q':
				if !s.prepares {
					trips++
				}
				s.prepares = false
			}
			s.skip = int(binary.BigEndian.Uint32(s.head[1:])) - 4
			s.head = s.head[:0]
		}
	}
	return trips
}
