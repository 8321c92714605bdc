package world

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Send sends one request without cookies. It follows no redirect. An answer of the management API
// must be as its description says.
func (w *World) Send(r *http.Request) Answer {
	w.T.Helper()
	a := w.Browser("platform").Send(r)
	w.checkContract(r, a)
	return a
}

// Request builds a request to a path below a tenant's base. An empty token leaves out the
// Authorization header.
func (w *World) Request(token, method, slug, path, contentType string, body io.Reader) *http.Request {
	w.T.Helper()
	r, err := http.NewRequest(method, w.Base(slug)+path, body)
	if err != nil {
		w.T.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// Call sends a JSON request to a tenant's management API.
func (w *World) Call(token, method, slug, path string, body any) Answer {
	w.T.Helper()
	if body == nil {
		return w.Send(w.Request(token, method, slug, "/api/v1"+path, "", nil))
	}
	b, err := json.Marshal(body)
	if err != nil {
		w.T.Fatal(err)
	}
	return w.Send(w.Request(token, method, slug, "/api/v1"+path, "application/json", bytes.NewReader(b)))
}

// Must is Call for requests that have to succeed. It returns the body's fields.
func (w *World) Must(token, method, slug, path string, body any) map[string]any {
	w.T.Helper()
	a := w.Call(token, method, slug, path, body)
	if a.Status < 200 || a.Status > 299 {
		w.T.Fatalf("%s %s%s: %d %s", method, slug, path, a.Status, a.Body)
	}
	if a.Body == "" {
		return nil
	}
	return a.JSON(w.T)
}

// Form posts a form to a tenant's endpoint as an OAuth client. An empty client id leaves out the
// authentication.
func (w *World) Form(slug, path, clientID, clientSecret string, form url.Values) Answer {
	w.T.Helper()
	r := w.Request("", http.MethodPost, slug, path, "application/x-www-form-urlencoded",
		strings.NewReader(form.Encode()))
	if clientID != "" {
		r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
	}
	return w.Send(r)
}

// Token gets an access token by the client credentials grant.
func (w *World) Token(slug, clientID, clientSecret string) string {
	w.T.Helper()
	a := w.Form(slug, "/oauth2/token", clientID, clientSecret, url.Values{"grant_type": {"client_credentials"}})
	token, _ := a.JSON(w.T)["access_token"].(string)
	if a.Status != http.StatusOK || token == "" {
		w.T.Fatalf("token of %s: %d %s", clientID, a.Status, a.Body)
	}
	return token
}

// Machine creates a machine application that holds a role in the management API, and returns its
// credentials. An empty
// roleName gives it no role.
func (w *World) Machine(slug, roleName string, format application.AccessToken) (string, string) {
	w.T.Helper()
	c := w.By(slug)
	made := w.Client(c, application.New{Name: roleName + " machine", Type: application.Machine, AccessToken: format,
		Scopes: []string{application.ScopeManage}})
	if roleName != "" {
		w.Do(c, func(tx *db.Tx) error {
			return role.Assign(ctx, tx, role.Everything(), role.OfApplication(made.ID), roleName, time.Time{})
		})
	}
	return made.ClientID, made.Secret.Reveal()
}

// Holder returns the access token of a new machine application that holds a role.
func (w *World) Holder(slug, roleName string) string {
	w.T.Helper()
	clientID, clientSecret := w.Machine(slug, roleName, application.JWT)
	return w.Token(slug, clientID, clientSecret)
}

// Operator returns an access token of the platform's operator, whom the first start creates.
func (w *World) Operator() string {
	w.T.Helper()
	w.App.Config.AdminClientID, w.App.Config.AdminClientSecret = operatorID, operatorSecret
	if _, err := w.App.FirstStart(ctx); err != nil {
		w.T.Fatal(err)
	}
	return w.Token("platform", operatorID, operatorSecret.Reveal())
}

const (
	operatorID     = "operator"
	operatorSecret = secret.String("0123456789abcdef0123456789abcdef")
)

// Publish imports policies into a tenant through its API and publishes them.
func (w *World) Publish(token, slug string, files compiler.Files) {
	w.T.Helper()
	r := w.Request(token, http.MethodPost, slug, "/api/v1/policies/import?publish=true&reason=because", "",
		bytes.NewReader(policy.Pack(files, policy.TarGz)))
	if a := w.Send(r); a.Status != http.StatusCreated {
		w.T.Fatalf("publish policies of %s: %d %s", slug, a.Status, a.Body)
	}
}
