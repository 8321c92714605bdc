package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// config holds the settings of an OpenID Connect application.
type config struct {
	Issuer       string
	ClientID     string
	ClientSecret string // empty for a public client
	PublicURL    string // without trailing slash
	Scopes       []string
}

// webapp is the application: its provider, found by discovery, and its sessions.
type webapp struct {
	cfg      config
	oauth    oauth2.Config
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	metadata struct {
		EndSession string `json:"end_session_endpoint"`
		IssInReply bool   `json:"authorization_response_iss_parameter_supported"`
	}
	http     *http.Client
	pending  *store[pendingSignIn]
	sessions *store[*session]
	seen     *seen // logout tokens
}

// pendingSignIn holds the values that the provider must return unchanged. A cookie of the browser
// that started refers to it, so the application refuses an answer in another browser.
type pendingSignIn struct {
	state, nonce, verifier string
}

// newWebapp finds the provider by OpenID Connect discovery.
func newWebapp(ctx context.Context, cfg config) (*webapp, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	ctx = oidc.ClientContext(ctx, client)
	provider, err := oidc.NewProvider(ctx, cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("no OpenID provider at %s: %w", cfg.Issuer, err)
	}
	app := &webapp{
		cfg:      cfg,
		provider: provider,
		// go-oidc accepts the asymmetric algorithms of the discovery document.
		verifier: provider.Verifier(&oidc.Config{ClientID: cfg.ClientID}),
		oauth: oauth2.Config{
			ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret,
			Endpoint: provider.Endpoint(), RedirectURL: cfg.PublicURL + "/callback", Scopes: cfg.Scopes,
		},
		http:     client,
		pending:  newStore[pendingSignIn](10*time.Minute, 10_000),
		sessions: newStore[*session](12*time.Hour, 10_000),
		seen:     &seen{limit: 10_000, until: map[string]time.Time{}},
	}
	if err := provider.Claims(&app.metadata); err != nil {
		return nil, fmt.Errorf("discovery document of %s: %w", cfg.Issuer, err)
	}
	return app, nil
}

// handler routes the application's pages.
func (a *webapp) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /signin", a.signIn)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("POST /refresh", a.refresh)
	mux.HandleFunc("POST /signout", a.signOut)
	mux.HandleFunc("GET /signedout", a.signedOut)
	mux.HandleFunc("POST /backchannel-logout", a.backchannelLogout)
	mux.HandleFunc("GET /", a.nothing)
	return http.NewCrossOriginProtection().Handler(secured(mux))
}

// secured adds the security headers of a web application. There is no form-action directive,
// because the sign-out form redirects to the provider, and browsers count that as the target of the
// form.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+styleHash+"'; img-src data:; "+
			"base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// signIn sends the browser to the provider with a fresh state, nonce and PKCE challenge.
func (a *webapp) signIn(w http.ResponseWriter, r *http.Request) {
	p := pendingSignIn{state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier()}
	a.setCookie(w, cookiePending, a.pending.put(p), 10*time.Minute)
	options := []oauth2.AuthCodeOption{oidc.Nonce(p.nonce), oauth2.S256ChallengeOption(p.verifier)}
	// Only these two reach the provider. A stranger can write any others into a link.
	for _, name := range []string{"login_hint", "ui_locales"} {
		if v := r.URL.Query().Get(name); v != "" && len(v) < 256 {
			options = append(options, oauth2.SetAuthURLParam(name, v))
		}
	}
	http.Redirect(w, r, a.oauth.AuthCodeURL(p.state, options...), http.StatusSeeOther)
}

