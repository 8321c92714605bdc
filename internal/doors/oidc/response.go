package oidc

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Response modes (OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode).
const (
	modeQuery    = "query"
	modeFormPost = "form_post"
	// modeFragment is used only to refuse a response type whose answers would be in the fragment
	// (Multiple Response Types §3).
	modeFragment = "fragment"
)

// target is where an authorization response goes. Its redirect URI is one of the application's own.
// Only checkTarget returns one.
type target struct {
	URI   string `json:"uri"`
	Mode  string `json:"mode"`
	State string `json:"state,omitempty"`
}

// send answers the browser with values, state and iss (RFC 9207), in the target's response mode.
func (t target) send(w http.ResponseWriter, issuer string, values map[string]string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address of this page holds the request
	v := url.Values{"iss": {issuer}}
	for name, value := range values {
		v.Set(name, value)
	}
	if t.State != "" {
		v.Set("state", t.State)
	}
	switch t.Mode {
	case modeFormPost:
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", formPostPolicy)
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		fields := make([]formField, 0, len(v))
		for _, name := range names {
			fields = append(fields, formField{name, v.Get(name)})
		}
		// The redirect URI was checked at registration. Without template.URL, html/template would
		// replace the private-use schemes of native applications by #ZgotmplZ.
		_ = formPostPage.Execute(w, struct {
			Action template.URL
			Fields []formField
		}{template.URL(t.URI), fields})
	default:
		h.Set("Location", t.location(v))
		w.WriteHeader(http.StatusSeeOther) // never 307: it would repeat a POST and its body (RFC 9700 §4.12)
	}
}

// location returns the redirect URI with v added. It keeps its own query (RFC 6749 §3.1.2). A space
// is %20, which clients read in a query and in a fragment alike.
func (t target) location(v url.Values) string {
	sep := "?"
	switch {
	case t.Mode == modeFragment:
		sep = "#"
	case strings.HasSuffix(t.URI, "?") || strings.HasSuffix(t.URI, "&"):
		sep = ""
	case strings.Contains(t.URI, "?"):
		sep = "&"
	}
	return t.URI + sep + strings.ReplaceAll(v.Encode(), "+", "%20")
}

type formField struct{ Name, Value string }

// formPostScript is the only script of this door. Without it the page has a button.
const formPostScript = `document.forms[0].submit()`

// formPostPolicy allows exactly that script. It has no form-action, because browsers apply it to
// the redirects that follow the post, and those belong to the application.
var formPostPolicy = func() string {
	sum := sha256.Sum256([]byte(formPostScript))
	return "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'"
}()

var formPostPage = template.Must(template.New("form_post").Parse(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Signing in</title></head>
<body>
<form method="post" action="{{.Action}}">
{{range .Fields}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}<noscript><button type="submit">Continue</button></noscript>
</form>
<script>` + formPostScript + `</script>
</body>
</html>
`))
