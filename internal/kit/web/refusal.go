package web

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Refusal is an answer that is given before, or instead of, a door's.
type Refusal struct {
	Status     int
	Code       string        // stable, "request.malformed"
	Reason     string        // a sentence for the reader
	RetryAfter time.Duration // zero: not said
	Received   []Parameter   // what a page shows of the request, for the operator of its sender
}

// Parameter is one parameter of a request, as text that may be shown.
type Parameter struct{ Name, Value string }

// refusalOf maps a fault to a refusal.
func refusalOf(err error) Refusal {
	f := fault.As(err)
	out := Refusal{Status: Status(f.Kind), Code: f.Code, Reason: f.Reason}
	if f.Quota != nil {
		out.RetryAfter = f.Quota.Wait
	}
	return out
}

// Status returns the HTTP status of a kind of fault. The switch is exhaustive over fault.Kinds.
func Status(k fault.Kind) int {
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

// Refuse answers with f in the form of the route's class and door: a page for a browser, or the
// format of the door's programs. Outside a Handler it writes a problem document.
func Refuse(w http.ResponseWriter, r *http.Request, f Refusal) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	if s := scopeOf(r.Context()); s != nil && s.group != nil {
		s.group.write(w, r, f)
		return
	}
	writeProblem(w, r, f)
}

// writeProblem answers with a problem document (RFC 9457).
func writeProblem(w http.ResponseWriter, r *http.Request, f Refusal) {
	b, _ := json.Marshal(map[string]any{ // strings and numbers only
		"type":       "about:blank",
		"title":      http.StatusText(f.Status),
		"status":     f.Status,
		"code":       f.Code,
		"detail":     f.Reason,
		"request_id": RequestIDOf(r.Context()),
	})
	writeBody(w, f.Status, problemType, append(b, '\n'))
}

// WritePage answers with a small page that loads nothing.
func WritePage(w http.ResponseWriter, r *http.Request, f Refusal) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	w.WriteHeader(f.Status)
	refusalPage.Execute(w, struct {
		Title, Reason, RequestID string
	}{http.StatusText(f.Status), f.Reason, RequestIDOf(r.Context())})
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
