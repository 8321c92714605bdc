package pdp_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

const (
	checkPath = "/t/acme/api/check/resources"
	planPath  = "/t/acme/api/plan/resources"

	samViews = `{"requestId":"r1","includeMeta":true,"principal":{"id":"sam","roles":["employee"],"attr":{"grade":3}},
		"resources":[{"actions":["view","approve"],"resource":{"kind":"leave_request","id":"L1","attr":{"owner":"sam"}}},
		             {"actions":["view"],"resource":{"kind":"leave_request","policyVersion":"default","id":"L2","attr":{"owner":"kim"}}}]}`
)

func TestCheckResourcesOverHTTP(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		a := w.post(w.asking(application.Asserted), checkPath, samViews)
		got := a.JSON(t)
		call, _ := got["cerbosCallId"].(string)
		delete(got, "cerbosCallId")
		const leave = "resource.leave_request.vdefault"
		effect := func(policy string) any { return map[string]any{"matchedPolicy": policy} }
		want := map[string]any{"requestId": "r1", "results": []any{
			map[string]any{
				"resource": map[string]any{"id": "L1", "kind": "leave_request"},
				"actions":  map[string]any{"view": "EFFECT_ALLOW", "approve": "EFFECT_DENY"},
				"meta": map[string]any{
					"actions":               map[string]any{"view": effect(leave), "approve": effect(leave)},
					"effectiveDerivedRoles": []any{"owner"},
				},
				"outputs": []any{map[string]any{"src": leave + "#rule-001", "val": "yours: L1", "action": "view"}},
			},
			map[string]any{
				"resource": map[string]any{"id": "L2", "kind": "leave_request", "policyVersion": "default"},
				"actions":  map[string]any{"view": "EFFECT_DENY"},
				"meta":     map[string]any{"actions": map[string]any{"view": effect(leave)}},
			},
		}}
		if diff := cmp.Diff(want, got); a.Status != 200 || diff != "" {
			t.Errorf("%d %s", a.Status, diff)
		}
		made, by := w.recorded.last()
		if made.ID.String() != call || made.Kind != decision.Check || made.Mode != application.Asserted ||
			made.Revision != 7 || len(made.Inputs) != 2 || len(made.Outputs) != 2 || made.Size != len(samViews) ||
			made.Took != loading {
			t.Errorf("recorded %+v for call %s", made, call)
		}
		if by.Tenant != w.acme.Tenant || by.Actor.Kind != caller.Application || by.RequestID == "" {
			t.Errorf("recorded for %+v", by)
		}
	})
}
