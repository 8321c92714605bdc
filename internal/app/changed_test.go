package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// changing are accepted requests for operations on the tenant itself and for new things; the others
// are in bodies.
var changing = map[string]any{
	"PATCH /settings":                map[string]any{"mfa": "required"},
	"PUT /decision-settings":         map[string]any{"retention_days": 7, "redaction": []any{}},
	"PATCH /policies/settings":       map[string]any{"strict_evaluation": true},
	"PATCH /policies/draft/settings": map[string]any{"lenient_scope_search": true},
	"POST /users/{id}/roles":         map[string]any{"role": "developer"},
	"POST /applications/{id}/roles":  map[string]any{"role": "developer"},
	"POST /groups/{id}/roles":        map[string]any{"role": "developer"},
	"POST /signing-keys/rotate":      map[string]any{"algorithm": "ES256"},
	"POST /users":                    map[string]any{"email": "new@acme.example"},
	"POST /groups":                   map[string]any{"name": "New"},
	"POST /roles":                    map[string]any{"name": "new", "actions": []string{"user.read"}},
	"POST /applications": map[string]any{"name": "Shop", "type": "web", "first_party": true,
		"redirect_uris": []string{"https://shop.example/cb"}},
}

// ends are actions whose event says what ended by its target; there is no field to compare. The
// profile of a deleted user does not stay in the log.
var ends = map[string]bool{
	"session.revoke": true, "grant.revoke": true, "grant.revoke_all": true, "user.delete": true,
	"policy.publish": true, "policy.rollback": true, "policy.import": true, "policy.discard": true,
	"policy.replay": true,
	"link.create":   true,
}

// Every operation that changes something leaves an event that says what changed, from what to what.
// The events are found by the request id of the answer.
func TestEveryChangeSaysWhatChanged(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		a := newTwin(w, w.Operator(), "acme")
		token := w.Token(a.slug, a.client, a.secret)
		other := w.Must(token, "POST", a.slug, "/users", map[string]any{"email": "other@acme.example"})["id"]
		doc := w.Send(must(http.NewRequest("GET", w.Origin+"/t/acme/api/v1/openapi.json", nil))).Body
		ops := operationsOf(t, doc)
		tried := 0
		for pass := range 4 { // what deletes comes last
			for _, op := range ops {
				name := op.method + " " + op.path
				body := changing[name]
				if body == nil {
					body = a.body(name)
				}
				if name == "POST /groups/{id}/members" {
					body = map[string]any{"user_id": other}
				}
				if op.platform || op.method == "GET" || readsByPost[op.id] || destroys(op) != pass ||
					op.method == "POST" && body == nil || op.path == "/users/{id}/totp" {
					continue
				}
				path := op.path
				if strings.Contains(path, "{") {
					path = a.concrete(t, path)
				}
				got := w.Call(token, op.method, a.slug, path, body)
				if got.Status < 200 || got.Status > 299 {
					t.Errorf("%s: %d %s", name, got.Status, got.Body)
					continue
				}
				tried++
				events := w.Must(token, "GET", a.slug, "/audit-events?request_id="+got.Header.Get("X-Request-Id"),
					nil)["items"].([]any)
				if len(events) == 0 {
					t.Errorf("%s leaves no event", name)
				}
				for _, e := range events {
					e := e.(map[string]any)
					action := e["action"].(string)
					detail, _ := e["detail"].(map[string]any)
					changed, _ := detail["changed"].(map[string]any)
					if !ends[action] && len(changed) == 0 {
						t.Errorf("%s: %s does not say what changed: %v", name, action, detail)
					}
					if target, _ := e["target"].(map[string]any); target["id"] != nil && target["name"] == nil {
						t.Errorf("%s: %s does not name its target: %v", name, action, target)
					}
					for field, c := range changed {
						if c, ok := c.(map[string]any); !ok || len(c) == 0 {
							t.Errorf("%s: %s of %s has no value", name, field, action)
						}
					}
				}
				if op.method != "PATCH" {
					continue
				}
				// The same again changes nothing.
				again := w.Call(token, op.method, a.slug, path, body)
				events = w.Must(token, "GET", a.slug, "/audit-events?request_id="+again.Header.Get("X-Request-Id"),
					nil)["items"].([]any)
				if again.Status != 200 || len(events) != 0 {
					t.Errorf("%s again: %d, and %d events for no change", name, again.Status, len(events))
				}
			}
		}
		if tried < 20 {
			t.Errorf("only %d operations were tried", tried)
		}
		created := w.Must(token, "GET", a.slug, "/audit-events?action=application.create&limit=50", nil)
		text, err := json.Marshal(created)
		for _, part := range []string{"https://shop.example/cb", "first_party", "scopes"} {
			if err != nil || !strings.Contains(string(text), part) {
				t.Errorf("a new application's event does not say %s: %s", part, text)
			}
		}
	})
}
