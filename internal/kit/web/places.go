package web

import (
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/network"
)

// enter takes a place for a request whose body has arrived.
func (h *Handler) enter(x *exchange) Refusal {
	switch h.places.Take(x.caller.Address, 1) {
	case network.Full:
		return busy
	case network.TooMany:
		h.Metrics.limited.Inc()
		return tooManyAtOnce
	case network.Taken:
	}
	x.placed = true
	h.Metrics.inFlight.Inc()
	return Refusal{}
}

// leave returns what the request held.
func (h *Handler) leave(x *exchange) {
	if x.placed {
		x.placed = false
		h.places.Give(x.caller.Address, 1)
		h.Metrics.inFlight.Dec()
	}
	if x.kept > 0 {
		h.memory.Give(x.caller.Address, x.kept)
		x.kept = 0
	}
	x.release()
}

var (
	busy = Refusal{Status: http.StatusServiceUnavailable, Code: "request.busy",
		Reason: "The server has too much to do right now. Try again in a moment.", RetryAfter: time.Second}
	tooManyAtOnce = Refusal{Status: http.StatusTooManyRequests, Code: "request.limited",
		Reason:     "Too many requests from your address are being answered at once. Try again in a moment.",
		RetryAfter: time.Second}
)
