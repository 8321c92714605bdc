package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
)

// fleet is a Cerbos server with tenants' policies below their scopes, and the engine that asks it. own
// are the operator's files, over those that Below makes.
func fleet(t *testing.T, tenants map[id.ID]Files, own Files, settings map[string]any) (*Remote, *cerbos.Server) {
	t.Helper()
	all := Files{}
	for tenant, files := range tenants {
		below, err := Below(files, tenant.String())
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, below)
	}
	maps.Copy(all, own)
	dir := t.TempDir()
	for name, content := range all {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := cerbos.Start(t, cerbos.Config{Policies: dir, Settings: settings})
	e, err := NewRemote(NewInProcess(&shelf{of: map[id.ID]Published{}}, base), &url.URL{Scheme: "grpc", Host: server.GRPC})
	if err != nil {
		t.Fatal(err)
	}
	return e, server
}

// stricter is everything of another tenant: the same names mean other things.
func stricter() Files {
	out := Files{}
	for name, content := range everything {
		out[name] = []byte(strings.NewReplacer("{least: 3}", "{least: 9}", "R.attr.owner == P.id", "R.attr.owner == 'eve'").Replace(string(content)))
	}
	return out
}

// rootSchema is a policy of the root scope with the schema of everything: Cerbos looks at no other.
var rootSchema = Files{
	"root/resource.doc.vdefault.json": []byte(`{"apiVersion":"api.cerbos.dev/v1","resourcePolicy":{"resource":"doc","version":"default","schemas":{"resourceSchema":{"ref":"cerbos:///doc.json"}}}}`),
	"_schemas/doc.json":               everything["_schemas/doc.json"], "_schemas/other.json": everything["_schemas/other.json"],
}

// What a fleet answers of policies below the tenant's scope is what this process answers of them:
// effects, policies, scopes, derived roles, outputs, validation errors and plans.
func TestAFleetAnswersAsThisProcessDoes(t *testing.T) {
	a, b := id.New(), id.New()
	remote, _ := fleet(t, map[id.ID]Files{a: everything, b: stricter()}, rootSchema, map[string]any{
		"engine": map[string]any{"globals": map[string]any{"open": true}}, "schema": map[string]any{"enforcement": "warn"},
	})
	s := DefaultSettings()
	s.SchemaEnforcement, s.Globals = SchemaWarn, map[string]any{"open": true}
	local := NewInProcess(&shelf{of: map[id.ID]Published{
		a: {1, tableOf(t, everything), s}, b: {1, tableOf(t, stricter()), s},
	}}, base)

	asks := append([]*enginev1.CheckInput{asking("gatehouse:thing", nil, "view")}, questions...)
	change := func(in *enginev1.CheckInput, fn func(in *enginev1.CheckInput)) *enginev1.CheckInput {
		out := proto.CloneOf(in)
		fn(out)
		return out
	}
	asks = append(asks,
		change(questions[0], func(in *enginev1.CheckInput) { in.Principal.Roles = []string{"admin"} }),
		change(questions[1], func(in *enginev1.CheckInput) { in.Principal.Scope = "acme" }),
		change(questions[4], func(in *enginev1.CheckInput) { in.Resource.Scope = "nowhere" }),
		change(questions[0], func(in *enginev1.CheckInput) { in.Resource.PolicyVersion = "v2" }),
		asking("gatehouse:thing", nil, "view"),
	)
	for i := range 120 { // more than a server takes at once
		asks = append(asks, change(questions[i%2], func(in *enginev1.CheckInput) { in.Resource.Id = fmt.Sprint("many-", i) }))
	}
	same := cmp.Options{protocmp.Transform(), cmpopts.EquateEmpty(), protocmp.SortRepeated(func(a, b string) bool { return a < b }),
		protocmp.IgnoreFields(&enginev1.CheckOutput{}, "evaluation_errors")} // which no answer of Cerbos' API has
	for name, c := range map[string]caller.Caller{"everything": as(a), "stricter": as(b)} {
		want, err := local.Check(t.Context(), c, asks)
		if err != nil {
			t.Fatal(err)
		}
		got, err := remote.Check(t.Context(), c, asks)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Outputs, got.Outputs, same); d != "" {
			t.Errorf("%s: check differs (-here +fleet):\n%s", name, d)
		}
		for _, scope := range []string{"", "acme", "nowhere"} {
			for _, actions := range [][]string{{"view"}, {"edit"}, {"view", "edit"}, {"delete"}} {
				plan := &enginev1.PlanResourcesInput{RequestId: "p", Actions: actions, Principal: questions[0].Principal, IncludeMeta: true,
					Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc", Scope: scope}}
				want, err := local.Plan(t.Context(), c, plan)
				if err != nil {
					t.Fatal(err)
				}
				got, err := remote.Plan(t.Context(), c, plan)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want.Output, got.Output, same); d != "" {
					t.Errorf("%s: plan of %v in %q differs (-here +fleet):\n%s", name, actions, scope, d)
				}
			}
		}
		// The fleet's scope is ours to know.
		if text := fmt.Sprint(got.Outputs); strings.Contains(text, c.Tenant.String()) {
			t.Errorf("%s: the tenant's scope shows: %s", name, text)
		}
	}
	// The two do answer otherwise: none has the other's names.
	one, _ := remote.Check(t.Context(), as(a), questions[:1])
	two, _ := remote.Check(t.Context(), as(b), questions[:1])
	if cmp.Equal(one.Outputs, two.Outputs, protocmp.Transform()) {
		t.Error("both tenants are answered alike")
	}
	claims := proto.CloneOf(questions[0])
	claims.AuxData = &enginev1.AuxData{}
	if _, err := remote.Check(t.Context(), as(a), []*enginev1.CheckInput{claims}); !errors.Is(err, ErrRemoteAuxData) {
		t.Error(err)
	}
	if _, err := remote.Plan(t.Context(), as(a), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: claims.Principal, AuxData: claims.AuxData, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}}); !errors.Is(err, ErrRemoteAuxData) {
		t.Error(err)
	}
	if _, err := remote.Plan(t.Context(), as(a), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: claims.Principal, AuxData: claims.AuxData, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "gatehouse:thing"}}); err != nil {
		t.Errorf("a kind that is answered here: %v", err)
	}
}

