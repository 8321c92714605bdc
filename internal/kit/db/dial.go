package db

import (
	"context"
	"net"
	"time"
)

// dial opens a connection that the system ends if its peer is silent for silentLimit: idle by
// keep-alives, and with data under way by the user timeout (RFC 5482).
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silentLimit / 2, Interval: time.Second,
			Count: int(silentLimit / 2 / time.Second)},
		Control: userTimeout,
	}
	return d.DialContext(ctx, network, address)
}
