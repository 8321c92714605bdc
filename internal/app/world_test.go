package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/config"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// world is the whole application behind a loopback listener.
type world struct {
	*App
	t   *testing.T
	url string
}

const (
	operatorID     = "operator"
	operatorSecret = "0123456789abcdef0123456789abcdef"
)

// both runs fn against the whole application on each database.
func both(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, open(t, "")) })
	t.Run("postgres", func(t *testing.T) { fn(t, open(t, testkit.Postgres(t))) })
}

func open(t *testing.T, dsn string, environ ...string) *world {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	t.Cleanup(srv.Close)
	data := filepath.Join(t.TempDir(), "data")
	if dsn == "" { // migrated, as testkit.Postgres is
		if err := errors.Join(os.Mkdir(data, 0o700), os.Rename(testkit.SQLite(t), filepath.Join(data, "gatehouse.db"))); err != nil {
			t.Fatal(err)
		}
	}
	env := append([]string{"GATEHOUSE_ADMIN_CLIENT_ID=" + operatorID, "GATEHOUSE_ADMIN_CLIENT_SECRET=" + operatorSecret,
		"GATEHOUSE_PUBLIC_URL=http://" + srv.Listener.Addr().String(), "GATEHOUSE_DATA=" + data}, environ...)
	if dsn != "" {
		env = append(env, "GATEHOUSE_DATABASE="+dsn)
	}
	cfg, err := config.Load(config.Flags{}, env)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	if _, err := a.firstStart(context.Background()); err != nil {
		t.Fatal(err)
	}
	hosted, err := a.pages()
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = a.handler(hosted, web.NewMetrics(prometheus.NewRegistry()), nil, nil)
	srv.Start()
	return &world{App: a, t: t, url: srv.URL}
}

// answered is what a request got.
type answered struct {
	status int
	header http.Header
	body   []byte
}

func (a answered) json(t *testing.T) map[string]any {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("not JSON: %s", a.body)
	}
	return m
}

func (w *world) do(r *http.Request) answered {
	w.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, b}
}

// call sends a JSON request below a tenant's management API.
func (w *world) call(token, method, tenant, path string, body any) answered {
	w.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, w.url+"/t/"+tenant+"/api/v1"+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(r)
}

// must is call for what has to succeed; it returns the body's fields.
func (w *world) must(token, method, tenant, path string, body any) map[string]any {
	w.t.Helper()
	a := w.call(token, method, tenant, path, body)
	if a.status < 200 || a.status > 299 {
		w.t.Fatalf("%s %s%s: %d %s", method, tenant, path, a.status, a.body)
	}
	if len(a.body) == 0 {
		return nil
	}
	return a.json(w.t)
}

// form posts to an endpoint of a tenant as an OAuth client.
func (w *world) form(tenant, path, clientID, clientSecret string, form url.Values) answered {
	w.t.Helper()
	r, err := http.NewRequest("POST", w.url+"/t/"+tenant+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if clientID != "" {
		r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
	}
	return w.do(r)
}

// token gets an access token by the client credentials grant.
func (w *world) token(tenant, clientID, clientSecret string) string {
	w.t.Helper()
	a := w.form(tenant, "/oauth2/token", clientID, clientSecret, url.Values{"grant_type": {"client_credentials"}})
	tok, _ := a.json(w.t)["access_token"].(string)
	if a.status != 200 || tok == "" {
		w.t.Fatalf("token of %s: %d %s", clientID, a.status, a.body)
	}
	return tok
}

func (w *world) operatorToken() string { return w.token("platform", operatorID, operatorSecret) }

// machine makes a machine application with a role in a tenant and returns its credentials.
func (w *world) machine(tenant, roleName string, format application.AccessToken) (clientID, clientSecret string) {
	w.t.Helper()
	by, err := w.operator(context.Background(), tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.DB.Update(context.Background(), by, func(tx *db.Tx) error {
		app, shown, err := application.Create(context.Background(), tx, application.New{Name: roleName + " machine", Type: application.Machine, AccessToken: format})
		clientID, clientSecret = app.ClientID, shown.Reveal()
		if err != nil || roleName == "" {
			return err
		}
		return role.Give(context.Background(), tx, role.Everything(), role.OfApplication(app.ID), roleName, noTime)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return clientID, clientSecret
}

// publish imports and publishes policies.
func (w *world) publish(token, tenant string, files policy.Files) {
	w.t.Helper()
	r, err := http.NewRequest("POST", w.url+"/t/"+tenant+"/api/v1/policies/import?publish=true&reason=because", bytes.NewReader(files.Archive(policy.TarGz)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if got := w.do(r); got.status != 201 {
		w.t.Fatalf("publish policies of %s: %d %s", tenant, got.status, got.body)
	}
}
