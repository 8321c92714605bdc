package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/pages.css
var stylesheet []byte

// stylesheetPath contains the hash of the style sheet, so that browsers may cache it for ever.
var stylesheetPath = func() string {
	sum := sha256.Sum256(stylesheet)
	return "/assets/pages-" + hex.EncodeToString(sum[:6]) + ".css"
}()

// inline is the style sheet inside a page.
var inline = sheetOf(string(stylesheet))

// commonRenderer returns the renderer of all doors. Templates and texts are part of the binary, and
// parsing them took a fifth of a door's start.
var commonRenderer = sync.OnceValues(newRenderer)

// renderer turns page structs into HTML. It is immutable after newRenderer.
type renderer struct {
	words map[string]*words
	pages map[string]map[string]*template.Template // locale → page → template
}

func newRenderer() (*renderer, error) {
	w, err := newWords()
	if err != nil {
		return nil, err
	}
	r := &renderer{words: w, pages: map[string]map[string]*template.Template{}}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for locale, w := range w {
		layout, err := template.New("layout").Funcs(w.funcs()).Option("missingkey=error").ParseFS(templateFiles,
			"templates/layout.html")
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		r.pages[locale] = map[string]*template.Template{}
		for _, f := range files {
			name := strings.TrimSuffix(strings.TrimPrefix(f, "templates/"), ".html")
			if name == "layout" {
				continue
			}
			t, err := template.Must(layout.Clone()).ParseFS(templateFiles, f)
			if err != nil {
				return nil, fmt.Errorf("pages: %w", err)
			}
			r.pages[locale][name] = t.Lookup(name + ".html")
		}
	}
	return r, nil
}

// look is a page's appearance and language for one reader at one tenant.
type look struct {
	Site    web.Site
	Accent  string // "#rrggbb"
	Logo    string // https address
	Locale  string
	Theme   string
	Here    *url.URL // the page's own address for the links to other languages; nil if it has none
	Targets []string // origins or schemes that a form may lead to besides our own
	Alone   bool     // the page has its style sheet inside
	Frames  []string // origins of the frames in the page
	Script  string   // the source of its script; "" for none
	Popup   bool     // the window that opened the page must stay able to reach it
}

// render writes p with its headers. It renders the page before it sends the first byte, so that a
// failing template cannot leave half a page.
func (r *renderer) render(w http.ResponseWriter, status int, l look, p page) error {
	f := p.base()
	colours := paletteOf(l.Accent).sheet()
	f.Lang, f.Theme, f.Base, f.Stylesheet, f.Colours = l.Locale, l.Theme, l.Site.Path, l.Site.Local(stylesheetPath),
		colours.HTML
	sources := "'self' " + colours.Source
	if l.Alone {
		f.Stylesheet, f.Inline = "", inline.HTML
		sources = inline.Source + " " + colours.Source
	}
	f.Brand = brandOf(l)
	f.Languages, f.Themes = choices(l)
	t := r.pages[l.Locale][p.template()]
	if t == nil {
		return fmt.Errorf("pages: no template %q in %q", p.template(), l.Locale)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", l.Locale)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy(l, sources))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	if !l.Popup {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Vary", "Accept-Language, Cookie")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// policy returns the content security policy. It allows the style sheets that styles names, the
// tenant's logo, and the page's frames and script if it has some. Browsers apply form-action to the
// redirects after a form too, so it names the application that the form leads to. That list comes
// from the application's registration, never from a request.
func policy(l look, styles string) string {
	img := "img-src 'self' data:"
	if o := origin(l.Logo); o != "" {
		img += " " + o
	}
	more := ""
	if len(l.Frames) > 0 {
		more += "; frame-src " + strings.Join(slices.Compact(slices.Sorted(slices.Values(l.Frames))), " ")
	}
	if l.Script != "" {
		more += "; script-src " + l.Script
	}
	return "default-src 'none'; style-src " + styles + "; " + img + more +
		"; form-action " + strings.Join(append([]string{"'self'"}, l.Targets...), " ") +
		"; base-uri 'none'; frame-ancestors 'none'"
}

// origin returns the source expression for an address, or "" if a policy cannot contain it.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || strings.ContainsAny(address, " ;,'\"\\") {
		return ""
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return u.Scheme + ":" // an application's own scheme (RFC 8252 §7.1)
	}
	host := u.Hostname()
	switch host {
	case "::1": // CSP has no IPv6 hosts
		return u.Scheme + ":"
	case "127.0.0.1", "localhost":
		return u.Scheme + "://" + host + ":*" // the port varies (RFC 8252 §7.3)
	}
	return u.Scheme + "://" + u.Host
}

func brandOf(l look) brand {
	b := brand{Name: l.Site.Name}
	if strings.HasPrefix(l.Logo, "https://") && origin(l.Logo) != "" {
		b.Logo = l.Logo
	}
	if r, _ := utf8.DecodeRuneInString(strings.TrimSpace(b.Name)); r != utf8.RuneError {
		b.Initial = string(unicode.ToUpper(r))
	}
	p := paletteOf(l.Accent)
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%s"/><text x="16" y="22" text-anchor="middle" font-family="system-ui,sans-serif" font-weight="600" font-size="18" fill="%s">%s</text></svg>`,
		p.Accent, p.OnAccent, html.EscapeString(b.Initial))
	b.Icon = template.URL("data:image/svg+xml," + url.PathEscape(svg))
	return b
}

// choices returns the links to the same page in another language or appearance. It returns none
// for a page that answers a form, which has no address.
func choices(l look) ([]choice, []choice) {
	var languages []choice
	var themes []choice
	if l.Here == nil {
		return nil, nil
	}
	link := func(name, value string) string {
		q := l.Here.Query()
		q.Del("lang")
		q.Del("theme")
		q.Set(name, value)
		return l.Site.Local(l.Here.Path) + "?" + q.Encode()
	}
	for _, c := range locales {
		languages = append(languages,
			choice{Value: c, Name: localeNames[c], Href: link("lang", c), Current: c == l.Locale})
	}
	for _, c := range []string{"auto", "light", "dark"} {
		themes = append(themes, choice{
			Value: c, Label: say("foot." + c), Href: link("theme", c), Current: c == l.Theme || c == "auto" &&
				l.Theme == "",
		})
	}
	return languages, themes
}

// serveStylesheet answers stylesheetPath.
func serveStylesheet(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(stylesheet) // a failure means that the reader has gone
}
