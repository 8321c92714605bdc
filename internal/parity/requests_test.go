package parity

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// An inquirer makes requests of a world: mostly sensible ones.
type inquirer struct {
	*rand.Rand
	w *world
	n int
}

func newInquirer(w *world, seed uint64) *inquirer {
	return &inquirer{Rand: rand.New(rand.NewPCG(seed, 0x61736b)), w: w}
}

// attributes are of the names that conditions use; one may be missing, or of another type.
func (q *inquirer) attributes(values map[string]func() any) map[string]*structpb.Value {
	out := map[string]*structpb.Value{}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := values[name]()
		switch q.IntN(60) {
		case 0:
			continue
		case 1:
			value = pick(q.Rand, []any{nil, "text", 7, true, []any{}, map[string]any{"a": 1}})
		}
		v, err := structpb.NewValue(value)
		if err != nil {
			panic(err)
		}
		out[name] = v
	}
	return out
}

func oneOf(q *inquirer, from ...any) func() any { return func() any { return pick(q.Rand, from) } }

func (q *inquirer) principal() *enginev1.Principal {
	p := &enginev1.Principal{Id: pick(q.Rand, principals), Roles: q.roles(), PolicyVersion: q.version(),
		Scope: q.scope()}
	p.Attr = q.attributes(map[string]func() any{
		"department": oneOf(q, "design", "sales", "marketing", "legal"), "geography": oneOf(q, "GB",
			"US"), "level": oneOf(q, 1, 2, 5), "active": oneOf(q, true, false),
		"teams": oneOf(q, []any{"design", "sales"}, []any{"design"}, []any{}, []any{"GB", "a-b",
			"design"}), "ip": oneOf(q, "10.20.1.2", "192.168.0.10", "127.0.0.1", "2001:db8::1", "not an address"),
		"position": oneOf(q, "acme.hr", "acme.hr.uk", "acme", "beta.x"), "limits": oneOf(q,
			map[string]any{"design": 10, "sales": 3}, map[string]any{"design": 1}),
		"joined": oneOf(q, "2019-05-01T13:34:12.024Z", "2021-04-20T10:00:20.021-05:00"), "spiffe": oneOf(q,
			"spiffe://cerbos.dev/ns/privileged/sa/curl", "spiffe://acme.example/x", "nonsense"),
	})
	return p
}

func (q *inquirer) roles() []string {
	all := slices.Concat([]string{"stranger"}, roles, roles, roles, rolePolicy)
	out := []string{pick(q.Rand, all)}
	for range q.IntN(3) {
		if next := pick(q.Rand, all); !slices.Contains(out, next) {
			out = append(out, next)
		}
	}
	return out
}

func (q *inquirer) version() string {
	return pick(q.Rand, []string{"", "", "", "", "", "", "", "default", "default", "default", "v2", "v9"})
}

func (q *inquirer) scope() string {
	return pick(q.Rand, []string{"", "", "", "", "", "", "", "", ".", "acme", "acme", "acme", "acme.hr", "acme.hr",
		"acme.hr.uk", "acme.hr.uk.leeds", "beta", "gamma"})
}

func (q *inquirer) kind() string {
	if q.IntN(30) == 0 {
		return "unheard_of"
	}
	return pick(q.Rand, q.w.kinds)
}

func (q *inquirer) resourceAttributes() map[string]*structpb.Value {
	return q.attributes(map[string]func() any{
		"owner": oneOf(q, "alice", "bob", "carol"), "status": oneOf(q, "draft", "PENDING",
			"APPROVED"), "department": oneOf(q, "design", "sales"), "geography": oneOf(q, "GB", "US", "DE"),
		"public": oneOf(q, true, false), "amount": oneOf(q, 0, 5, 42, 99.5, 2000), "zero": oneOf(q, 0, 0,
			1), "tags": oneOf(q, []any{}, []any{"GB"}, []any{"design", "x", "y"}, []any{"a", "b", "c", "d"}),
		"created": oneOf(q, "2021-04-20T10:00:20.021-05:00", "2025-12-31T23:59:59Z",
			"yesterday"), "cooldown": oneOf(q, "3750s", "15m", "2h"),
		"position": oneOf(q, "acme.hr", "acme.hr.uk", "acme.hr.uk.leeds", "beta"), "path": oneOf(q,
			"/docs/plans/q3.pdf", "/img/a/b.png", "/docs/a.pdf", "10.0.0.0/8"),
		"address": oneOf(q, map[string]any{"city": "Leeds"}, map[string]any{"city": "Å"}, map[string]any{}),
	})
}

var asked = []string{"view", "view:public", "view:private", "edit", "delete", "approve:high", "approve:high:twice",
	"create", "comment", "print:public", "unheard-of"}

