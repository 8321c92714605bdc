package web

import (
	"math"
	"net"
	"net/netip"
	"sync"

	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// sharedListener closes the connections of a client that has its share of them already. Without
// it one client could use up the process's file descriptors by connections that say nothing.
type sharedListener struct {
	net.Listener
	places  *network.Places
	proxies Proxies
}

// shared returns l with at most perClient connections of one client. With 0 it does not count them.
func shared(l net.Listener, perClient int64, proxies Proxies) net.Listener {
	if perClient <= 0 {
		return l
	}
	// Only the share counts: the system bounds the connections in all.
	return &sharedListener{l, network.NewPlaces(math.MaxInt32, perClient), proxies}
}

// Accept implements net.Listener.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		a := addressOf(c.RemoteAddr().String())
		if l.proxies.trusts(a) {
			return c, nil
		}
		if l.places.Take(a, 1) == network.Taken {
			return &sharedConn{Conn: c, give: sync.OnceFunc(func() { l.places.Give(a, 1) })}, nil
		}
		_ = c.Close()
	}
}

// addressOf returns the address of a connection's end, or the invalid one.
func addressOf(hostport string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

type sharedConn struct {
	net.Conn
	give func()
}

// Close implements net.Conn.
func (c *sharedConn) Close() error {
	c.give()
	return c.Conn.Close()
}
