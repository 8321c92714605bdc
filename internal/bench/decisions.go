package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/cerbos/cerbos-sdk-go/cerbos"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
	own "github.com/gatehouse-iam/gatehouse/policies"
)

// decisionSize bounds the measurement of decisions.
type decisionSize struct {
	size
	Active int // tenants with policies of their own, asked at random
	Once   int // tenants with policies of their own, each asked once; 0: not measured
}

// beside compares the cost of a request with its cost on a Cerbos server, measured in the same run.
type beside struct {
	Name         string
	Budget       float64 // ours as a part of theirs; 0 if there is no budget
	Ours, Theirs sample
	Bare         sample // Cerbos' evaluator behind gRPC and nothing else, where that was measured
}

func (b beside) ratio() float64 { return b.Ours.microseconds() / b.Theirs.microseconds() }

// decisionReport holds the measurements of decisions in one run.
type decisionReport struct {
	Size decisionSize
	Rows []beside // on Postgres
	Lite []beside // on SQLite
	// Starting with the policies of Active tenants.
	CPUFew, CPUMany        time.Duration // on average
	CPUCerbos, StartCerbos time.Duration
	First                  sample          // the first request of a tenant: its revision is loaded
	PerTenant              float64         // bytes, resident
	OnceMemory             int64           // resident, after Once tenants were asked
	PickUp                 []time.Duration // from a publish on one replica to the first answer by it on another
	Own                    time.Duration   // the engine's part of one management call
	CerbosMemory           int64
}

// policies are those of the rows: one resource with two actions and one condition, and nine more
// kinds.
func policies(scope string) map[string][]byte {
	files := map[string][]byte{}
	for i := range 10 {
		kind := "document"
		if i > 0 {
			kind = fmt.Sprintf("kind%d", i)
		}
		files[kind+".yaml"] = fmt.Appendf(nil, `apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: %s
  version: default%s
  rules:
    - actions: [view]
      effect: EFFECT_ALLOW
      roles: [user, "gatehouse:user"]
      condition:
        match:
          expr: R.attr.owner == P.id || R.attr.public == true
    - actions: [edit]
      effect: EFFECT_ALLOW
      roles: [editor]
`, kind, scope)
	}
	return files
}

