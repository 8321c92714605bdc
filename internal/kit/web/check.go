package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// clean reports whether s is valid UTF-8 without control characters, so that it can be stored and
// logged.
func clean(s string) bool {
	ascii := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(s)
}

// checkPath returns why no route can have the path, or "".
func checkPath(u *url.URL) string {
	p := u.Path
	if p == "" || p[0] != '/' {
		return "The address must start with a slash."
	}
	if !clean(p) {
		return "The address contains characters that no address of ours has."
	}
	// ServeMux would answer unclean paths with a redirect that lacks the tenant's prefix.
	for i := 0; i+1 < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		rest := p[i+1:]
		if rest[0] == '/' || rest == "." || rest == ".." || strings.HasPrefix(rest, "./") ||
			strings.HasPrefix(rest, "../") {
			return "The address contains an empty part or a dot part."
		}
	}
	return ""
}

// checkQuery returns why the query cannot be read as a form, or "". net/http would skip what it
// cannot read, and answer another request than the client meant.
func checkQuery(q string) string {
	ascii := true
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '%':
			if i+2 >= len(q) || !hex(q[i+1]) || !hex(q[i+2]) {
				return "The query contains a percent sign that is not followed by two hexadecimal digits."
			}
			if q[i+1] == '0' && q[i+2] == '0' {
				return "The query contains a NUL character."
			}
			ascii = ascii && q[i+1] < '8'
		case c == ';':
			return "The query contains a semicolon. Write %3B for it, and & between parameters."
		case c < ' ' || c == 0x7f:
			return "The query contains a control character."
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if ascii {
		return ""
	}
	if s, err := url.QueryUnescape(q); err != nil || !utf8.ValidString(s) {
		return "The query is not UTF-8."
	}
	return ""
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// single lists the headers that may occur only once, because they decide something.
var single = []string{"Authorization", "Content-Type", "Content-Encoding", "Origin", "User-Agent", "Dpop"}

func checkHeaders(h http.Header) string {
	for _, name := range single {
		if len(h[name]) > 1 {
			return "The header " + name + " came more than once."
		}
	}
	return ""
}

// Form parses the request's body as application/x-www-form-urlencoded. It ignores the query. It
// fails with an Invalid fault for another content type, and for a body that is too large,
// malformed, not UTF-8 or contains NUL: neither database could store that.
func Form(r *http.Request) (url.Values, error) {
	if !isForm(r.Header.Get("Content-Type")) {
		return nil, fault.New(fault.Invalid, "request.content_type",
			"The request must be a form: Content-Type application/x-www-form-urlencoded.")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, fault.New(fault.Invalid, "request.content_encoding", "The request must not be compressed.")
	}
	if r.PostForm == nil {
		body, err := io.ReadAll(r.Body) // bounded by Handler
		if err == nil {
			r.PostForm, err = url.ParseQuery(string(body))
		}
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, fault.New(fault.Invalid, "request.too_large", "The request is larger than we accept.")
			}
			return nil, fault.New(fault.Invalid, "request.malformed",
				"The form could not be read. Check its percent-encoding.").Because(err)
		}
	}
	for name, values := range r.PostForm {
		if !storable(name) || slices.ContainsFunc(values, func(s string) bool { return !storable(s) }) {
			return nil, fault.New(fault.Invalid, "request.malformed",
				"The form contains text that is not UTF-8, or a NUL character.")
		}
	}
	return r.PostForm, nil
}

func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func isForm(contentType string) bool {
	const form = "application/x-www-form-urlencoded"
	if contentType == form {
		return true
	}
	ct, _, err := mime.ParseMediaType(contentType)
	return err == nil && ct == form
}
