package web

import (
	"net/http"
	"strconv"
)

// Content types are shared by all answers; net/http only reads them.
var (
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
)

// WriteJSON answers with a body that is JSON already.
func WriteJSON(w http.ResponseWriter, status int, body []byte) { writeBody(w, status, jsonType, body) }

// WriteProblemJSON answers with a problem document (RFC 9457) that is JSON already.
func WriteProblemJSON(w http.ResponseWriter, status int, body []byte) {
	writeBody(w, status, problemType, body)
}

func writeBody(w http.ResponseWriter, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}
