package pdp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp"
	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/policies"
)

var ctx = context.Background()

// The policies of the tenants here: employees view and edit what is theirs, auditors view
// everything, and whoever signed in by two factors approves. Auditors read expenses in every way, admins do
// anything to them that is not secret, and everybody reads and submits.
var files = policy.Files{
	"derived_roles/leave.yaml": []byte(`
apiVersion: api.cerbos.dev/v1
derivedRoles:
  name: leave
  definitions:
    - name: owner
      parentRoles: [employee]
      condition: {match: {expr: R.attr.owner == P.id}}
`),
	"leave_request.yaml": []byte(`
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: leave_request
  version: default
  importDerivedRoles: [leave]
  rules:
    - actions: [view, edit]
      effect: EFFECT_ALLOW
      derivedRoles: [owner]
      output: {when: {ruleActivated: '"yours: " + R.id'}}
    - name: auditors
      actions: [view]
      effect: EFFECT_ALLOW
      roles: [auditor]
    - actions: [approve]
      effect: EFFECT_ALLOW
      roles: ["gatehouse:user"]
      condition: {match: {expr: '"otp" in P.attr.amr'}}
    - actions: [divide]
      effect: EFFECT_ALLOW
      roles: [employee]
      output: {when: {ruleActivated: '0.0/0.0'}}
    - actions: [teleport]
      effect: EFFECT_ALLOW
      roles: [employee]
      condition: {match: {expr: '"gate" in request.aux_data.jwt.aud'}}
`),
	"expense.yaml": []byte(`
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: expense
  version: default
  rules:
    - {actions: [read, "read:*"], effect: EFFECT_ALLOW, roles: [auditor]}
    - {actions: ["*"], effect: EFFECT_ALLOW, roles: [admin]}
    - {actions: [shred, "*:secret"], effect: EFFECT_DENY, roles: ["*"]}
    - {actions: [read, submit], effect: EFFECT_ALLOW, roles: ["gatehouse:user", employee]}
`),
	"form.yaml": []byte(`
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: form
  version: default
  rules: [{actions: [create, view], effect: EFFECT_ALLOW, roles: [employee]}]
  schemas: {resourceSchema: {ref: "cerbos:///form.json", ignoreWhen: {actions: [create]}}}
`),
	"_schemas/form.json": []byte(`{"type": "object", "required": ["title"]}`),
	"odd.yaml": []byte(`
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: odd
  version: default
  rules:
    - {actions: ["v*w"], effect: EFFECT_ALLOW, roles: [employee]}
    - {actions: [list], effect: EFFECT_ALLOW, roles: [employee], condition: {match: {expr: "R.attr.public || (P.attr.active ? R.attr.flag : true)"}}}
`),
}

// world is the door behind both listeners, with the tenants acme and globex.
type world struct {
	*testkit.Database
	t        testing.TB
	log      logged
	origin   string
	conn     *grpc.ClientConn
	acme     caller.Caller
	globex   caller.Caller
	keys     *signingkey.Keys
	recorded recorded
	door     *pdp.Door
	gate     *jose.PrivateKey // signs what auxData may hold
}

type logged struct {
	mu sync.Mutex
	strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// recorded is a recorder that remembers.
type recorded struct {
	mu   sync.Mutex
	list []decision.Decision
	by   []caller.Caller
}

func (r *recorded) Record(c caller.Caller, d decision.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list, r.by = append(r.list, d), append(r.by, c)
}

func (r *recorded) last() (decision.Decision, caller.Caller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list[len(r.list)-1], r.by[len(r.by)-1]
}

// source publishes the same table for every tenant, with a key set for auxData. Being asked takes loading.
type source struct {
	table []byte
	keys  string
	clock *clock.Fake
}

// loading is what a tenant's first answer takes.
const loading = 3 * time.Millisecond

func (s source) Published(context.Context, caller.Caller) (policy.Published, error) {
	s.clock.Advance(loading)
	settings := policy.DefaultSettings()
	settings.SchemaEnforcement = policy.SchemaReject
	settings.KeySets = []policy.KeySet{{ID: "gate", Keys: s.keys}}
	return policy.Published{Revision: 7, Table: s.table, Settings: settings}, nil
}

var base = policy.NewBase(policies.Files)

var table = sync.OnceValues(func() ([]byte, error) { return policy.Compile(ctx, files, policy.DefaultSettings()) })

func both(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) { fn(t, newWorld(t, d)) })
}

// newWorldOn is a world on SQLite, for what has nothing to do with the database.
func newWorldOn(t testing.TB) *world { return newWorld(t, testkit.Open(t, testkit.SQLite(t))) }

var everything = role.Everything()

