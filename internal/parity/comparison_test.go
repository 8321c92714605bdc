package parity

import (
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// A comparison asks a Cerbos server and us about a world, and reports the first differences.
type comparison struct {
	w              *world
	theirs         pdp
	byGRPC, byHTTP door
	total          *tally

	reported atomic.Int64
	mu       sync.Mutex
	open     []question // whose answers differ
}

// question is a check whose answers differ.
type question struct {
	way          string
	in           *requestv1.CheckResourcesRequest
	theirs, ours *responsev1.CheckResourcesResponse
	difference   string
}

func (c *comparison) run(t *testing.T) {
	q := newInquirer(c.w, *seed)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	ask := func(f func()) {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			f()
		})
	}
	for i := range *checks {
		in := q.check()
		ask(func() { c.check(t, in, c.ways(i)) })
	}
	for i := range *plans {
		in, rows := q.plan(), make([]*enginev1.Resource, 16)
		for j := range rows {
			rows[j] = q.row(in.GetResource())
		}
		ask(func() { c.plan(t, in, rows, c.ways(i)) })
	}
	wait.Wait()
	for _, d := range c.otherwise(t) {
		c.report(t, d.way+", check", shown(d.in), d.difference)
	}
}

func (c *comparison) ways(i int) []door {
	if i%3 == 0 {
		return []door{c.byGRPC, c.byHTTP}
	}
	return []door{c.byGRPC}
}

func (c *comparison) report(t *testing.T, kind string, in any, difference string) {
	c.total.different.Add(1)
	if c.reported.Add(1) <= 5 {
		t.Errorf("%s differs\nasked:  %v\n%s", kind, in, difference)
	} else {
		t.Fail()
	}
}

func (c *comparison) check(t *testing.T, in *requestv1.CheckResourcesRequest, ways []door) {
	a, aErr := c.theirs.check(t.Context(), in)
	c.total.checks.Add(1)
	c.total.pairs.Add(int64(len(in.Resources)))
	if aErr != nil {
		c.total.errors.Add(1)
	}
	for _, r := range a.GetResults() {
		c.total.outputs.Add(int64(len(r.Outputs)))
		c.total.invalid.Add(int64(min(1, len(r.ValidationErrors))))
		c.total.derived.Add(int64(min(1, len(r.GetMeta().GetEffectiveDerivedRoles()))))
		for _, effect := range r.Actions {
			if effect == effectv1.Effect_EFFECT_ALLOW {
				c.total.allowed.Add(1)
			} else {
				c.total.denied.Add(1)
			}
		}
	}
	versions := make([]string, len(in.GetResources()))
	for i, r := range in.GetResources() {
		versions[i] = r.GetResource().GetPolicyVersion()
	}
	if c.ofTwoVersions(in.GetPrincipal(), versions...) {
		return
	}
	for _, ours := range ways {
		b, bErr := ours.check(t.Context(), in)
		c.total.refusal("check by "+ours.name, aErr, bErr)
		if d := differs(a, aErr, b, bErr); d != "" {
			c.mu.Lock()
			c.open = append(c.open, question{ours.name, in, a, b, d})
			c.mu.Unlock()
		}
	}
}

func (c *comparison) plan(t *testing.T, in *requestv1.PlanResourcesRequest, rows []*enginev1.Resource, ways []door) {
	a, aErr := c.theirs.plan(t.Context(), in)
	c.total.plans.Add(1)
	if !c.w.settings.StrictEvaluation {
		c.total.lax.Add(1)
	}
	if aErr != nil {
		c.total.errors.Add(1)
	}
	switch a.GetFilter().GetKind() {
	case enginev1.PlanResourcesFilter_KIND_CONDITIONAL:
		c.total.condition(a.GetFilter().GetCondition())
	case enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED:
		c.total.always.Add(1)
	}
	for _, ours := range ways {
		b, bErr := ours.plan(t.Context(), in)
		c.total.refusal("plan by "+ours.name, aErr, bErr)
		d := differs(a, aErr, b, bErr)
		switch {
		case d == "":
		case bErr == nil && (aErr == nil && ofOwnPolicies(in) || (aErr == nil || panicked(aErr)) &&
			c.sound(t, in, a.GetFilter(), b.GetFilter(), rows)):
			if c.w.settings.StrictEvaluation { // of which Cerbos' planner knows nothing
				c.total.stricter.Add(1)
			} else {
				c.total.corrected.Add(1)
			}
		case aErr == nil && bErr == nil && unsettled(t.Context(), c.theirs, ours, in):
			c.total.unsettled.Add(1)
		default:
			c.report(t, ours.name+", plan", shown(in), d)
		}
	}
}