func (q *inquirer) actions() []string {
	var out []string
	for _, i := range q.Perm(len(asked))[:1+q.IntN(5)] {
		out = append(out, asked[i])
	}
	return out
}

// claims are those of the JWTs of auxData.
func (q *inquirer) claims() map[string]any {
	return map[string]any{"iss": "cerbos", "sub": pick(q.Rand, principals), "aud": pick(q.Rand, []any{[]any{"api"},
		[]any{"web", "api"}, []any{"web"}}), "tenant": "acme",
		"customArray": []any{"A", "B"}, "nested": map[string]any{"level": q.IntN(5)}}
}

// auxData has a token, named tokens, or nothing.
func (q *inquirer) auxData() *requestv1.AuxData {
	token := func() *requestv1.AuxData_JWT {
		return &requestv1.AuxData_JWT{Token: sign(q.claims()), KeySetId: pick(q.Rand, []string{"", keySet})}
	}
	switch q.IntN(5) {
	case 0:
		return &requestv1.AuxData{Jwt: token()}
	case 1:
		return &requestv1.AuxData{Jwts: map[string]*requestv1.AuxData_JWT{"first": token(), "second": token()}}
	}
	return nil
}

func (q *inquirer) check() *requestv1.CheckResourcesRequest {
	q.n++
	in := &requestv1.CheckResourcesRequest{RequestId: fmt.Sprintf("%s-%d", q.w.name, q.n),
		IncludeMeta: q.IntN(10) > 0, Principal: q.principal(), AuxData: q.auxData()}
	for i := range 1 + q.IntN(8) {
		in.Resources = append(in.Resources, &requestv1.CheckResourcesRequest_ResourceEntry{Actions: q.actions(),
			Resource: &enginev1.Resource{
				Kind: q.kind(), Id: fmt.Sprintf("X%d", i), PolicyVersion: q.version(), Scope: q.scope(),
				Attr: q.resourceAttributes()}})
	}
	return in
}

// plan is, nine times of ten, a request that some rule is for whose condition hangs on the
// resource.
func (q *inquirer) plan() *requestv1.PlanResourcesRequest {
	q.n++
	in := &requestv1.PlanResourcesRequest{RequestId: fmt.Sprintf("%s-%d", q.w.name, q.n),
		IncludeMeta: q.IntN(10) > 0, Principal: q.principal(), AuxData: q.auxData(),
		Resource: &enginev1.PlanResourcesInput_Resource{Kind: q.kind(), PolicyVersion: q.version(), Scope: q.scope()}}
	for slices.Contains(q.w.clocked, in.Resource.Kind) {
		in.Resource.Kind = q.kind()
	}
	if q.IntN(3) == 0 { // some attributes are known
		known := q.resourceAttributes()
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if len(name)%2 == q.IntN(2) {
				delete(known, name)
			}
		}
		in.Resource.Attr = known
	}
	actions := q.actions()
	if q.IntN(10) > 0 {
		actions = q.meet(pick(q.Rand, q.w.rules), in)
	}
	if len(actions) == 1 && q.IntN(2) == 0 || q.IntN(4) == 0 {
		in.Action = actions[0] //nolint:staticcheck // the older form is still served
	} else {
		in.Actions = actions
	}
	return in
}

// meet makes a request one that a rule is for, and returns actions of the rule or of others beside
// it.
func (q *inquirer) meet(rule ruled, in *requestv1.PlanResourcesRequest) []string {
	in.Resource.Kind, in.Resource.PolicyVersion, in.Resource.Scope = rule.kind, rule.version, rule.scope
	in.Principal.PolicyVersion, in.Principal.Scope = rule.version, pick(q.Rand, []string{"", rule.scope, rule.scope})
	if q.IntN(2) == 0 {
		in.Principal.Id = "eve" // who has no policy of their own
	}
	role := pick(q.Rand, rule.roles)
	if role == "*" {
		role = pick(q.Rand, roles)
	}
	if in.Principal.Roles = []string{role}; q.IntN(3) == 0 {
		if another := pick(q.Rand, slices.Concat(roles, rolePolicy)); another != role {
			in.Principal.Roles = append(in.Principal.Roles, another)
		}
	}
	actions := []string{q.like(pick(q.Rand, rule.actions))}
	for range []int{0, 0, 0, 0, 1, 2}[q.IntN(6)] {
		if next := q.like(pick(q.Rand, pick(q.Rand, rule.siblings))); !slices.Contains(actions, next) {
			actions = append(actions, next)
		}
	}
	return actions
}

// like is an action that a pattern is about.
func (q *inquirer) like(pattern string) string {
	if pattern == "*" {
		return pick(q.Rand, asked)
	}
	return strings.ReplaceAll(pattern, "*", pick(q.Rand, []string{"public", "high", "view"}))
}
