package bench

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

const (
	redirectURI = "http://127.0.0.1:9/callback"
	password    = "a password of usual length"
	scope       = "openid profile email offline_access"
)

// scene is a server with one tenant that has all that the rows need.
type scene struct {
	server   *process.Server
	operator *process.Operator
	issuer   string
	path     string // /t/{tenant}

	machine process.Application // client credentials, JWT access tokens
	opaque  process.Application // client credentials, opaque access tokens
	web     process.Application // first party: no consent page

	user     string // its email; the password is the constant
	users    int
	visitors []*process.Visitor // signed in, each with a user of its own
}

type createdApplication struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
}

// newScene creates the tenant, its applications and its first user through the management API.
func newScene(t testing.TB, server *process.Server) (*scene, error) {
	s := &scene{server: server, operator: server.Operator(), path: "/t/bench"}
	var tenant struct {
		Issuer string `json:"issuer"`
	}
	if err := s.operator.Call("POST", "platform", "/tenants", map[string]any{"slug": "bench", "name": "Bench"},
		&tenant); err != nil {
		return nil, err
	}
	s.issuer = tenant.Issuer
	for _, a := range []struct {
		to     *process.Application
		fields map[string]any
	}{
		{&s.machine, map[string]any{"name": "machine", "type": "machine"}},
		{&s.opaque, map[string]any{"name": "opaque", "type": "machine", "access_token": "opaque"}},
		{&s.web, map[string]any{"name": "web", "type": "web", "redirect_uris": []string{redirectURI},
			"first_party": true, "id_token_alg": "ES256"}},
	} {
		var created createdApplication
		if err := s.operator.Call("POST", "bench", "/applications", a.fields, &created); err != nil {
			return nil, err
		}
		*a.to = process.Application{Issuer: s.issuer, ClientID: created.ClientID, Secret: created.Secret,
			RedirectURI: redirectURI}
	}
	var err error
	s.user, err = s.newUser()
	return s, err
}

func (s *scene) newUser() (string, error) {
	s.users++
	email := fmt.Sprintf("user%d@example.com", s.users)
	return email, s.operator.Call("POST", "bench", "/users",
		map[string]any{"email": email, "password": password, "given_name": "Ada"}, nil)
}

// host returns the address that connections use.
func (s *scene) host() string { return strings.TrimPrefix(s.server.URL, "http://") }

// get returns a prepared GET request below the tenant's path.
func (s *scene) get(path string, header ...string) []byte {
	return []byte("GET " + s.path + path + " HTTP/1.1\r\nHost: " + s.host() + "\r\n" +
		strings.Join(append(header, "\r\n"), "\r\n"))
}

// post returns a prepared POST of a form by an application with HTTP Basic authentication.
func (s *scene) post(path string, app process.Application, form url.Values) []byte {
	body := form.Encode()
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(app.ClientID) + ":" +
		url.QueryEscape(app.Secret)))
	return fmt.Appendf(nil,
		"POST %s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: "+
			"application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		s.path, path, s.host(), basic, len(body), body)
}

// session signs the user in and returns the Cookie header that the browser then sends.
func (s *scene) session() (string, error) {
	v := process.NewVisitor()
	if _, err := v.SignIn(s.web, s.user, password, scope); err != nil {
		return "", err
	}
	at, err := url.Parse(s.issuer + "/account/session")
	if err != nil {
		return "", err
	}
	var pairs []string
	for _, c := range v.HTTP.Jar.Cookies(at) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	if len(pairs) == 0 {
		return "", errors.New("signing in set no cookie for /account/session")
	}
	return "Cookie: " + strings.Join(pairs, "; "), nil
}

// connect opens one connection for each worker. They are closed with the test.
func connect(t testing.TB, address string, workers int) []*connection {
	all := make([]*connection, workers)
	for i := range all {
		all[i] = &connection{address: address}
		t.Cleanup(all[i].close)
	}
	return all
}

// record stores the server's answer to a request, which the bare handler repeats.
func record(s *scene, method, path string, app process.Application, form url.Values) (recorded, error) {
	r, err := http.NewRequest(method, s.server.URL+s.path+path, strings.NewReader(form.Encode()))
	if err != nil {
		return recorded{}, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(url.QueryEscape(app.ClientID), url.QueryEscape(app.Secret))
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return recorded{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.500s", path, res.StatusCode, body)
	}
	return recorded{Status: res.StatusCode, Header: res.Header, Body: body}, err
}
