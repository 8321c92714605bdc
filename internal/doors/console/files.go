package console

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

//go:embed all:dist
var embedded embed.FS

// Built is the app that this binary was built with. It is empty if it was built without one.
var Built = func() fs.FS {
	files, err := fs.Sub(embedded, "dist")
	if err != nil { // the name is fixed
		panic(err)
	}
	return files
}()

// assets is the folder of the files with a hash in their names.
const assets = "assets/"

var errNoFile = fault.New(fault.NotFound, "console.not_found", "The console has no such file. Load the page again.")

// serve answers a file of the app. Every other address is a route of the app, and gets its page.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) {
	if d.index == nil {
		serveUnbuilt(w)
		return
	}
	name := r.PathValue("path")
	err := d.serveFile(w, r, name)
	if errors.Is(err, errNoFile) && !strings.HasPrefix(name, assets) {
		d.index.serve(w, r)
		return
	}
	if err != nil {
		refuse(r.Context(), w, r, err)
	}
}

// encodings are those that a file may have beside it, the best first.
var encodings = []struct{ name, extension string }{{"br", ".br"}, {"gzip", ".gz"}}

// serveFile answers a file, compressed if the browser can read that. It fails with errNoFile.
func (d *Door) serveFile(w http.ResponseWriter, r *http.Request, name string) error {
	if !fs.ValidPath(name) || name == "index.html" || strings.HasPrefix(path.Base(name), ".") {
		return errNoFile
	}
	for _, e := range encodings {
		if strings.HasSuffix(name, e.extension) {
			return errNoFile
		}
	}
	plain, err := fs.ReadFile(d.Files, name)
	if err != nil { // it does not exist, or is a folder
		return errNoFile
	}
	h := w.Header()
	body := plain
	for _, e := range encodings {
		packed, err := fs.ReadFile(d.Files, name+e.extension)
		if err != nil {
			continue
		}
		h.Set("Vary", "Accept-Encoding")
		if accepts(r.Header.Get("Accept-Encoding"), e.name) {
			h.Set("Content-Encoding", e.name)
			body = packed
			break
		}
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if own := kinds[path.Ext(name)]; own != "" { // the machine's own table may say otherwise
		kind = own
	}
	if kind == "" {
		kind = "application/octet-stream"
	}
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, assets) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a failure means that the reader has gone
	return nil
}

// kinds are the media types of what a build has.
var kinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	".json": "application/json", ".woff2": "font/woff2", ".png": "image/png", ".ico": "image/x-icon",
	".webmanifest": "application/manifest+json", ".map": "application/json", ".txt": "text/plain; charset=utf-8",
}

// accepts reports whether an Accept-Encoding header has an encoding (RFC 9110 §12.5.3).
func accepts(header, encoding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		value, weighted := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(weight), " ", ""), "q=")
		q, err := strconv.ParseFloat(value, 64)
		return !weighted || err == nil && q > 0
	}
	return false
}

// index is the page of the app, split where the door writes what depends on the request.
type index struct{ head, rest []byte }

// readIndex returns the page of the app, or nil for a binary without one.
func readIndex(files fs.FS) (*index, error) {
	page, err := fs.ReadFile(files, "index.html")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a binary may be built without the app
	}
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	const head = "<head>"
	if bytes.Count(page, []byte(head)) != 1 {
		return nil, errors.New("console: index.html of the built app must have one " + head)
	}
	at := bytes.Index(page, []byte(head)) + len(head)
	return &index{head: page[:at], rest: page[at:]}, nil
}

// nonceBytes is the size of a nonce before encoding: the 128 bits that CSP asks for.
const nonceBytes = 16

// serve answers the page of the app, as it is under the site's base.
func (i *index) serve(w http.ResponseWriter, r *http.Request) {
	b := make([]byte, nonceBytes)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	nonce := base64.RawURLEncoding.EncodeToString(b)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy(nonce))
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	body := slices.Concat(i.head, fmt.Appendf(nil, "\n<base href=%q>\n<meta property=\"csp-nonce\" nonce=%q>",
		html.EscapeString(web.SiteOf(r).Local(root)), nonce), i.rest)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a failure means that the reader has gone
}

// policy returns the content security policy of the app. Scripts are files of ours. Styles are
// files of ours, and the elements that a script adds with the nonce. Frames show our own pages.
func policy(nonce string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; " +
		"img-src 'self' data: https:; font-src 'self'; " +
		"connect-src 'self'; manifest-src 'self'; frame-src 'self'; form-action 'self'; " +
		"base-uri 'self'; frame-ancestors 'none'"
}

// serveUnbuilt answers for a binary without the app.
func serveUnbuilt(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(unbuilt)) // a failure means that the reader has gone
}

const unbuilt = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gatehouse console</title></head>
<body>
<main>
<h1>This binary has no admin console</h1>
<p>It was built without it. Install Node.js, build the console into internal/doors/console/dist, and then build
Gatehouse again.</p>
<p>Everything that the console does, the management API does too.</p>
</main>
</body>
</html>
`
