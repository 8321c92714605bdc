package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A decision of the Cerbos API is denied, found and explained. A draft is replayed over it. Only a
// caller that acknowledges the new ALLOW may publish the draft.
func TestADecisionIsRecordedExplainedAndReplayed(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		client, secret := w.Machine("acme", role.Owner, application.JWT)
		token := w.Token("acme", client, secret)
		albums := func(condition string) []byte {
			return []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: album\n  version: default\n  " +
				"rules:\n    - name: view-rule\n      actions: [view]\n      effect: EFFECT_ALLOW\n      roles: " +
				"[user]\n      condition: {match: {expr: " + condition + "}}\n")
		}
		w.Publish(token, "acme", compiler.Files{"album.yaml": albums("R.attr.public == true")})

		shop := w.Must(token, "POST", "acme", "/applications",
			map[string]any{"name": "Shop", "type": "machine", "principal_mode": "asserted",
				"scopes": []string{"gatehouse:decide"}})
		decide := w.Token("acme", shop["client_id"].(string), shop["client_secret"].(string))
		check := func(album string, public bool) (string, string) { // call id and effect
			t.Helper()
			body, _ := json.Marshal(map[string]any{"requestId": "r1",
				"principal": map[string]any{"id": "ada", "roles": []string{"user"}},
				"resources": []any{map[string]any{"actions": []string{"view"},
					"resource": map[string]any{"kind": "album", "id": album,
						"attr": map[string]any{"public": public, "owner": "ada"}}}}})
			r, _ := http.NewRequest("POST", w.Origin+"/t/acme/api/check/resources", bytes.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+decide)
			r.Header.Set("Content-Type", "application/json")
			got := w.Send(r)
			if got.Status != 200 {
				t.Fatalf("check: %d %s", got.Status, got.Body)
			}
			answer := got.JSON(t)
			return answer["cerbosCallId"].(string), answer["results"].([]any)[0].(map[string]any)["actions"].(map[string]any)["view"].(string)
		}
		denied, effect := check("a1", false)
		if effect != "EFFECT_DENY" {
			t.Fatal(effect)
		}
		hers, effect := check("a2", true)
		if effect != "EFFECT_ALLOW" {
			t.Fatal(effect)
		}
		testkit.Eventually(t, "the records are written", func() bool {
			return w.Call(token, "GET", "acme", "/decisions/"+hers, nil).Status == 200
		})
		l := w.Must(token, "GET", "acme", "/decisions?effect=EFFECT_DENY&resource_kind=album&principal=ada",
			nil)["items"].([]any)
		if len(l) != 1 || l[0].(map[string]any)["id"] != denied ||
			l[0].(map[string]any)["application_id"] != shop["id"] || l[0].(map[string]any)["revision"] != 1.0 {
			t.Errorf("denied decisions: %v", l)
		}

		x := w.Call(token, "GET", "acme", "/decisions/"+denied+"/explain", nil)
		if x.Status != 200 {
			t.Fatalf("explain: %d %s", x.Status, x.Body)
		}
		for _, want := range []string{`"R.attr.public == true"`, `"view-rule"`,
			`{"path":"request.resource.attr.public","value":false,"source":"body"}`, `"same":true`} {
			if !strings.Contains(x.Body, want) {
				t.Errorf("the explanation does not say %s: %s", want, x.Body)
			}
		}
		if got := w.Call(token, "GET", "acme", "/decisions/"+denied+"/explain?index=1", nil); got.Status != 400 {
			t.Errorf("a resource that was not asked for: %d %s", got.Status, got.Body)
		}

		w.Clock.Advance(time.Minute) // a replay takes what is older than itself, by the time in the records' ids

		// A draft that denies what was allowed and allows what was denied.
		r, _ := http.NewRequest("PUT", w.Origin+"/t/acme/api/v1/policies/draft/files/album.yaml",
			bytes.NewReader(albums("R.attr.public == false")))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/yaml")
		if got := w.Send(r); got.Status != 200 {
			t.Fatalf("put: %d %s", got.Status, got.Body)
		}
		if got := w.Call(token, "GET", "acme", "/policies/draft/replay", nil); got.Status != 404 {
			t.Errorf("a replay that was not made: %d", got.Status)
		}
		for _, body := range []any{nil, map[string]any{"records": 10}} {
			report := w.Must(token, "POST", "acme", "/policies/draft/replay", body)
			allows, denies := report["new_allows"].([]any), report["new_denies"].([]any)
			if len(allows) != 1 || allows[0].(map[string]any)["resource_id"] != "a1" || len(denies) != 1 ||
				denies[0].(map[string]any)["resource_id"] != "a2" || report["complete"] != true {
				t.Errorf("replay: %v", report)
			}
		}
		publish := func(acknowledged any) world.Answer {
			body := map[string]any{"reason": "turned round"}
			if acknowledged != nil {
				body["acknowledged"] = acknowledged
			}
			return w.Call(token, "POST", "acme", "/policies/draft/publish", body)
		}
		for _, wrong := range []any{nil, "", "sha256:00"} {
			if got := publish(wrong); got.Status != 409 || got.JSON(t)["code"] != "policy.unacknowledged" {
				t.Errorf("publish with %v: %d %s", wrong, got.Status, got.Body)
			}
		}
		report := w.Must(token, "GET", "acme", "/policies/draft/replay", nil)
		if got := publish(report["acknowledge"]); got.Status > 299 {
			t.Fatalf("publish, acknowledged: %d %s", got.Status, got.Body)
		}
		if events := w.Must(token, "GET", "acme", "/audit-events?action=policy.replay",
			nil)["items"].([]any); len(events) != 2 {
			t.Errorf("%d events of replays", len(events))
		}
	})
}
