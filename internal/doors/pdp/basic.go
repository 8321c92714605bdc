package pdp

import (
	"crypto/sha256"
	"net/http"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Bounds on credentials that are not known to be good: those of requests to the token endpoint.
const (
	attemptsPerSecond = 200
	attemptsAtOnce    = 1000
	knownClients      = 4096
)

// clients bounds how often an address sends credentials that were not good the last time. It is
// safe for concurrent use.
type clients struct {
	attempts *web.Limiter
	good     *lru.Cache[[sha256.Size]byte, struct{}] // by the tenant and the header
}

func newClients(c clock.Clock) *clients {
	good, err := lru.New[[sha256.Size]byte, struct{}](knownClients)
	if err != nil { // only for a size below one
		panic("pdp: " + err.Error())
	}
	return &clients{web.NewLimiter(c, attemptsPerSecond, attemptsAtOnce), good}
}

var errAttempts = fault.New(fault.Limited, "client.limited",
	"Too many wrong credentials came from your address. Wait a moment and try again.")

// admitClient admits an application by its credentials, for SDKs that can send them and no token
// of minutes. Every request verifies them. Those that were good the last time are not counted.
func (d *Door) admitClient(r *http.Request, header string, shown access.Credentials) (*requester, error) {
	c, site := web.CallerOf(r), web.SiteOf(r)
	key := sha256.Sum256([]byte(c.Tenant.String() + " " + header))
	if !d.clients.good.Contains(key) {
		if ok, _ := d.clients.attempts.Allow(c.Address); !ok {
			return nil, errAttempts
		}
	}
	h, err := d.Access.AdmitClient(r.Context(), c, site, shown, resourceserver.Decision.Scope, d.Clock.Now())
	if err != nil {
		d.clients.good.Remove(key)
		return nil, err
	}
	d.clients.good.Add(key, struct{}{})
	return &requester{caller: h.Caller, token: h.Token, mode: h.Application.PrincipalMode, base: site.Base}, nil
}
