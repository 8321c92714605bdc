package decision_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A denied answer leads to the condition that failed, the values it read and their sources.
func TestADenialIsExplained(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	files := documents("read", "write if R.attr.owner == P.id && P.attr.team.name == 'blue' && P.attr.request.urgent")
	x := decided(t, d, evaluator(t, files), "ada", "write", "d1", "d2")
	x.Mode = application.FromDirectory
	r := decision.Record{Decision: x}
	got, err := decision.Explain(ctx, r, 1, published(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Same || len(got.Notes) != 0 || got.Result.Resource.ID != "d2" || got.Actions[0].Effect != "EFFECT_DENY" {
		t.Errorf("%+v", got)
	}
	sources := map[string]string{}
	failed := false
	for _, s := range got.Steps {
		failed = failed || s.Action == "write" && strings.Contains(s.Expression, "R.attr.owner == P.id") &&
			s.Result == false
		for _, v := range s.Values {
			if strings.HasPrefix(s.Expression, "R.attr.owner") {
				sources[v.Path] = v.Source
			}
		}
	}
	want := map[string]string{"request.resource.attr.owner": "body", "request.principal.id": "directory",
		"request.principal.attr.team.name": "directory", "request.principal.attr.request.urgent": "request"}
	if diff := cmp.Diff(want, sources); diff != "" || !failed {
		t.Errorf("the condition that failed: %v; values: %s\n%+v", failed, diff, got.Steps)
	}

	r.Reason = "The principal is locked."
	if got, err := decision.Explain(ctx, r, 0, published(t, files)); err != nil || got.Reason != r.Reason ||
		len(got.Steps) != 0 {
		t.Errorf("a refused principal: %+v %v", got, err)
	}
	r.Reason, r.Redacted = "", []decision.Mark{{Input: 0, Path: "resource.attr.owner"}}
	if got, err := decision.Explain(ctx, r, 0, published(t, files)); err != nil || len(got.Notes) != 1 {
		t.Errorf("a redacted record: %+v %v", got, err)
	}
	if got, err := decision.Explain(ctx, r, 0, published(t, documents("write"))); err != nil || got.Same {
		t.Errorf("an answer that is another one: %+v %v", got, err)
	}
	for _, index := range []int{-1, 2} {
		if _, err := decision.Explain(ctx, r, index, published(t, files)); err == nil {
			t.Errorf("index %d was explained", index)
		}
	}
}

// An explanation says, for its resource, why it is not exact.
func TestAnExplanationSaysWhatItLacks(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	files := documents("read", "write if R.attr.owner == P.id")
	explain := func(r decision.Record, index int) decision.Explained {
		t.Helper()
		got, err := decision.Explain(ctx, r, index, published(t, files))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	r := decision.Record{Decision: decided(t, d, evaluator(t, files), "ada", "write", "d1", "d2")}
	r.Redacted = []decision.Mark{{Input: 1, Path: "resource.attr.owner"}}
	if got := explain(r, 0); len(got.Notes) != 0 {
		t.Errorf("redacted elsewhere: %q", got.Notes)
	}
	if got := explain(r, 1); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "resource.attr.owner") {
		t.Errorf("redacted here: %q", got.Notes)
	}
	r.Redacted = []decision.Mark{{Input: -1, Path: "principal.attr.email"}}
	if got := explain(r, 1); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "principal.attr.email") {
		t.Errorf("redacted for all: %q", got.Notes)
	}
	r.Redacted, r.Oversized = nil, true
	if got := explain(r, 0); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "too large") {
		t.Errorf("oversized: %q", got.Notes)
	}
	r.Oversized = false
	r.Outputs[0].Actions["write"].Effect = allow
	if got := explain(r, 0); got.Same || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "another answer") ||
		got.Result.Actions[0].Effect != "EFFECT_ALLOW" || got.Actions[0].Effect != "EFFECT_DENY" {
		t.Errorf("another answer: %+v", got)
	}
	refused := decision.Record{Decision: asked(t, d, "max", "write", deny, "d1")}
	refused.Reason = "principal.locked"
	if got := explain(refused, 0); !got.Same || got.Reason != refused.Reason || len(got.Steps) != 0 {
		t.Errorf("a refused principal: %+v", got)
	}
	// One of several principals was refused; the others asked the policies.
	refused.Inputs = append(refused.Inputs, asked(t, d, "zoe", "read", allow, "d2").Inputs...)
	refused.Outputs = append(refused.Outputs, asked(t, d, "zoe", "read", allow, "d2").Outputs...)
	if got := explain(refused, 1); !got.Same || len(got.Steps) == 0 || got.Actions[0].Effect != "EFFECT_ALLOW" {
		t.Errorf("the other principal: %+v", got)
	}
	plan := decision.Record{
		Decision: decision.Decision{Kind: decision.Plan,
			PlanInput:  &enginev1.PlanResourcesInput{Actions: []string{"read"}},
			PlanOutput: &enginev1.PlanResourcesOutput{}}}
	if _, err := decision.Explain(ctx, plan, 0, published(t, files)); !errors.Is(err, decision.ErrPlan) {
		t.Errorf("a plan: %v", err)
	}
}

