package db

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall does not name.
const tcpUserTimeout = 0x12

// userTimeout bounds how long sent data may stay unacknowledged, in milliseconds.
func userTimeout(_, _ string, c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silentLimit/time.Millisecond))
	})
	if cerr != nil || err == syscall.ENOPROTOOPT || err == syscall.EOPNOTSUPP { // a Unix socket has none
		return cerr
	}
	return err
}
