package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
)

// A decision of the Cerbos API is denied, found, explained; a draft is replayed over it, and is
// published only by who says that the new ALLOW is meant.
func TestADecisionIsRecordedExplainedAndReplayed(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		operator := w.operatorToken()
		w.must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		client, secret := w.machine("acme", role.Owner, application.JWT)
		token := w.token("acme", client, secret)
		albums := func(condition string) []byte {
			return []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n  resource: album\n  version: default\n  rules:\n    - name: view-rule\n      actions: [view]\n      effect: EFFECT_ALLOW\n      roles: [user]\n      condition: {match: {expr: " + condition + "}}\n")
		}
		w.publish(token, "acme", policy.Files{"album.yaml": albums("R.attr.public == true")})

		shop := w.must(token, "POST", "acme", "/applications", map[string]any{"name": "Shop", "type": "machine", "principal_mode": "asserted", "scopes": []string{"gatehouse:decide"}})
		decide := w.token("acme", shop["client_id"].(string), shop["client_secret"].(string))
		check := func(album string, public bool) (callID, effect string) {
			t.Helper()
			body, _ := json.Marshal(map[string]any{"requestId": "r1", "principal": map[string]any{"id": "ada", "roles": []string{"user"}},
				"resources": []any{map[string]any{"actions": []string{"view"}, "resource": map[string]any{"kind": "album", "id": album, "attr": map[string]any{"public": public, "owner": "ada"}}}}})
			r, _ := http.NewRequest("POST", w.url+"/t/acme/api/check/resources", bytes.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+decide)
			r.Header.Set("Content-Type", "application/json")
			got := w.do(r)
			if got.status != 200 {
				t.Fatalf("check: %d %s", got.status, got.body)
			}
			answer := got.json(t)
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
		for range 500 { // they are written a moment after
			if w.call(token, "GET", "acme", "/decisions/"+hers, nil).status == 200 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		l := w.must(token, "GET", "acme", "/decisions?effect=EFFECT_DENY&resource_kind=album&principal=ada", nil)["items"].([]any)
		if len(l) != 1 || l[0].(map[string]any)["id"] != denied || l[0].(map[string]any)["application_id"] != shop["id"] || l[0].(map[string]any)["revision"] != 1.0 {
			t.Errorf("denied decisions: %v", l)
		}

		x := w.call(token, "GET", "acme", "/decisions/"+denied+"/explain", nil)
		if x.status != 200 {
			t.Fatalf("explain: %d %s", x.status, x.body)
		}
		for _, want := range []string{`"R.attr.public == true"`, `"view-rule"`, `{"path":"request.resource.attr.public","value":false,"source":"body"}`, `"same":true`} {
			if !strings.Contains(string(x.body), want) {
				t.Errorf("the explanation does not say %s: %s", want, x.body)
			}
		}
		if got := w.call(token, "GET", "acme", "/decisions/"+denied+"/explain?index=1", nil); got.status != 400 {
			t.Errorf("a resource that was not asked for: %d %s", got.status, got.body)
		}

		// A draft that denies what was allowed and allows what was denied.
		r, _ := http.NewRequest("PUT", w.url+"/t/acme/api/v1/policies/draft/files/album.yaml", bytes.NewReader(albums("R.attr.public == false")))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/yaml")
		if got := w.do(r); got.status != 200 {
			t.Fatalf("put: %d %s", got.status, got.body)
		}
		if got := w.call(token, "GET", "acme", "/policies/draft/replay", nil); got.status != 404 {
			t.Errorf("a replay that was not made: %d", got.status)
		}
		for _, body := range []any{nil, map[string]any{"records": 10}} {
			report := w.must(token, "POST", "acme", "/policies/draft/replay", body)
			allows, denies := report["new_allows"].([]any), report["new_denies"].([]any)
			if len(allows) != 1 || allows[0].(map[string]any)["resource_id"] != "a1" || len(denies) != 1 || denies[0].(map[string]any)["resource_id"] != "a2" || report["complete"] != true {
				t.Errorf("replay: %v", report)
			}
		}
		publish := func(acknowledged any) answered {
			body := map[string]any{"reason": "turned round"}
			if acknowledged != nil {
				body["acknowledged"] = acknowledged
			}
			return w.call(token, "POST", "acme", "/policies/draft/publish", body)
		}
		for _, wrong := range []any{nil, "", "sha256:00"} {
			if got := publish(wrong); got.status != 409 || got.json(t)["code"] != "policy.unacknowledged" {
				t.Errorf("publish with %v: %d %s", wrong, got.status, got.body)
			}
		}
		report := w.must(token, "GET", "acme", "/policies/draft/replay", nil)
		if got := publish(report["acknowledge"]); got.status > 299 {
			t.Fatalf("publish, acknowledged: %d %s", got.status, got.body)
		}
		if events := w.must(token, "GET", "acme", "/audit-events?action=policy.replay", nil)["items"].([]any); len(events) != 2 {
			t.Errorf("%d events of replays", len(events))
		}
	})
}