// Whatever scopes a request names, in its resource or its principal, it stays below its own tenant's.
func TestNoScopeReachesAnotherTenantOfTheFleet(t *testing.T) {
	a, b := id.New(), id.New()
	open := func(scope string) []byte {
		return []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy: {resource: vault, version: default, scope: \"" + scope + "\", rules: [{actions: [view], effect: EFFECT_ALLOW, roles: [user]}]}\n")
	}
	theirs := Files{
		"root.yaml": open(""), "acme.yaml": open("acme"),
		"safe.yaml": []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy: {resource: safe, version: default}\n"),
		"ada.yaml":  []byte("apiVersion: api.cerbos.dev/v1\nprincipalPolicy: {principal: ada, version: default, rules: [{resource: safe, actions: [{action: view, effect: EFFECT_ALLOW}]}]}\n"),
	}
	remote, _ := fleet(t, map[id.ID]Files{a: theirs, b: {"doc.yaml": everything["doc_acme.yaml"], "root.yaml": []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy: {resource: doc, version: default}\n")}}, nil, nil)
	effects := func(c caller.Caller, kind, resourceScope, principalScope string) (out []bool) {
		in := asking(kind, nil, "view")
		in.Resource.Scope, in.Principal.Scope = resourceScope, principalScope
		got, err := remote.Check(t.Context(), c, []*enginev1.CheckInput{in})
		out = append(out, err == nil && got.Outputs[0].GetActions()["view"].GetEffect() == effectv1.Effect_EFFECT_ALLOW)
		plan, err := remote.Plan(t.Context(), c, &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: in.Principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: kind, Scope: resourceScope}})
		return append(out, err == nil && plan.Output.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED)
	}
	scopes := []string{"", ".", "..", "acme", ".acme", "..acme"}
	for _, of := range []id.ID{a, b} {
		scopes = append(scopes, of.String(), of.String()+".acme", "."+of.String(), ".."+of.String(), "."+of.String()+".acme", of.String()+".")
	}
	for _, kind := range []string{"vault", "safe"} {
		if got := effects(as(a), kind, "", ""); !got[0] || !got[1] {
			t.Fatalf("%s: the tenant's own: check and plan %v", kind, got)
		}
		for _, resourceScope := range scopes {
			for _, principalScope := range scopes {
				if got := effects(as(b), kind, resourceScope, principalScope); got[0] || got[1] {
					t.Errorf("%s: resource scope %q, principal scope %q reach another tenant: %v", kind, resourceScope, principalScope, got)
				}
			}
		}
	}
}

// A fleet that does not answer is said to be unavailable, in a sentence of ours; when it is back, it answers.
func TestAFleetThatIsDown(t *testing.T) {
	a := id.New()
	remote, server := fleet(t, map[id.ID]Files{a: everything}, nil, nil)
	check := func() error {
		_, err := remote.Check(t.Context(), as(a), questions)
		return err
	}
	plan := func() error {
		_, err := remote.Plan(t.Context(), as(a), &enginev1.PlanResourcesInput{Actions: []string{"view"}, Principal: questions[0].Principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "doc"}})
		return err
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	for name, err := range map[string]error{"check": check(), "plan": plan(), "check again": check()} {
		if !errors.Is(err, ErrFleet) || fault.Of(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, theirs := status.FromError(err); theirs || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the fleet's own status is answered: %v", name, err)
		}
	}
	if out, err := remote.Check(t.Context(), as(a), []*enginev1.CheckInput{asking("gatehouse:thing", nil, "view")}); err != nil || out.Outputs[0].GetActions()["view"].GetEffect() != effectv1.Effect_EFFECT_ALLOW {
		t.Errorf("what is answered here: %v %v", out, err)
	}
	server.Restart(t)
	err := check()
	for i := 0; err != nil && i < 600; i++ { // a connection is made in its own time
		time.Sleep(50 * time.Millisecond)
		err = check()
	}
	if err != nil {
		t.Errorf("after the fleet is back: %v", err)
	}
}
