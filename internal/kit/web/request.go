package web

import (
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"strings"
)

var requestIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newRequestID returns 16 characters of 80 random bits. A client's own id is never used: it would
// let a stranger write into our log and audit trail.
func newRequestID() string {
	var b [10]byte
	rand.Read(b[:])
	return requestIDs.EncodeToString(b[:])
}

// AllowBody changes the limit of the request's body to n bytes, for a route that takes more than
// Limits.Body. A door calls it after it has admitted the sender, and before it reads.
func AllowBody(r *http.Request, n int64) {
	if s := scopeOf(r.Context()); s != nil && s.body != nil {
		// The server's own writer: MaxBytesReader tells it to close the connection.
		r.Body = http.MaxBytesReader(s.writer, s.body, n)
	}
}

// maxAgent is how many bytes of a User-Agent are kept.
const maxAgent = 256

// agentOf returns the User-Agent cut to maxAgent bytes of valid UTF-8 without control characters,
// so that it can be stored and logged.
func agentOf(r *http.Request) string { return cleanAgent(r.UserAgent()) }

func cleanAgent(a string) string {
	if len(a) > maxAgent {
		a = a[:maxAgent]
	}
	if clean(a) {
		return a
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return -1
		}
		return c
	}, a)
}
