package web

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts and times requests. Its labels are the route's pattern, the method and the status.
// All come from closed sets: never a path, a tenant or an address.
type Metrics struct {
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	limited  prometheus.Counter
	calls    *prometheus.HistogramVec
}

// NewMetrics returns the request metrics, registered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatehouse_http_requests_in_flight",
			Help: "Requests being answered now.",
		}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_http_requests_limited_total",
			Help: "Requests refused because their address sent too many.",
		}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_grpc_call_duration_seconds",
			Help:    "Time from a gRPC call's headers to its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "code"}),
	}
	reg.MustRegister(m.duration, m.inFlight, m.limited, m.calls)
	return m
}

func (m *Metrics) observe(route, method string, status int, d time.Duration) {
	m.duration.WithLabelValues(route, methodLabel(method), strconv.Itoa(status)).Observe(d.Seconds())
}

// known reports whether a method is one of HTTP. No route has TRACE: the answer is 405 with what
// the route has.
func known(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}

func methodLabel(m string) string {
	if known(m) {
		return m
	}
	return "other"
}
