package pdp_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
	"github.com/gatehouse-iam/gatehouse/policies"
)

var ctx = context.Background()

// The policies of the tenants here: employees view and edit what is theirs, auditors view
// everything, and a user who signed in with two factors approves. Auditors read expenses in every
// way, admins do anything to them that is not secret, and everybody reads and submits.
var files = compiler.Files{
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

// scene is the world of the door's tests: the tenants acme and globex, whose published policies
// are files, and a connection to the gRPC listener.
type scene struct {
	*world.World
	conn     *grpc.ClientConn
	acme     caller.Caller
	globex   caller.Caller
	recorded recorded
	gate     *jose.PrivateKey // signs what auxData may hold
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

// source publishes the same table for every tenant, with a key set for auxData. Being asked takes
// loading.
type source struct {
	table []byte
	keys  string
	clock *clock.Fake
}

// loading is what a tenant's first answer takes.
const loading = 3 * time.Millisecond

func (s source) Published(context.Context, caller.Caller) (engine.Published, error) {
	s.clock.Advance(loading)
	settings := engine.DefaultSettings()
	settings.SchemaEnforcement = engine.SchemaReject
	settings.KeySets = []engine.KeySet{{ID: "gate", Keys: s.keys}}
	return engine.Published{Revision: 7, Table: s.table, Settings: settings}, nil
}

var base = compiler.NewBase(compiler.BaseTable(policies.Files))

var table = sync.OnceValues(func() ([]byte, error) {
	compiled, err := compiler.Compile(ctx, files, engine.DefaultSettings())
	return compiled.Table, err
})

func both(t *testing.T, fn func(t *testing.T, w *scene)) {
	t.Helper()
	world.Both(t, func(t *testing.T, w *world.World) { fn(t, newScene(w)) })
}

// onSQLite returns a scene for tests in which the database does not matter.
func onSQLite(t testing.TB) *scene { return newScene(world.OnSQLite(t)) }

var everything = role.Everything()

func newScene(built *world.World) *scene {
	w := &scene{World: built, acme: built.Tenant("acme", nil), globex: built.Tenant("globex", nil)}
	w.T.Helper()
	compiled, err := table()
	if err != nil {
		w.T.Fatal(err)
	}
	if w.gate, err = jose.Generate(jose.ES256); err != nil {
		w.T.Fatal(err)
	}
	keys, err := jose.Set{w.gate.Public()}.Marshal()
	if err != nil {
		w.T.Fatal(err)
	}
	engine := engine.New(source{compiled, string(keys), w.Clock}, base)
	w.App.Tenants.Watch(engine.Drop)
	door := w.App.PDP
	door.Engine, door.Actions, door.Recorder = engine, engine, &w.recorded
	w.listen()
	return w
}

// listen serves gRPC until the test ends, and connects to it.
func (w *scene) listen() {
	w.T.Helper()
	log := slog.New(slog.NewTextHandler(w.Log, nil))
	calls := &web.RPC{Address: "127.0.0.1:0", Metrics: web.NewMetrics(prometheus.NewRegistry()), Log: log,
		Clock: w.Clock, Drain: time.Second}
	w.App.PDP.Serve(calls)
	if err := calls.Listen(); err != nil {
		w.T.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- calls.Serve(run) }()
	var err error
	if w.conn, err = grpc.NewClient(calls.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		_ = w.conn.Close()
		stop()
		if err := <-served; err != nil {
			w.T.Error(err)
		}
	})
}

func (w *scene) issuer(c caller.Caller) string {
	if c.Tenant == w.globex.Tenant {
		return w.Base("globex")
	}
	return w.Base("acme")
}

// machine registers a machine application that may ask for decisions.
func (w *scene) machine(c caller.Caller, mode application.PrincipalMode) application.Application {
	w.T.Helper()
	return w.Client(c, application.New{Name: "Leave", Type: application.Machine, PrincipalMode: mode,
		Scopes: []string{application.ScopeDecide}}).Application
}

// token is a JWT of an application's own with a scope.
func (w *scene) token(c caller.Caller, app application.Application, scope string) string {
	w.T.Helper()
	return w.sign(c, grant.AccessClaims{Claims: jose.Claims{Subject: app.ID.String()}, ClientID: app.ClientID,
		Scope: scope, Application: app.ID.String()})
}

func (w *scene) sign(c caller.Caller, claims grant.AccessClaims) string {
	w.T.Helper()
	s, err := w.App.Keys.Signer(ctx, c, jose.ES256, jose.TypeAccessToken)
	if err != nil {
		w.T.Fatal(err)
	}
	now := w.Clock.Now()
	claims.Issuer, claims.Audience, claims.ID = w.issuer(c), jose.Audience{w.issuer(c)}, id.New().String()
	claims.IssuedAt, claims.Expiry = jose.At(now), jose.At(now.Add(10*time.Minute))
	text, err := s.Sign(claims)
	if err != nil {
		w.T.Fatal(err)
	}
	return text
}

// asking is the token of a new machine application of acme.
func (w *scene) asking(mode application.PrincipalMode) string {
	return w.token(w.acme, w.machine(w.acme, mode), application.ScopeDecide)
}

// person creates a user of acme with roles, and a token of theirs.
func (w *scene) person(username string, amr []string, roles ...string) (user.User, string) {
	w.T.Helper()
	u := w.User(w.acme, user.Profile{Username: username}, roles...)
	app := w.Client(w.acme, application.New{Name: "Portal", Type: application.Web,
		RedirectURIs: []string{"https://a.example"}, Scopes: []string{"openid", application.ScopeDecide}})
	var g grant.Grant
	w.Do(w.acme, func(tx *db.Tx) error {
		s, _, err := session.Start(ctx, tx, session.New{User: u.ID, AMR: amr, ACR: signin.LevelOf(amr)})
		if err != nil {
			return err
		}
		g, _, err = grant.Create(ctx, tx, grant.New{Application: app.ID, User: u.ID, Session: s.ID,
			Scopes: []string{application.ScopeDecide}, Lifetime: time.Hour, AMR: amr, AuthTime: tx.Now()})
		return err
	})
	return u, w.sign(w.acme, grant.AccessClaims{
		Claims: jose.Claims{Subject: u.ID.String()}, Scope: application.ScopeDecide, Application: app.ID.String(),
		GrantID: g.ID.String(),
		AMR:     amr, AuthTime: jose.At(w.Clock.Now()),
	})
}

// post asks over HTTP at a path of the server.
func (w *scene) post(token, path, body string) world.Answer {
	w.T.Helper()
	r, err := http.NewRequest(http.MethodPost, w.Origin+path, strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.Send(r)
}