// callback receives the provider's answer, redeems the code and starts a session of this
// application.
func (a *webapp) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	// take removes the entry, so that an answer is accepted once.
	p, ok := a.pending.take(cookieValue(r, cookiePending))
	a.clearCookie(w, cookiePending)
	if !ok || p.nonce == "" || subtle.ConstantTimeCompare([]byte(p.state), []byte(q.Get("state"))) != 1 {
		a.fail(w, http.StatusBadRequest,
			"This sign-in was not started in this browser, or it took too long. Start again.", nil)
		return
	}
	if (a.metadata.IssInReply || q.Has("iss")) && q.Get("iss") != a.cfg.Issuer {
		a.fail(w, http.StatusBadRequest, "The answer came from another provider. Start again.", nil)
		return
	}
	if code := q.Get("error"); code != "" {
		sentence := "The provider refused the sign-in: " + code + "."
		if code == "access_denied" {
			sentence = "You did not allow this application to use your account."
		}
		a.fail(w, http.StatusForbidden, sentence, errors.New(q.Get("error_description")))
		return
	}
	ctx := oidc.ClientContext(r.Context(), a.http)
	token, err := a.oauth.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(p.verifier))
	if err != nil {
		a.fail(w, http.StatusBadGateway, "The provider did not accept the code. Start again.", err)
		return
	}
	s, err := a.newSession(ctx, token, p.nonce)
	if err != nil {
		a.fail(w, http.StatusBadGateway, "The provider's tokens could not be verified.", err)
		return
	}
	// The cookie gets a new key, so that a key from before the sign-in is worthless.
	a.sessions.drop(cookieValue(r, cookieSession))
	a.setCookie(w, cookieSession, a.sessions.put(s), 12*time.Hour)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// refresh exchanges the refresh token for new tokens.
func (a *webapp) refresh(w http.ResponseWriter, r *http.Request) {
	key := cookieValue(r, cookieSession)
	s, ok := a.sessions.get(key)
	if !ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if err := s.refresh(oidc.ClientContext(r.Context(), a.http), a); err != nil {
		// The provider has revoked the grant, so the session ends too.
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) {
			a.sessions.drop(key)
			a.clearCookie(w, cookieSession)
		}
		a.fail(w, http.StatusBadGateway, "The tokens could not be refreshed. Sign in again.", err)
		return
	}
	http.Redirect(w, r, "/?refreshed=1", http.StatusSeeOther)
}

// signOut ends the session here, then at the provider (OpenID Connect RP-Initiated Logout 1.0).
func (a *webapp) signOut(w http.ResponseWriter, r *http.Request) {
	key := cookieValue(r, cookieSession)
	s, ok := a.sessions.get(key)
	a.sessions.drop(key)
	a.clearCookie(w, cookieSession)
	if !ok || a.metadata.EndSession == "" {
		http.Redirect(w, r, "/signedout", http.StatusSeeOther)
		return
	}
	end, err := url.Parse(a.metadata.EndSession)
	if err != nil {
		a.fail(w, http.StatusBadGateway, "You are signed out here. The provider's sign-out address is not usable.", err)
		return
	}
	// The state proves to /signedout that the provider sent the browser there.
	state := rand.Text()
	a.setCookie(w, cookiePending, a.pending.put(pendingSignIn{state: state}), 10*time.Minute)
	q := end.Query()
	q.Set("id_token_hint", s.view().RawIDToken)
	q.Set("state", state)
	q.Set("client_id", a.cfg.ClientID)
	q.Set("post_logout_redirect_uri", a.cfg.PublicURL+"/signedout")
	end.RawQuery = q.Encode()
	http.Redirect(w, r, end.String(), http.StatusSeeOther)
}

// signedOut answers the provider's redirect after sign-out.
func (a *webapp) signedOut(w http.ResponseWriter, r *http.Request) {
	p, ok := a.pending.take(cookieValue(r, cookiePending))
	a.clearCookie(w, cookiePending)
	everywhere := ok && subtle.ConstantTimeCompare([]byte(p.state), []byte(r.URL.Query().Get("state"))) == 1
	render(w, http.StatusOK, "signedout", map[string]any{"Title": "Signed out", "Everywhere": everywhere})
}

func (a *webapp) fail(w http.ResponseWriter, status int, sentence string, cause error) {
	if cause != nil {
		slog.Warn(sentence, "cause", cause)
	}
	render(w, status, "failed", map[string]any{"Title": "Not signed in", "Sentence": sentence})
}
