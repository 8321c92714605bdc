package process

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Visitor is a person at a browser without JavaScript: cookies, links and forms.
type Visitor struct {
	HTTP *http.Client
}

// connections are shared by all visitors, so that a new visitor opens no new connection.
var connections = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}

// NewVisitor returns a visitor without cookies.
func NewVisitor() *Visitor {
	jar, _ := cookiejar.New(nil)
	return &Visitor{HTTP: &http.Client{Transport: connections, Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}}
}

// Application is an OAuth client and its secret.
type Application struct {
	Issuer, ClientID, Secret, RedirectURI string
}

// Tokens is the answer of a token endpoint.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
}

// SignIn walks through the hosted pages with a password and consent, and redeems the code (PKCE
// with S256).
func (v *Visitor) SignIn(app Application, username, password, scope string) (Tokens, error) {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {app.ClientID}, "redirect_uri": {app.RedirectURI}, "response_type": {"code"}, "scope": {scope},
		"state": {"s"}, "nonce": {"n"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
	}
	to, err := v.Authorize(app, app.Issuer+"/oauth2/authorize?"+q.Encode(), username, password)
	if err != nil {
		return Tokens{}, err
	}
	code := to.Query().Get("code")
	if code == "" {
		return Tokens{}, fmt.Errorf("no code in the answer: %s", to)
	}
	var tokens Tokens
	err = PostForm(v.HTTP, app.Issuer+"/oauth2/token", app.ClientID, app.Secret, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {app.RedirectURI},
		"code_verifier": {verifier},
	}, &tokens)
	return tokens, err
}

// Authorize follows redirects and submits the pages on the way with username, password and consent.
// It returns the redirect URI without visiting it.
func (v *Visitor) Authorize(app Application, address, username, password string) (*url.URL, error) {
	method, form := http.MethodGet, url.Values(nil)
	for range 20 {
		if strings.HasPrefix(address, app.RedirectURI) {
			return url.Parse(address)
		}
		page, location, err := v.visit(method, address, form)
		if err != nil {
			return nil, err
		}
		if location != "" {
			method, address, form = http.MethodGet, location, nil
			continue
		}
		at, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		action, fields := firstForm(page, "allow", "password", "username")
		if action == nil {
			return nil, fmt.Errorf("nothing to fill in at %s: %.600s", at.Path, page)
		}
		form = url.Values{}
		for name, value := range fields {
			switch name {
			case "username":
				value = username
			case "password":
				value = password
			}
			form.Set(name, value)
		}
		method, address = http.MethodPost, at.ResolveReference(action).String()
	}
	return nil, fmt.Errorf("the sign-in did not come back to the application; last at %s", address)
}

func (v *Visitor) visit(method, address string, form url.Values) (page, location string, err error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, address, body)
	if err != nil {
		return "", "", err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	}
	res, err := v.HTTP.Do(r)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", "", err
	}
	if to, err := res.Location(); err == nil {
		return "", to.String(), nil
	}
	if res.StatusCode >= 500 {
		return "", "", fmt.Errorf("%s %s: %w", method, r.URL.Path, &Refusal{Status: res.StatusCode, Body: string(b)})
	}
	return string(b), "", nil
}

var (
	formTag   = regexp.MustCompile(`(?s)<form\b([^>]*)>(.*?)</form>`)
	fieldTag  = regexp.MustCompile(`<(input|button)\b([^>]*)>`)
	attribute = regexp.MustCompile(`([a-zA-Z-]+)="([^"]*)"`)
)

// firstForm returns the action and fields of the first form with a control of one of these names or
// ids, tried in this order. A named button among them counts as pressed.
func firstForm(page string, wanted ...string) (*url.URL, map[string]string) {
	for _, want := range wanted {
		for _, form := range formTag.FindAllStringSubmatch(page, -1) {
			fields, found := map[string]string{}, false
			for _, tag := range fieldTag.FindAllStringSubmatch(form[2], -1) {
				a := attributes(tag[2])
				named := a["name"] == want || a["id"] == want
				found = found || (named && a["type"] != "hidden")
				if a["name"] != "" && (tag[1] == "input" && a["type"] != "checkbox" || named) {
					fields[a["name"]] = a["value"]
				}
			}
			if found {
				action, err := url.Parse(attributes(form[1])["action"])
				if err != nil {
					return nil, nil
				}
				return action, fields
			}
		}
	}
	return nil, nil
}

func attributes(tag string) map[string]string {
	found := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		found[strings.ToLower(m[1])] = html.UnescapeString(m[2])
	}
	return found
}