// onDisk writes files into a directory that a Cerbos server reads.
func onDisk(t testing.TB, files map[string][]byte) (string, error) {
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// pdp is one of the two servers, and how to reach it.
type pdp struct {
	pid     int
	http    string // host and port
	path    string // before /api
	token   string
	client  *sdk.GRPCClient
	subject string // the principal's id
}

func newPDP(pid int, http, path, grpc, token, subject string) (*pdp, error) {
	client, err := sdk.New(grpc, sdk.WithPlaintext())
	if err != nil {
		return nil, err
	}
	if token != "" {
		client = client.With(sdk.Headers("authorization", "Bearer "+token))
	}
	return &pdp{pid, http, path, token, client, subject}, nil
}

// post returns a prepared request of the Cerbos API over HTTP.
func (p *pdp) post(path string, body any) ([]byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	authorization := ""
	if p.token != "" {
		authorization = "Authorization: Bearer " + p.token + "\r\n"
	}
	return fmt.Appendf(nil,
		"POST %s%s HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", p.path,
		path, p.http, authorization, len(encoded), encoded), nil
}

func (p *pdp) resource(i int) *sdk.Resource {
	return sdk.NewResource("document", fmt.Sprintf("d%d", i)).WithAttr("owner", p.subject).WithAttr("public", false)
}

// checkHTTP is a check of n resources, two actions each.
func (p *pdp) checkHTTP(n int) ([]byte, error) {
	var resources []any
	for i := range n {
		resources = append(resources, map[string]any{"actions": []string{"view", "edit"},
			"resource": map[string]any{"kind": "document", "id": fmt.Sprintf("d%d", i),
				"attr": map[string]any{"owner": p.subject, "public": false}}})
	}
	return p.post("/api/check/resources", map[string]any{"requestId": "bench",
		"principal": map[string]any{"id": p.subject, "roles": []string{"user"}}, "resources": resources})
}

func (p *pdp) planHTTP() ([]byte, error) {
	return p.post("/api/plan/resources", map[string]any{"requestId": "bench", "actions": []string{"view"},
		"principal": map[string]any{"id": p.subject,
			"roles": []string{"user"}}, "resource": map[string]any{"kind": "document"}})
}

// operation is a request of one of the rows, on worker's connection.
type operation func(worker, i int) error

// overHTTP sends a prepared request, and fails unless the answer contains want.
func overHTTP(t testing.TB, p *pdp, workers int, request []byte, want string) operation {
	connections := connect(t, p.http, workers)
	return func(w, _ int) error {
		body, err := connections[w].roundTrip(request, http.StatusOK)
		if err == nil && !strings.Contains(string(body), want) {
			err = fmt.Errorf("an answer without %s: %.300s", want, body)
		}
		return err
	}
}

// checkGRPC checks n resources with Cerbos' own client.
func (p *pdp) checkGRPC(n int) operation {
	principal := sdk.NewPrincipal(p.subject, "user")
	return func(int, int) error {
		batch := sdk.NewResourceBatch()
		for i := range n {
			batch.Add(p.resource(i), "view", "edit")
		}
		answer, err := p.client.CheckResources(context.Background(), principal, batch)
		if err != nil {
			return err
		}
		if got := answer.GetResource("d0"); !got.IsAllowed("view") || got.IsAllowed("edit") {
			return errors.New("a wrong decision")
		}
		return nil
	}
}

func (p *pdp) planGRPC() operation {
	principal := sdk.NewPrincipal(p.subject, "user")
	return func(int, int) error {
		answer, err := p.client.PlanResources(context.Background(), principal, sdk.NewResource("document", ""), "view")
		if err == nil && answer.Filter.GetCondition() == nil {
			err = errors.New("a plan without a condition")
		}
		return err
	}
}

// measureDecisions measures everything about decisions.
func measureDecisions(t testing.TB, sz decisionSize) (*decisionReport, error) {
	r := &decisionReport{Size: sz}
	dsn := testkit.EmptyPostgres(t)
	server := process.Start(t, serverConfig(dsn))
	modes, err := askers(server)
	if err != nil {
		return nil, err
	}
	dir, err := onDisk(t, policies(""))
	if err != nil {
		return nil, err
	}
	theirs := cerbos.Start(t, cerbos.Config{Policies: dir, Env: []string{"GOMAXPROCS=1"}})
	other, err := newPDP(theirs.PID(), strings.TrimPrefix(theirs.HTTP, "http://"), "", theirs.GRPC, "", modes["asserted"].subject)
	if err != nil {
		return nil, err
	}
	lite := process.Start(t, serverConfig(""))
	onLite, err := askers(lite)
	if err != nil {
		return nil, fmt.Errorf("on SQLite: %w", err)
	}
	bare, err := startEvaluator(t, dir, other.subject)
	if err != nil {
		return nil, err
	}
	if err := r.measureRows(t, other, bare, modes, onLite); err != nil {
		return nil, err
	}
	lite.Kill()
	theirs.Kill()
	if r.Own, err = ownCheck(); err != nil {
		return nil, err
	}
	if err := r.measurePickUp(t, server, modes["asserted"]); err != nil {
		return nil, fmt.Errorf("a publish on another replica: %w", err)
	}

	if r.CPUFew, err = startCost(t, server, sz.Starts); err != nil {
		return nil, err
	}
	return r, r.measureMany(t, dsn, server, modes["asserted"].subject)
}

// startCost returns the CPU time of a start until the server is ready. It is the average of several
// starts, because a single one takes only a few of the kernel's ticks.
func startCost(t testing.TB, server *process.Server, starts int) (time.Duration, error) {
	var all time.Duration
	for range starts {
		server.Restart(t)
		one, err := cpuTime(server.PID())
		if err != nil {
			return 0, err
		}
		all += one
	}
	return all / time.Duration(starts), nil
}

// askers returns a server's tenant with the policies of the rows, with asserted principals and with
// those of the directory.
func askers(server *process.Server) (map[string]*pdp, error) {
	o := server.Operator()
	if err := o.Call("POST", "platform", "/tenants", map[string]any{"slug": "bench", "name": "Bench"},
		nil); err != nil {
		return nil, err
	}
	if err := o.Publish("bench", policies("")); err != nil {
		return nil, err
	}
	var user struct {
		ID string `json:"id"`
	}
	if err := o.Call("POST", "bench", "/users", map[string]any{"email": "ada@example.com", "password": password},
		&user); err != nil {
		return nil, err
	}
	modes := map[string]*pdp{}
	for _, mode := range []string{"asserted", "directory"} {
		_, token, err := o.Decider("bench", mode)
		if err != nil {
			return nil, err
		}
		if modes[mode], err = newPDP(server.PID(), strings.TrimPrefix(server.URL, "http://"), "/t/bench", server.GRPC, token, user.ID); err != nil {
			return nil, err
		}
	}
	return modes, nil
}

// measureRows sends the same requests to all servers in turn. The bare evaluator gets only those
// that it can answer.
func (r *decisionReport) measureRows(t testing.TB, theirs, bare *pdp, onPostgres, onLite map[string]*pdp) error {
	workers := r.Size.Workers
	few := min(full.Workers, workers) // a server then sleeps between two requests, and each pays for its waking
	http := func(prepare func(p *pdp) ([]byte, error), want string) func(p *pdp) (operation, error) {
		return func(p *pdp) (operation, error) {
			request, err := prepare(p)
			return overHTTP(t, p, workers, request, want), err
		}
	}
	grpc := func(op func(p *pdp) operation) func(p *pdp) (operation, error) {
		return func(p *pdp) (operation, error) { return op(p), nil }
	}
	one := grpc(func(p *pdp) operation { return p.checkGRPC(1) })
	single := func(p *pdp) ([]byte, error) { return p.checkHTTP(1) }
	batch := func(p *pdp) ([]byte, error) { return p.checkHTTP(50) }
	lines := []struct {
		name   string
		mode   string
		budget float64
		op     func(p *pdp) (operation, error)
		part   int  // of the requests
		under  int  // requests under way at once
		bare   bool // whether the bare evaluator can answer it
	}{
		{"one resource, gRPC", "asserted", 0.3, one, 1, workers, true},
		{"one resource, gRPC, principal from the directory", "directory", 0.4, one, 1, workers, false},
		{fmt.Sprintf("one resource, gRPC, %d under way", few), "asserted", 0.3, one, 1, few, true},
		{fmt.Sprintf("one resource, gRPC, %d under way, principal from the directory", few), "directory", 0.4, one, 1,
			few, false},
		{"one resource, HTTP", "asserted", 0.3, http(single, "EFFECT_ALLOW"), 1, workers, false},
		{"one resource, HTTP, principal from the directory", "directory", 0.4, http(single, "EFFECT_ALLOW"), 1,
			workers, false},
		{"50 resources, gRPC", "asserted", 0.4, grpc(func(p *pdp) operation {
			return p.checkGRPC(50)
		}), 8, workers, true},
		{"50 resources, HTTP", "asserted", 0.4, http(batch, "EFFECT_ALLOW"), 8, workers, false},
		{"50 resources, gRPC, principal from the directory", "directory", 0.4, grpc(func(p *pdp) operation {
			return p.checkGRPC(50)
		}), 8, workers, false},
		{"plan, gRPC", "asserted", 0, grpc((*pdp).planGRPC), 2, workers, false},
		{"plan, HTTP", "asserted", 0, http((*pdp).planHTTP, "KIND_CONDITIONAL"), 2, workers, false},
	}
	for _, line := range lines {
		requests := max(r.Size.Requests/line.part, workers)
		var targets []target
		asked := []*pdp{theirs, onPostgres[line.mode], onLite[line.mode]}
		if line.bare {
			asked = append(asked, bare)
		}
		for _, p := range asked {
			op, err := line.op(p)
			if err != nil {
				return fmt.Errorf("%s: %w", line.name, err)
			}
			targets = append(targets, target{pid: p.pid, op: op})
		}
		sz := r.Size.size
		sz.Workers = line.under
		samples, err := inTurn(requests, sz, targets...)
		if err != nil {
			return fmt.Errorf("%s: %w", line.name, err)
		}
		postgres := beside{Name: line.name, Budget: line.budget, Ours: samples[1], Theirs: samples[0]}
		lite := beside{Name: line.name, Budget: line.budget, Ours: samples[2], Theirs: samples[0]}
		if line.bare {
			postgres.Bare, lite.Bare = samples[3], samples[3]
		}
		t.Logf("%-66s Cerbos %5.0f µs, ours %5.0f: %.2f, on SQLite %5.0f: %.2f", line.name,
			postgres.Theirs.microseconds(),
			postgres.Ours.microseconds(), postgres.ratio(), lite.Ours.microseconds(), lite.ratio())
		r.Rows, r.Lite = append(r.Rows, postgres), append(r.Lite, lite)
	}
	return nil
}

// ownCheck measures the policies' part of a management call inside the process: one check of a
// reserved kind.
func ownCheck() (time.Duration, error) {
	decider := engine.New(nil, compiler.NewBase(compiler.BaseTable(own.Files)))
	question := []*enginev1.CheckInput{{
		Actions:   []string{"update"},
		Principal: &enginev1.Principal{Id: "ada", Roles: []string{role.Owner}},
		Resource:  &enginev1.Resource{Kind: "gatehouse:user", Id: "bob"},
	}}
	var failed error
	b := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := decider.Check(b.Context(), caller.Caller{}, question); err != nil {
				failed = err
				b.SkipNow()
			}
		}
	})
	return time.Duration(b.NsPerOp()), failed
}

