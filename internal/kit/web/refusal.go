package web

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Refusal is an answer given before, or instead of, a door's.
type Refusal struct {
	Status     int
	Code       string        // stable, "request.malformed"
	Reason     string        // a sentence for whoever reads it
	RetryAfter time.Duration // zero: not said
}

// refusalOf maps a fault to a refusal. The switch is exhaustive over fault.Kinds.
func refusalOf(err error) Refusal {
	f := fault.As(err)
	return Refusal{Status: statusOf(f.Kind), Code: f.Code, Reason: f.Reason}
}

func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// WriteRefusal answers r with f in the form the client can read: a small page for a
// browser, an OAuth error (RFC 6749 §5.2) below /oauth2/, else a problem document
// (RFC 9457).
func WriteRefusal(w http.ResponseWriter, r *http.Request, f Refusal) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	requestID := RequestIDOf(r.Context())
	if wantsPage(r) {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.WriteHeader(f.Status)
		refusalPage.Execute(w, struct {
			Title, Reason, RequestID string
		}{http.StatusText(f.Status), f.Reason, requestID})
		return
	}
	body := map[string]any{
		"type":       "about:blank",
		"title":      http.StatusText(f.Status),
		"status":     f.Status,
		"code":       f.Code,
		"detail":     f.Reason,
		"request_id": requestID,
	}
	ct := "application/problem+json"
	if strings.Contains(r.URL.Path, "/oauth2/") {
		ct = "application/json"
		body = map[string]any{"error": oauthError(f.Status), "error_description": f.Reason, "request_id": requestID}
	}
	b, _ := json.Marshal(body) // strings and numbers only
	h.Set("Content-Type", ct)
	w.WriteHeader(f.Status)
	w.Write(append(b, '\n'))
}

// oauthError is the error code of RFC 6749 §4.1.2.1 and §5.2 that comes closest. A
// suspended tenant (403) is temporarily unavailable to its clients.
func oauthError(status int) string {
	switch {
	case status >= 500 && status != http.StatusServiceUnavailable:
		return "server_error"
	case status == http.StatusForbidden, status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return "temporarily_unavailable"
	}
	return "invalid_request"
}

func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.Contains(r.URL.Path, "/api/")
}

var refusalPage = template.Must(template.New("refusal").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0;display:grid;min-height:100vh;place-items:center;background:Canvas;color:CanvasText}
main{max-width:400px;padding:24px}
h1{font-size:20px;margin:0 0 8px}
small{font-family:ui-monospace,monospace}
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p>{{.Reason}}</p>
{{with .RequestID}}<p><small>{{.}}</small></p>{{end}}
</main>
</body>
</html>
`))
