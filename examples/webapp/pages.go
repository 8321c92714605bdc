package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"html/template"
	"log/slog"
	"net/http"
)

//go:embed page.html
var pageSource string

//go:embed style.css
var styleSource string

var (
	pages = template.Must(template.New("page").Parse(pageSource))
	// styleHash is the only style that the content security policy allows.
	styleHash = func() string {
		sum := sha256.Sum256([]byte(styleSource))
		return base64.StdEncoding.EncodeToString(sum[:])
	}()
)

func (a *webapp) home(w http.ResponseWriter, r *http.Request) {
	s, ok := a.sessions.get(cookieValue(r, cookieSession))
	if !ok {
		render(w, http.StatusOK, "welcome", map[string]any{"Title": "Sample application", "Issuer": a.cfg.Issuer})
		return
	}
	render(w, http.StatusOK, "account", map[string]any{
		"Title": "Signed in", "User": s.view(), "Refreshed": r.URL.Query().Has("refreshed"),
	})
}

// nothing answers an address that this application does not have.
func (a *webapp) nothing(w http.ResponseWriter, _ *http.Request) {
	render(w, http.StatusNotFound, "nothing", map[string]any{"Title": "There is no page here"})
}

// render writes a page or, if the template fails, a plain 500. It never writes part of a page.
func render(w http.ResponseWriter, status int, name string, data map[string]any) {
	data["Page"], data["Style"] = name, template.CSS(styleSource) // our own file
	var b bytes.Buffer
	if err := pages.Execute(&b, data); err != nil {
		slog.Error("page", "name", name, "error", err)
		http.Error(w, "This page could not be rendered.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}