// measurePickUp publishes on one replica and asks another until it answers by the new revision. The
// answer about who may edit tells the revisions apart.
func (r *decisionReport) measurePickUp(t testing.TB, server *process.Server, p *pdp) error {
	replica := server.Replica(t)
	defer replica.Kill()
	request, err := p.checkHTTP(1)
	if err != nil {
		return err
	}
	connection := connect(t, strings.TrimPrefix(replica.URL, "http://"), 1)[0]
	asked := func(want string) error {
		began := time.Now()
		for time.Since(began) < 30*time.Second {
			body, err := connection.roundTrip(request, http.StatusOK)
			if err != nil {
				return err
			}
			if strings.Contains(string(body), `"edit":"`+want+`"`) {
				r.PickUp = append(r.PickUp, time.Since(began))
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
		return errors.New("it still answers by the revision before")
	}
	o := server.Operator()
	for i := range 2 * r.Size.Repeat {
		roles, want := "[editor, user]", "EFFECT_ALLOW"
		if i%2 == 1 {
			roles, want = "[editor]", "EFFECT_DENY"
		}
		files := policies("")
		files["document.yaml"] = bytes.Replace(files["document.yaml"], []byte("[editor]"), []byte(roles), 1)
		if err := o.Publish("bench", files); err != nil {
			return err
		}
		if err := asked(want); err != nil {
			return err
		}
	}
	return nil
}

// measureMany asks tenants with policies of their own: one server of ours that knows them by their
// tokens, and a Cerbos server with each tenant's policies in a scope.
func (r *decisionReport) measureMany(t testing.TB, dsn string, server *process.Server, subject string) error {
	many, err := newTenants(server, max(r.Size.Active, r.Size.Once))
	if err != nil {
		return err
	}
	// Compiling each again would take an hour and measure nothing. The same bytes are stored for
	// another tenant.
	testkit.Execute(t, dsn, `INSERT INTO policy_revisions (tenant_id, number, origin, reason, author_kind, created_at, files, bytes, digest, compiled, sources)
		SELECT t.id, r.number, r.origin, r.reason, r.author_kind, r.created_at, r.files, r.bytes, r.digest, r.compiled, r.sources
		FROM policy_revisions r JOIN tenants b ON b.id = r.tenant_id AND b.slug = 'bench' JOIN tenants t ON t.slug LIKE 'many-%'`)
	if r.CPUMany, err = startCost(t, server, r.Size.Starts); err != nil {
		return err
	}
	address := strings.TrimPrefix(server.URL, "http://")
	ask := func(connections []*connection, tenant int) func(w int) error {
		p := &pdp{http: address, path: fmt.Sprintf("/t/many-%05d", tenant), token: many[tenant], subject: subject}
		return func(w int) error {
			request, err := p.checkHTTP(1)
			if err != nil {
				return err
			}
			body, err := connections[w].roundTrip(request, http.StatusOK)
			if err == nil && !strings.Contains(string(body), "EFFECT_ALLOW") {
				err = fmt.Errorf("tenant %d: %.300s", tenant, body)
			}
			return err
		}
	}
	connections := connect(t, address, r.Size.Workers)
	// The memory of one tenant and of many is compared under load. Garbage between two collections
	// belongs to no tenant.
	if _, err := load(server.PID(), r.Size.Workers, r.Size.Requests, func(w, _ int) error {
		return ask(connections, 0)(w)
	}); err != nil {
		return err
	}
	one, err := residentMemory(server.PID())
	if err != nil {
		return err
	}
	if r.First, err = load(server.PID(), 1, r.Size.Active, func(w, i int) error {
		return ask(connections, i)(w)
	}); err != nil {
		return fmt.Errorf("first requests: %w", err)
	}
	b := beside{Name: fmt.Sprintf("one resource, HTTP, one of %d tenants at random", r.Size.Active), Budget: 0.3}
	if b.Ours, err = repeated(server.PID(), r.Size.Requests, func(w, _ int) error {
		return ask(connections, rand.IntN(r.Size.Active))(w)
	}, r.Size.size); err != nil {
		return err
	}
	active, err := residentMemory(server.PID())
	if err != nil {
		return err
	}
	r.PerTenant = float64(active-one) / float64(r.Size.Active)
	if b.Theirs, err = r.cerbosWithScopes(t, subject); err != nil {
		return fmt.Errorf("a Cerbos server with scopes: %w", err)
	}
	r.Rows = append(r.Rows, b)
	if r.Size.Once > 0 {
		if _, err := load(server.PID(), 1, r.Size.Once, func(w, i int) error {
			return ask(connections, i)(w)
		}); err != nil {
			return fmt.Errorf("every tenant once: %w", err)
		}
		r.OnceMemory, err = residentMemory(server.PID())
	}
	return err
}

// newTenants creates n tenants with an application each and returns their access tokens.
func newTenants(server *process.Server, n int) ([]string, error) {
	o := server.Operator()
	tokens := make([]string, n)
	_, err := load(server.PID(), 2, n, func(_, i int) error {
		slug := fmt.Sprintf("many-%05d", i)
		if err := o.Call("POST", "platform", "/tenants", map[string]any{"slug": slug, "name": slug}, nil); err != nil {
			return err
		}
		_, token, err := o.Decider(slug, "asserted")
		tokens[i] = token
		return err
	})
	return tokens, err
}

// cerbosWithScopes starts a Cerbos server with one policy for every tenant, in a scope of the
// tenant's own, and asks for one at random. It reports the cost of the start.
func (r *decisionReport) cerbosWithScopes(t testing.TB, subject string) (sample, error) {
	files := map[string][]byte{"document.yaml": policies("")["document.yaml"]}
	for i := range r.Size.Active {
		files[fmt.Sprintf("tenant%d.yaml", i)] = policies(fmt.Sprintf("\n  scope: tenant%d", i))["document.yaml"]
	}
	dir, err := onDisk(t, files)
	if err != nil {
		return sample{}, err
	}
	server := cerbos.Start(t, cerbos.Config{Policies: dir, Env: []string{"GOMAXPROCS=1"}})
	defer server.Kill()
	r.StartCerbos = server.Ready
	if r.CPUCerbos, err = cpuTime(server.PID()); err != nil {
		return sample{}, err
	}
	p := &pdp{http: strings.TrimPrefix(server.HTTP, "http://"), subject: subject}
	connections := connect(t, p.http, r.Size.Workers)
	answers, err := repeated(server.PID(), r.Size.Requests, func(w, _ int) error {
		scope := fmt.Sprintf("tenant%d", rand.IntN(r.Size.Active))
		request, err := p.post("/api/check/resources",
			map[string]any{"requestId": "bench", "principal": map[string]any{"id": subject, "roles": []string{"user"}},
				"resources": []any{map[string]any{"actions": []string{"view", "edit"},
					"resource": map[string]any{"kind": "document", "id": "d0", "scope": scope,
						"attr": map[string]any{"owner": subject, "public": false}}}}})
		if err != nil {
			return err
		}
		body, err := connections[w].roundTrip(request, http.StatusOK)
		if err == nil && !strings.Contains(string(body), "EFFECT_ALLOW") {
			err = fmt.Errorf("%s: %.300s", scope, body)
		}
		return err
	}, r.Size.size)
	if err == nil {
		r.CerbosMemory, err = residentMemory(server.PID())
	}
	return answers, err
}
