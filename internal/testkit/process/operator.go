package process

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Operator calls a server's management API with the platform's machine application.
type Operator struct {
	server *Server
	http   *http.Client

	mu    sync.Mutex
	token string
	until time.Time
}

// Operator returns a client of the management API.
func (s *Server) Operator() *Operator {
	return &Operator{server: s, http: &http.Client{Transport: connections, Timeout: 30 * time.Second}}
}

// freshToken returns an access token of the platform tenant. It is at most a minute old.
func (o *Operator) freshToken() (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.token != "" && time.Now().Before(o.until) {
		return o.token, nil
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err := PostForm(o.http, o.server.URL+"/t/platform/oauth2/token", o.server.Client, o.server.Secret,
		url.Values{"grant_type": {"client_credentials"}}, &answer)
	if err != nil {
		return "", err
	}
	o.token, o.until = answer.AccessToken, time.Now().Add(time.Minute)
	return o.token, nil
}

// Call sends a request below /t/{tenant}/api/v1 and decodes the answer into out, unless out is nil.
// An answer without success is a *Refusal.
func (o *Operator) Call(method, tenant, path string, in, out any) error {
	if in == nil {
		return o.Send(method, tenant, path, "", nil, out)
	}
	encoded, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return o.Send(method, tenant, path, "application/json", encoded, out)
}

// Send is Call with a body of any type. An empty contentType sends no body. An out of type *[]byte
// gets the raw answer.
func (o *Operator) Send(method, tenant, path, contentType string, body []byte, out any) error {
	token, err := o.freshToken()
	if err != nil {
		return err
	}
	r, err := http.NewRequest(method, o.server.URL+"/t/"+tenant+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return answer(o.http, r, out)
}

// MustCall is Call for tests that cannot continue without it.
func (o *Operator) MustCall(t testing.TB, method, tenant, path string, in, out any) {
	t.Helper()
	if err := o.Call(method, tenant, path, in, out); err != nil {
		t.Fatal(err)
	}
}

// Refusal is an answer of the server without success.
type Refusal struct {
	Status int
	Body   string
	After  string // Retry-After
}

func (r *Refusal) Error() string { return fmt.Sprintf("status %d: %s", r.Status, r.Body) }

// PostForm posts a form with the HTTP Basic authentication of an OAuth client and decodes the JSON
// answer into out. RFC 6749 §2.3.1 encodes both parts as forms.
func PostForm(client *http.Client, address, id, secret string, form url.Values, out any) error {
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return answer(client, r, out)
}

func answer(client *http.Client, r *http.Request, out any) error {
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("%s %s: %w", r.Method, r.URL.Path,
			&Refusal{Status: res.StatusCode, Body: string(body), After: res.Header.Get("Retry-After")})
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return nil
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	return json.Unmarshal(body, out)
}
