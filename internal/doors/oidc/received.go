package oidc

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// shownParams are the parameters that an error page repeats. None of them is a secret.
var shownParams = []string{"client_id", "redirect_uri", "post_logout_redirect_uri", "response_type", "response_mode",
	"scope", "prompt", "code_challenge_method"}

// Bounds on what an error page repeats.
const (
	maxShown      = 256 // bytes of a value
	maxShownTwice = 2   // values of one parameter
)

// received returns what the page of an error repeats of a request, for the operator of the
// application that sent it.
func received(r *http.Request) []web.Parameter {
	form := r.PostForm
	if form == nil {
		form, _ = url.ParseQuery(r.URL.RawQuery)
	}
	var out []web.Parameter
	for _, name := range shownParams {
		values := form[name]
		for _, v := range values[:min(len(values), maxShownTwice)] {
			out = append(out, web.Parameter{Name: name, Value: asAddress(v)})
		}
	}
	return out
}

// asAddress writes a value as it would stand in an address. So no value reads as a sentence of
// ours, reverses the text around it or hides a character.
func asAddress(s string) string {
	more := ""
	if len(s) > maxShown {
		s, more = s[:maxShown], "…"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String() + more
}
