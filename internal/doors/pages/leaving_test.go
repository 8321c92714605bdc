package pages_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// leaving serves requests in this process, whose client leaves when leave is called.
type leaving struct {
	handler http.Handler
	leave   context.CancelFunc
}

// RoundTrip implements http.RoundTripper.
func (l *leaving) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	l.leave = cancel
	served := httptest.NewRequestWithContext(ctx, r.Method, r.URL.String(), r.Body)
	served.Header = r.Header
	rec := httptest.NewRecorder()
	l.handler.ServeHTTP(rec, served)
	return rec.Result(), nil
}

// A wrong password counts although its client leaves before the answer.
func TestAWrongPasswordCountsWithoutItsClient(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		h.person("ada@acme.example")
		g := h.guest()
		page := g.Open("/account")
		client := &leaving{handler: h.Handler}
		g.HTTP.Transport = client
		left := 0
		h.Observe(func(sql string) {
			if client.leave != nil && strings.HasPrefix(sql, "UPDATE attempt_counters SET failures") {
				left++
				client.leave()
			}
		})
		g.Fill(page, "username", "ada@acme.example", "password", "wrong")
		if n := len(h.refusals()); left != 1 || n != 1 {
			t.Errorf("the client left %d times; %d refusals, want 1", left, n)
		}
	})
}
