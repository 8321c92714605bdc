package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// described is an operation of the server's own description.
type described struct {
	id, method, path, action string
	platform                 bool
}

func operationsOf(t *testing.T, doc string) []described {
	t.Helper()
	var out []described
	var d struct {
		Paths map[string]map[string]struct {
			ID       string `json:"operationId"`
			Action   string `json:"x-action"`
			Platform bool   `json:"x-platform-only"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			out = append(out, described{op.ID, strings.ToUpper(method), path, op.Action, op.Platform})
		}
	}
	slices.SortFunc(out, func(a, b described) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(out) < 20 {
		t.Fatalf("only %d operations are described", len(out))
	}
	return out
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// twin is one of two tenants that hold the same things.
type twin struct {
	slug, client, secret string
	paths                map[string]string // path with placeholders → path with this tenant's ids
	ids                  []string
}

// bodies are accepted requests for every operation on one thing that has a body.
var bodies = map[string]any{
	"PATCH /users/{id}":                     map[string]any{"given_name": "Changed"},
	"PUT /users/{id}/password":              map[string]any{"password": "a stapler that is red"},
	"POST /users/{id}/roles":                map[string]any{"role": "auditor"},
	"POST /applications/{id}/roles":         map[string]any{"role": "auditor"},
	"PATCH /applications/{id}":              map[string]any{"name": "Changed"},
	"POST /applications/{id}/secret":        map[string]any{},
	"POST /groups/{id}/roles":               map[string]any{"role": "auditor"},
	"POST /invitations/{id}/resend":         map[string]any{},
	"PATCH /groups/{id}":                    map[string]any{"description": "changed"},
	"PATCH /apis/{id}":                      map[string]any{"name": "Changed"},
	"PATCH /roles/{name}":                   map[string]any{"description": "changed"},
	"POST /applications/{id}/rotate-secret": map[string]any{},
	"PUT /policies/draft/files/{path}":      map[string]any{},
	"POST /policies/revisions/{n}/rollback": map[string]any{"reason": "it was better"},
}

// readsByPost are operations that change nothing and take a body. Like a GET, one leaves a decision
// record and no event.
var readsByPost = map[string]bool{"preview-mappings": true}

func newTwin(w *world.World, operator, slug string) *twin {
	w.T.Helper()
	w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": slug, "name": strings.ToUpper(slug)})
	t := &twin{slug: slug, paths: map[string]string{}}
	t.client, t.secret = w.Machine(slug, role.Owner, application.Opaque)
	token := w.Token(slug, t.client, t.secret)
	user := w.Must(token, "POST", slug, "/users",
		map[string]any{"email": "ada@" + slug + ".example", "password": "a stapler that is red",
			"roles": []string{"auditor"}})["id"].(string)
	app := w.Must(token, "POST", slug, "/applications",
		map[string]any{"name": "Reports", "type": "machine"})["id"].(string)
	w.Must(token, "POST", slug, "/applications/"+app+"/roles", map[string]any{"role": "auditor"})
	w.Must(token, "POST", slug, "/roles", map[string]any{"name": "support-" + slug, "actions": []string{"user.read"}})
	group := w.Must(token, "POST", slug, "/groups", map[string]any{"name": "Finance of " + slug})["id"].(string)
	w.Must(token, "POST", slug, "/groups/"+group+"/members", map[string]any{"user_id": user})
	w.Must(token, "POST", slug, "/groups/"+group+"/roles", map[string]any{"role": "auditor"})
	invited := w.Must(token, "POST", slug, "/invitations",
		map[string]any{"email": "bob@" + slug + ".example"})["id"].(string)
	made := w.Must(token, "POST", slug, "/apis", map[string]any{"identifier": "https://api." + slug + ".example",
		"name": "Invoices", "scopes": []any{map[string]any{"name": "read"}}, "servers": []string{app}})["id"].(string)
	event := w.Must(token, "GET", slug, "/audit-events?limit=1",
		nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	by := w.By(slug)
	uid, _ := id.Parse(user)
	var sid id.ID
	aid, _ := id.Parse(app)
	var held grant.Grant
	err := w.Update(context.Background(), by, func(tx *db.Tx) error {
		s, _, err := session.Start(context.Background(), tx,
			session.New{User: uid, AMR: []string{"pwd"}, ACR: signin.OneFactor})
		if err != nil {
			return err
		}
		sid = s.ID
		n := grant.New{Application: aid, User: uid, Session: sid, Lifetime: time.Hour, AuthTime: tx.Now()}
		_, code, err := grant.Create(context.Background(), tx, n)
		if err != nil {
			return err
		}
		held, _, err = grant.ConsumeCode(context.Background(), tx, code.Reveal(), grant.Redemption{Application: aid,
			Differs: func(string, string) string { return "" },
			Allows:  func(context.Context, *db.Tx, grant.Grant) (bool, error) { return true, nil }})
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	answer := decision.Decision{ID: id.New(), Kind: decision.Check,
		Inputs: []*enginev1.CheckInput{{Principal: &enginev1.Principal{Id: "ada@" + slug, Roles: []string{"user"}},
			Resource: &enginev1.Resource{Kind: "document", Id: "d1"}, Actions: []string{"read"}}}}
	w.App.Decisions.Record(by, answer)
	testkit.Eventually(w.T, "the records are written", func() bool {
		return w.Call(token, "GET", slug, "/decisions/"+answer.ID.String(), nil).Status == 200
	})
	// The second of three revisions, of which the other tenants have one.
	revisions, file := 1, "albums-of-"+slug+".yaml"
	if slug == "acme" {
		revisions = 3
	}
	for n := range revisions {
		w.Publish(token, slug,
			compiler.Files{file: []byte("# " + strings.Repeat("again ", n) +
				"\napiVersion: api.cerbos.dev/v1\nresourcePolicy: {resource: album, version: default, rules: " +
				"[{actions: [view], effect: EFFECT_ALLOW, roles: [user]}]}\n")})
	}
	if _, err := w.App.Keys.JWKS(context.Background(), by); err != nil { // creates the tenant's keys
		w.T.Fatal(err)
	}
	// ES256, because tenants of one test process share RSA keys.
	keys := w.Must(token, "GET", slug, "/signing-keys?state=signing&algorithm=ES256", nil)["items"].([]any)
	t.paths["policies/revisions"], t.paths["policies/draft"] = "2", file
	t.ids = append(t.ids, file)
	for noun, things := range map[string]string{"decisions": answer.ID.String(), "users": user, "applications": app,
		"sessions": sid.String(), "grants": held.ID.String(),
		"audit-events": event, "roles": "support-" + slug, "groups": group, "apis": made, "invitations": invited,
		"signing-keys": keys[0].(map[string]any)["kid"].(string)} {
		t.paths[noun] = things
		t.ids = append(t.ids, things)
	}
	return t
}

// concrete replaces the placeholders of a path by the tenant's own ids.
func (t *twin) concrete(tt *testing.T, path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	noun := parts[0]
	if noun == "policies" {
		noun += "/" + parts[1]
	}
	thing, ok := t.paths[noun]
	if !ok {
		tt.Fatalf("%s: this test has no %s of a tenant; add one to twin()", path, noun)
	}
	first := true
	return placeholder.ReplaceAllStringFunc(path, func(name string) string {
		switch {
		case first:
			first = false
			return thing
		case name == "{user}":
			return t.paths["users"]
		}
		return "auditor" // the second placeholder is a role of the first thing
	})
}

// body is an accepted request for an operation on one of the tenant's things.
func (t *twin) body(operation string) any {
	switch operation {
	case "POST /groups/{id}/members", "POST /applications/{id}/mappings/preview":
		return map[string]any{"user_id": t.paths["users"]}
	}
	return bodies[operation]
}

// Lock five: every operation, called by tenant B with tenant A's ids, finds nothing.
func TestNoOperationReachesAnotherTenantsThings(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		a, b := newTwin(w, operator, "acme"), newTwin(w, operator, "globex")
		tokenA, tokenB := w.Token(a.slug, a.client, a.secret), w.Token(b.slug, b.client, b.secret)
		doc := w.Send(must(http.NewRequest("GET", w.Origin+"/t/acme/api/v1/openapi.json", nil))).Body
		ops := operationsOf(t, doc)
		// The lists come first: later, tenant B's own decision records contain the ids that it
		// asked for.
		for _, op := range ops {
			if op.platform || op.method != "GET" || strings.Contains(op.path, "{") {
				continue
			}
			got := w.Call(tokenB, "GET", b.slug, op.path+"?limit=200", nil)
			for _, thing := range a.ids {
				if strings.Contains(got.Body, thing) {
					t.Errorf("%s %s of tenant B shows %s of tenant A", op.method, op.path, thing)
				}
			}
		}
		tried := 0
		for _, op := range ops {
			name := op.method + " " + op.path
			if op.platform {
				if got := w.Call(tokenA, op.method, a.slug, placeholder.ReplaceAllString(op.path, id.New().String()),
					nil); got.Status != 404 {
					t.Errorf("%s under a tenant's own base: %d, want 404", name, got.Status)
				}
				continue
			}
			if !strings.Contains(op.path, "{") {
				continue
			}
			if op.id == "put-policy-file" { // writes a file of its own
				w.Must(tokenB, op.method, b.slug, a.concrete(t, op.path), a.body(name))
				w.Must(tokenB, "DELETE", b.slug, "/policies/draft", nil)
				if got := w.Call(tokenA, "GET", a.slug, a.concrete(t, op.path), nil); !strings.Contains(got.Body,
					"album") {
					t.Errorf("tenant B wrote a file of tenant A: %s", got.Body)
				}
				continue
			}
			if got := w.Call(tokenB, op.method, b.slug, a.concrete(t, op.path), a.body(name)); got.Status != 404 {
				t.Errorf("%s by tenant B with tenant A's ids: %d %s, want 404", name, got.Status, got.Body)
			}
			if got := w.Call(tokenA, op.method, b.slug, b.concrete(t, op.path), b.body(name)); got.Status != 401 {
				t.Errorf("%s under tenant B's base with tenant A's token: %d %s, want 401", name, got.Status, got.Body)
			}
			tried++
		}
		if tried < 15 {
			t.Errorf("only %d operations on one thing were tried", tried)
		}
		// A thing of one's own does not take another tenant's into it.
		if got := w.Call(tokenB, "POST", b.slug, "/groups/"+b.paths["groups"]+"/members",
			a.body("POST /groups/{id}/members")); got.Status != 404 {
			t.Errorf("tenant A's user in tenant B's group: %d %s, want 404", got.Status, got.Body)
		}
		// Positive control: the same requests by their own tenant find everything. Requests that
		// delete come last.
		slices.SortStableFunc(ops, func(x, y described) int { return destroys(x) - destroys(y) })
		for _, op := range ops {
			if op.platform || !strings.Contains(op.path, "{") {
				continue
			}
			if op.path == "/users/{id}/totp" {
				continue // the users here have no authenticator app
			}
			name := op.method + " " + op.path
			if got := w.Call(tokenA, op.method, a.slug, a.concrete(t, op.path), a.body(name)); got.Status < 200 ||
				got.Status > 299 {
				t.Errorf("%s by its own tenant: %d %s; without this the test above proves nothing", name, got.Status,
					got.Body)
			}
		}
	})
}

func destroys(op described) int {
	switch {
	case op.method == "DELETE" && (op.path == "/sessions/{id}" || op.path == "/grants/{id}"):
		return 1
	case op.method != "DELETE" && !strings.HasSuffix(op.path, "/password"): // a new password ends sessions
		return 0
	case strings.Count(op.path, "{") == 2:
		return 2
	}
	return 3
}

// No protocol endpoint accepts the tokens, codes and cookies of another tenant.
func TestNoProtocolEndpointTakesAnotherTenantsTokens(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		a, b := newTwin(w, operator, "acme"), newTwin(w, operator, "globex")
		token := w.Token(a.slug, a.client, a.secret)
		jwtClient, jwtSecret := w.Machine("acme", role.Owner, application.JWT)
		jwt := w.Token("acme", jwtClient, jwtSecret)
		for kind, tok := range map[string]string{"opaque": token, "JWT": jwt} {
			if got := w.Form(b.slug, "/oauth2/introspect", b.client, b.secret,
				url.Values{"token": {tok}}); got.JSON(t)["active"] != false {
				t.Errorf("%s: introspected by another tenant: %s", kind, got.Body)
			}
			w.Form(b.slug, "/oauth2/revoke", b.client, b.secret, url.Values{"token": {tok}})
			if got := w.Call(tok, "GET", a.slug, "/users", nil); got.Status != 200 {
				t.Errorf("%s: another tenant revoked it: %d", kind, got.Status)
			}
			if got := w.Call(tok, "GET", "platform", "/tenants", nil); got.Status != 401 {
				t.Errorf("%s of a tenant at the platform: %d, want 401", kind, got.Status)
			}
		}
		if got := w.Form(b.slug, "/oauth2/token", a.client, a.secret,
			url.Values{"grant_type": {"client_credentials"}}); got.Status != 401 {
			t.Errorf("tenant A's client at tenant B: %d %s", got.Status, got.Body)
		}
	})
}

// A platform operator acts under a tenant's base, and the tenant's audit log says so.
func TestAnOperatorUnderATenantIsAuditedThere(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		w.Must(operator, "POST", "acme", "/users", map[string]any{"email": "ada@acme.example"})
		client, secret := w.Machine("acme", role.Owner, application.JWT)
		l := w.Must(w.Token("acme", client, secret), "GET", "acme", "/audit-events?action=user.create", nil)
		e := l["items"].([]any)[0].(map[string]any)
		actor := e["actor"].(map[string]any)
		if actor["tenant_id"] != w.App.Platform.ID.String() || actor["kind"] != "application" ||
			actor["name"] != "Operator" {
			t.Errorf("actor %v, want the platform's operator", actor)
		}
	})
}

// Without the scope, with a role that lacks the action, or with no role: 403 or 401, never more.
func TestTheGate(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		client, secret := w.Machine("acme", "", application.JWT)
		roleless := w.Token("acme", client, secret)
		client, secret = w.Machine("acme", role.Auditor, application.JWT)
		auditor := w.Token("acme", client, secret)
		for name, c := range map[string]struct {
			token, method, path string
			body                any
			status              int
			code                string
		}{
			"no token":        {"", "GET", "/users", nil, 401, "token.missing"},
			"nonsense":        {"nonsense", "GET", "/users", nil, 401, "token.invalid"},
			"no role":         {roleless, "GET", "/users", nil, 403, "action.denied"},
			"a role that may": {auditor, "GET", "/users", nil, 200, ""},
			"a role that may not": {auditor, "POST", "/users", map[string]any{"email": "x@example.com"}, 403,
				"action.denied"},
			"no such operation": {auditor, "GET", "/nothing", nil, 404, ""},
		} {
			got := w.Call(c.token, c.method, "acme", c.path, c.body)
			if got.Status != c.status {
				t.Errorf("%s: %d %s, want %d", name, got.Status, got.Body, c.status)
				continue
			}
			if c.code != "" && got.JSON(t)["code"] != c.code {
				t.Errorf("%s: code %v, want %s", name, got.JSON(t)["code"], c.code)
			}
			if c.status == 401 && got.Header.Get("Www-Authenticate") == "" {
				t.Errorf("%s: no challenge", name)
			}
		}
	})
}

// unguarded are the actions that guard no operation of their own, and why.
var unguarded = map[string]string{
	"tenant.suspend":    "update-tenant needs it beside tenant.update, to change the status",
	"application.trust": "the operations that write applications need it for what acts for others",
	"user.attributes":   "create-user and update-user need it for attributes that the tenant has not declared",
	"group.attributes":  "create-group and update-group need it to set attributes",
}

// forEveryone are the operations that no action guards, and why.
var forEveryone = map[string]string{
	"get-me": "callers read only what they themselves are and may do",
}

// Every operation is guarded by an action of the catalogue, and every action of the catalogue
// guards an operation.
func TestEveryOperationHasAnAction(t *testing.T) {
	w := world.OnSQLite(t)
	doc := w.Send(must(http.NewRequest("GET", w.Origin+"/t/platform"+admin.Prefix+"/openapi.json", nil))).Body
	guards := map[string]string{}
	for _, op := range operationsOf(t, doc) {
		guards[op.action] = op.id
		if forEveryone[op.id] != "" {
			if op.action != "" || op.method != "GET" {
				t.Errorf("%s is for everyone, and is guarded by %q or changes something", op.id, op.action)
			}
			continue
		}
		if !role.Known(op.action) {
			t.Errorf("%s %s: its action %q is not in role.Actions", op.method, op.path, op.action)
		}
		if op.id == "" {
			t.Errorf("%s %s has no operationId", op.method, op.path)
		}
	}
	for _, a := range role.Actions {
		switch op, why := guards[a.Name], unguarded[a.Name]; {
		case op == "" && why == "":
			t.Errorf("%s guards no operation, so a role gains nothing by it", a.Name)
		case op != "" && why != "":
			t.Errorf("%s guards %s: remove it from the exceptions", a.Name, op)
		}
	}
	for name := range unguarded {
		if !role.Known(name) {
			t.Errorf("the exception %s is not an action", name)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return v
}