// The source of each value depends on the principal mode of the application and on the kind of
// resource.
func TestValuesSayTheirSource(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	const condition = `R.attr.owner == P.id && P.attr.amr != [] && P.attr.request.urgent != true && ` +
		`P.scope != "x" && request.aux_data.jwt.sub != "x" && G.open != true && P.roles != []`
	for _, c := range []struct {
		mode application.PrincipalMode
		kind string
		want map[string]string
	}{
		{application.FromDirectory, "document", map[string]string{
			"request.resource.attr.owner": "body", "request.principal.id": "directory",
			"request.principal.roles": "directory", "request.principal.attr.amr": "token",
			"request.principal.attr.request.urgent": "request", "request.principal.scope": "request",
			"request.aux_data.jwt.sub": "token", "globals.open": ""}},
		{application.Asserted, "document", map[string]string{
			"request.resource.attr.owner": "body", "request.principal.id": "body", "request.principal.roles": "body",
			"request.principal.attr.amr":            "body",
			"request.principal.attr.request.urgent": "body", "request.principal.scope": "body",
			"request.aux_data.jwt.sub": "token", "globals.open": ""}},
		{"", "gatehouse:thing", map[string]string{
			"request.resource.attr.owner": "directory", "request.principal.id": "directory",
			"request.principal.roles": "directory", "request.principal.attr.amr": "token",
			"request.principal.attr.request.urgent": "request", "request.principal.scope": "request",
			"request.aux_data.jwt.sub": "token", "globals.open": ""}},
	} {
		files := documents("write if " + condition)
		files["document.yaml"] = []byte(strings.Replace(string(files["document.yaml"]), "resource: document",
			`resource: "`+c.kind+`"`, 1))
		x := asked(t, d, "ada", "write", deny, "d1")
		x.Mode, x.Inputs[0].Resource.Kind = c.mode, c.kind
		x.Inputs[0].AuxData = &enginev1.AuxData{Jwt: attr(t, map[string]any{"sub": "ada"})}
		table, err := compiler.BaseTable(directory(files))()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decision.Explain(ctx, decision.Record{Decision: x}, 0, engine.Published{Table: table,
			Settings: engine.DefaultSettings()})
		if err != nil {
			t.Fatal(err)
		}
		sources := map[string]string{}
		for _, s := range got.Steps {
			for _, v := range s.Values {
				sources[v.Path] = v.Source
			}
		}
		if diff := cmp.Diff(c.want, sources); diff != "" {
			t.Errorf("%q %s: %s", c.mode, c.kind, diff)
		}
	}
}

// directory returns files as a directory.
func directory(files compiler.Files) fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range files {
		out[name] = &fstest.MapFile{Data: content}
	}
	return out
}