func newWorld(t testing.TB, d *testkit.Database) *world {
	t.Helper()
	ring, err := secret.ParseKeyRing(secret.NewKey("test"))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := table()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Database: d, t: t, acme: d.Tenant(t, "acme"), globex: d.Tenant(t, "globex")}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	server := httptest.NewUnstartedServer(nil)
	w.origin = "http://" + server.Listener.Addr().String()
	public, err := url.Parse(w.origin)
	if err != nil {
		t.Fatal(err)
	}
	tenants := tenant.NewDirectory(d.DB, public, d.Clock, log)
	apps := application.NewDirectory(d.DB)
	w.keys = signingkey.New(d.DB, ring, d.Clock, tenant.Touch)
	known := grant.NewKnown(&grant.Verifier{DB: d.DB, Keys: w.keys}, d.Clock)
	if w.gate, err = jose.Generate(jose.ES256); err != nil {
		t.Fatal(err)
	}
	keys, err := jose.Set{w.gate.Public()}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	engine := policy.NewInProcess(source{compiled, string(keys), d.Clock}, base)
	w.door = pdp.New(pdp.Deps{
		Access: access.New(access.Deps{Tokens: known, Sites: tenants, Applications: apps}), Engine: engine, Actions: engine, Principals: principal.New(d.DB, tenant.NewVersions(d.DB), d.Clock),
		Recorder: &w.recorded, Clock: d.Clock, AuxData: engine,
	})
	for _, drop := range []func(id.ID){apps.Drop, w.keys.Drop, known.Drop, engine.Drop} {
		tenants.Watch(drop)
	}
	mux, metrics := http.NewServeMux(), web.NewMetrics(prometheus.NewRegistry())
	w.door.Register(mux)
	server.Config.Handler = (&web.Handler{Sites: tenants, PublicURL: public, Tenant: mux, Metrics: metrics, Log: log, Clock: d.Clock}).Ready()
	server.Start()
	calls := &web.RPC{Address: "127.0.0.1:0", Metrics: metrics, Log: log, Clock: d.Clock, Drain: time.Second}
	w.door.Serve(calls)
	if err := calls.Listen(); err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- calls.Serve(run) }()
	if w.conn, err = grpc.NewClient(calls.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.conn.Close()
		server.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) update(c caller.Caller, fn func(tx *db.Tx) error) {
	w.t.Helper()
	if err := w.Update(ctx, c, fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) issuer(c caller.Caller) string {
	if c.Tenant == w.globex.Tenant {
		return w.origin + "/t/globex"
	}
	return w.origin + "/t/acme"
}

// machine makes a machine application that may ask.
func (w *world) machine(c caller.Caller, mode application.PrincipalMode) (app application.Application) {
	w.t.Helper()
	w.update(c, func(tx *db.Tx) (err error) {
		app, _, err = application.Create(ctx, tx, application.New{Name: "Leave", Type: application.Machine, PrincipalMode: mode, Scopes: []string{application.ScopeDecide}})
		return err
	})
	return app
}

// token is a JWT of an application's own with a scope.
func (w *world) token(c caller.Caller, app application.Application, scope string) string {
	w.t.Helper()
	return w.sign(c, grant.AccessClaims{Claims: jose.Claims{Subject: app.ID.String()}, ClientID: app.ClientID, Scope: scope, Application: app.ID.String()})
}

func (w *world) sign(c caller.Caller, claims grant.AccessClaims) string {
	w.t.Helper()
	s, err := w.keys.Signer(ctx, c, jose.ES256, jose.TypeAccessToken)
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.Clock.Now()
	claims.Issuer, claims.Audience, claims.ID = w.issuer(c), jose.Audience{w.issuer(c)}, id.New().String()
	claims.IssuedAt, claims.Expiry = jose.At(now), jose.At(now.Add(10*time.Minute))
	text, err := s.Sign(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// asking is the token of a new machine application of acme.
func (w *world) asking(mode application.PrincipalMode) string {
	return w.token(w.acme, w.machine(w.acme, mode), application.ScopeDecide)
}

// person makes a user of acme with roles, and a token of theirs.
func (w *world) person(username string, amr []string, roles ...string) (u user.User, token string) {
	w.t.Helper()
	var app application.Application
	var g grant.Grant
	w.update(w.acme, func(tx *db.Tx) (err error) {
		if u, err = user.Create(ctx, tx, user.New{Username: username}); err != nil {
			return err
		}
		for _, name := range roles {
			if err := role.Give(ctx, tx, role.Everything(), role.OfUser(u.ID), name, time.Time{}); err != nil {
				return err
			}
		}
		if app, _, err = application.Create(ctx, tx, application.New{Name: "Portal", Type: application.Web, RedirectURIs: []string{"https://a.example"}}); err != nil {
			return err
		}
		s, _, err := session.Start(ctx, tx, session.New{User: u.ID, AMR: amr})
		if err != nil {
			return err
		}
		g, _, err = grant.Create(ctx, tx, grant.New{Application: app.ID, User: u.ID, Session: s.ID, Scopes: []string{application.ScopeDecide}, Lifetime: time.Hour, AMR: amr, AuthTime: tx.Now()})
		return err
	})
	return u, w.sign(w.acme, grant.AccessClaims{
		Claims: jose.Claims{Subject: u.ID.String()}, Scope: application.ScopeDecide, Application: app.ID.String(), GrantID: g.ID.String(),
		AMR: amr, AuthTime: jose.At(w.Clock.Now()),
	})
}

type answered struct {
	status int
	header http.Header
	body   string
}

func (a answered) json(t testing.TB) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%d, not JSON: %s", a.status, a.body)
	}
	return m
}

// post asks over HTTP.
func (w *world) post(token, path, body string) answered {
	w.t.Helper()
	r, err := http.NewRequest("POST", w.origin+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(r)
}

func (w *world) do(r *http.Request) answered {
	w.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, string(b)}
}
