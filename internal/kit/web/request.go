package web

import (
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"strings"
)

var requestIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newRequestID returns 16 characters of 80 random bits. An id from outside is never
// taken over: it would let a stranger write into our log and audit trail.
func newRequestID() string {
	var b [10]byte
	rand.Read(b[:])
	return requestIDs.EncodeToString(b[:])
}

// AllowBody changes the limit of the request's body to n bytes, for an address that takes more
// than Limits.Body. A door calls it once it knows who sends the request, and before it reads.
func AllowBody(r *http.Request, n int64) {
	if s := scopeOf(r.Context()); s != nil && s.body != nil {
		r.Body = http.MaxBytesReader(s.writer, s.body, n)
	}
}

// maxAgent is how much of a User-Agent is kept, in bytes.
const maxAgent = 256

// agentOf returns the User-Agent cut to maxAgent bytes of valid UTF-8 without
// control characters, so that it can be stored and logged.
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
