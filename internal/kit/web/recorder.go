package web

import (
	"net/http"
)

// recorder records the status and size of an answer. It replaces ServeMux's plain-text 404 and 405
// by a refusal: r.Pattern is empty until a pattern has matched.
type recorder struct {
	http.ResponseWriter
	r       *http.Request // the request the mux sees
	status  int
	bytes   int64
	muted   bool // the mux's own body is dropped
	refused bool // a refusal is being written
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if status < 200 { // informational: the real one follows
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	if w.r != nil && w.r.Pattern == "" && !w.refused &&
		(status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		w.refused = true
		f := Refusal{Status: status, Code: "request.not_found", Reason: "There is nothing at this address."}
		if status == http.StatusMethodNotAllowed {
			f.Code, f.Reason = "request.method", "This address does not answer to "+w.r.Method+"."
		}
		Refuse(w, w.r, f)
		w.muted = true
		return
	}
	w.status = status
	// A client that may come back is told when, whichever door answers (RFC 9110 §10.2.3).
	if h := w.Header(); (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) &&
		h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.muted {
		return len(b), nil
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *recorder) Flush() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	http.NewResponseController(w.ResponseWriter).Flush()
}
