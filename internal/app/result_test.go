package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A caller who may change a thing and not read it gets only the members that are tagged always,
// from every operation.
func TestAChangeShowsNoMoreThanTheCallerMayRead(t *testing.T) {
	w := world.OnSQLite(t)
	operator := w.Operator()
	acme := newTwin(w, operator, "acme")
	owner := w.Token(acme.slug, acme.client, acme.secret)
	// Things without rights, which no caller is outranked by.
	made := func(path, member string, body any) string {
		return w.Must(owner, "POST", "acme", path, body)[member].(string)
	}
	acme.paths["users"] = made("/users", "id", map[string]any{"username": "mallory"})
	acme.paths["groups"] = made("/groups", "id", map[string]any{"name": "Empty"})
	acme.paths["applications"] = made("/applications", "id",
		map[string]any{"name": "Own", "type": "machine", "scopes": []string{}})
	acme.paths["roles"] = made("/roles", "name", map[string]any{"name": "empty", "actions": []string{}})
	doc := w.Send(must(http.NewRequest("GET", w.Origin+"/t/acme/api/v1/openapi.json", nil))).Body
	var described struct {
		Paths map[string]map[string]struct {
			Action    string `json:"x-action"`
			Responses map[string]struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Components struct {
			Schemas map[string]struct {
				Description string
			}
		}
	}
	if err := json.Unmarshal([]byte(doc), &described); err != nil {
		t.Fatal(err)
	}
	requests := map[string]any{
		"POST /users": map[string]any{"username": "eve"}, "POST /groups": map[string]any{"name": "G"},
		"POST /applications":        map[string]any{"name": "A", "type": "machine", "scopes": []string{}},
		"POST /roles":               map[string]any{"name": "r", "actions": []string{}},
		"POST /apis":                map[string]any{"name": "A", "identifier": "https://api.example.com/", "access": "listed"},
		"POST /signing-keys/rotate": map[string]any{"algorithm": "ES256"},
		"PATCH /settings":           map[string]any{"registration": true},
		"PATCH /policies/settings":  map[string]any{"strict_evaluation": true},
		"PUT /decision-settings":    map[string]any{"retention_days": 7, "redaction": []any{}},
	}
	tried := 0
	for path, methods := range described.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + path
			for status, response := range op.Responses {
				ref := response.Content["application/json"].Schema.Ref
				result, ok := strings.CutSuffix(ref[strings.LastIndexByte(ref, '/')+1:], "Result")
				if !ok || method == "get" || strings.HasPrefix(path, "/tenants") || path == "/policies/import" ||
					path == "/policies/draft/publish" {
					continue
				}
				body, target := requests[name], path
				if strings.Contains(path, "{") {
					body, target = acme.body(name), acme.concrete(t, path)
				}
				own := "only-" + strings.ReplaceAll(op.Action, ".", "-")
				w.Call(owner, "POST", "acme", "/roles", map[string]any{"name": own, "actions": []string{op.Action}})
				got := w.Call(w.Holder("acme", own), strings.ToUpper(method), "acme", target, body)
				if got.Status != 200 && got.Status != 201 {
					t.Errorf("%s: %d %s, want %s", name, got.Status, got.Body, status)
					continue
				}
				tried++
				_, list, _ := strings.Cut(described.Components.Schemas[result+"Result"].Description, "it has only ")
				always := strings.Split(strings.TrimSuffix(list, "."), ", ")
				for member := range got.JSON(t) {
					if !slices.Contains(always, member) {
						t.Errorf("%s shows %s to a caller with %s only: %s", name, member, op.Action, got.Body)
					}
				}
				if slices.Contains(always, "id") && got.JSON(t)["id"] == nil {
					t.Errorf("%s does not show the id: %s", name, got.Body)
				}
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d operations were tried", tried)
	}
}