// otherwise returns the questions that Cerbos answers otherwise than we do, from the same table.
//
// Cerbos keeps a rule once for each of its roles and derived roles, in the order of a Go map, which
// it creates when it compiles. The order of our tables is always the same. It shows in two ways.
// The first rule that fails names the policy that denied (strict evaluation). A condition that is
// not met has an output only if it is not the first of its kind. So Cerbos' own evaluator gets our
// table, and its answer must be ours to the last output.
func (c *comparison) otherwise(t *testing.T) []question {
	if len(c.open) == 0 {
		return nil
	}
	table := new(runtimev1.RuleTable)
	if err := proto.Unmarshal(c.w.table(t), table); err != nil {
		t.Fatal(err)
	}
	theirs, err := ruletable.NewRuleTableFromProto(table, c.w.config(t))
	if err != nil {
		t.Fatal(err)
	}
	var out []question
	for _, d := range c.open {
		answers, _, err := theirs.Check(t.Context(), inputsOf(d.in))
		if err != nil {
			t.Fatal(err)
		}
		same := proto.CloneOf(d.ours)
		for i, a := range answers {
			if i < len(same.GetResults()) {
				fill(same.Results[i], a, d.in.GetIncludeMeta())
			}
		}
		if len(answers) == len(d.ours.GetResults()) && proto.Equal(alike(same), alike(d.ours)) {
			c.total.unsettled.Add(1)
		} else {
			out = append(out, d)
		}
	}
	return out
}

// table returns the rule table of the world's files.
func (w *world) table(t *testing.T) []byte {
	t.Helper()
	directory := fstest.MapFS{}
	for name, content := range w.files {
		directory[name] = &fstest.MapFile{Data: content}
	}
	table, err := compiler.BaseTable(directory)()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// config returns the world's settings as Cerbos' configuration.
func (w *world) config(t *testing.T) *epdpv2.Config {
	t.Helper()
	globals, err := structpb.NewStruct(w.settings.Globals)
	if err != nil {
		t.Fatal(err)
	}
	enforcement := map[string]epdpv2.Config_Schema_Enforcement{
		engine.SchemaNone:   epdpv2.Config_Schema_ENFORCEMENT_NONE,
		engine.SchemaWarn:   epdpv2.Config_Schema_ENFORCEMENT_WARN,
		engine.SchemaReject: epdpv2.Config_Schema_ENFORCEMENT_REJECT}
	s := w.settings
	return &epdpv2.Config{Schema: &epdpv2.Config_Schema{Enforcement: enforcement[s.SchemaEnforcement]},
		Evaluator: &epdpv2.Config_Evaluator{Globals: globals.GetFields(), DefaultPolicyVersion: s.DefaultVersion,
			DefaultScope: s.DefaultScope, LenientScopeSearch: s.LenientScopeSearch,
			StrictEvaluation: s.StrictEvaluation}}
}

// inputsOf returns the inputs that a Cerbos server evaluates for a request whose tokens are good.
func inputsOf(in *requestv1.CheckResourcesRequest) []*enginev1.CheckInput {
	var aux *enginev1.AuxData
	if in.GetAuxData() != nil {
		aux = &enginev1.AuxData{Jwt: claimsOf(in.GetAuxData().GetJwt().GetToken())}
		for name, jwt := range in.GetAuxData().GetJwts() {
			if aux.Jwts == nil {
				aux.Jwts = map[string]*enginev1.AuxData_JWT{}
			}
			aux.Jwts[name] = &enginev1.AuxData_JWT{Claims: claimsOf(jwt.GetToken())}
		}
	}
	var out []*enginev1.CheckInput
	for _, r := range in.GetResources() {
		out = append(out, &enginev1.CheckInput{RequestId: in.GetRequestId(), Principal: in.GetPrincipal(),
			Resource: r.GetResource(), Actions: r.GetActions(), AuxData: aux})
	}
	return out
}

// claimsOf returns the claims of a token without verifying it.
func claimsOf(token string) map[string]*structpb.Value {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	claims := new(structpb.Struct)
	if err != nil || len(b) > 0 && claims.UnmarshalJSON(b) != nil {
		return nil
	}
	return claims.GetFields()
}

// fill puts the answer of an evaluator into a result, as a Cerbos server does.
func fill(r *responsev1.CheckResourcesResponse_ResultEntry, a *enginev1.CheckOutput, meta bool) {
	r.Actions = map[string]effectv1.Effect{}
	r.Outputs, r.ValidationErrors = a.GetOutputs(), a.GetValidationErrors()
	if meta {
		r.Meta = &responsev1.CheckResourcesResponse_ResultEntry_Meta{
			EffectiveDerivedRoles: a.GetEffectiveDerivedRoles(),
			Actions:               map[string]*responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{}}
	}
	for action, e := range a.GetActions() {
		r.Actions[action] = e.GetEffect()
		if meta {
			r.Meta.Actions[action] = &responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{
				MatchedPolicy: e.GetPolicy(), MatchedScope: e.GetScope()}
		}
	}
}
