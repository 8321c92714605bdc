package decision_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A denied answer leads to the condition that failed, the values it saw and their source.
func TestADenialIsExplained(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	files := documents("read", "write if R.attr.owner == P.id && P.attr.team.name == 'blue' && P.attr.request.urgent")
	x := decided(t, d, evaluator(t, files), "ada", "write", "d1", "d2")
	x.Mode = application.FromDirectory
	r := decision.Record{Decision: x}
	got, err := decision.Explain(ctx, r, 1, files, policy.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Same || len(got.Notes) != 0 || got.Result.Resource.ID != "d2" || got.Actions[0].Effect != "EFFECT_DENY" {
		t.Errorf("%+v", got)
	}
	sources := map[string]string{}
	failed := false
	for _, s := range got.Steps {
		failed = failed || s.Action == "write" && strings.Contains(s.Expression, "R.attr.owner == P.id") && s.Result == false
		for _, v := range s.Values {
			if strings.HasPrefix(s.Expression, "R.attr.owner") {
				sources[v.Path] = v.Source
			}
		}
	}
	want := map[string]string{"request.resource.attr.owner": "body", "request.principal.id": "directory", "request.principal.attr.team.name": "directory", "request.principal.attr.request.urgent": "request"}
	if diff := cmp.Diff(want, sources); diff != "" || !failed {
		t.Errorf("the condition that failed: %v; values: %s\n%+v", failed, diff, got.Steps)
	}

	r.Reason = "The principal is locked."
	if got, err := decision.Explain(ctx, r, 0, files, policy.DefaultSettings()); err != nil || got.Reason != r.Reason || len(got.Steps) != 0 {
		t.Errorf("a refused principal: %+v %v", got, err)
	}
	r.Reason, r.Redacted = "", []decision.Mark{{Input: 0, Path: "resource.attr.owner"}}
	if got, err := decision.Explain(ctx, r, 0, files, policy.DefaultSettings()); err != nil || len(got.Notes) != 1 {
		t.Errorf("a redacted record: %+v %v", got, err)
	}
	if got, err := decision.Explain(ctx, r, 0, documents("write"), policy.DefaultSettings()); err != nil || got.Same {
		t.Errorf("an answer that is another one: %+v %v", got, err)
	}
	for _, index := range []int{-1, 2} {
		if _, err := decision.Explain(ctx, r, index, files, policy.DefaultSettings()); err == nil {
			t.Errorf("index %d was explained", index)
		}
	}
}
