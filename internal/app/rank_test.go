package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A caller who may do an action does not do it to a user, group or application with more rights.
// The things of a tenant here have the role of an auditor, and each caller has one action. So a new
// operation on one of them has a row as soon as it is described.
func TestNoOperationReachesASubjectWithMoreRights(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := newTwin(w, w.Operator(), "acme")
		owner := w.Token(acme.slug, acme.client, acme.secret)
		doc := w.Send(must(http.NewRequest("GET", w.Origin+"/t/acme/api/v1/openapi.json", nil))).Body
		tried := map[string]bool{}
		for _, op := range operationsOf(t, doc) {
			noun, _, _ := strings.Cut(strings.TrimPrefix(op.path, "/"), "/")
			switch noun {
			case "users", "groups", "applications", "sessions", "grants":
			default:
				continue
			}
			if op.method == "GET" || readsByPost[op.id] || !strings.Contains(op.path, "{") {
				continue
			}
			own := "only-" + strings.ReplaceAll(op.action, ".", "-")
			w.Call(owner, "POST", "acme", "/roles", map[string]any{"name": own, "actions": []string{op.action}})
			path := acme.concrete(t, op.path)
			got := w.Call(w.Holder("acme", own), op.method, "acme", path, acme.body(op.method+" "+op.path))
			if got.Status != 403 ||
				!strings.Contains(got.Body, `"role.outranked"`) && !strings.Contains(got.Body, `"role.beyond_own"`) {
				t.Errorf("%s by a caller with %s only: %d %s, want 403", op.id, op.action, got.Status, got.Body)
			}
			tried[op.id] = true
		}
		for _, id := range []string{"revoke-session", "revoke-grant", "revoke-user-grants",
			"revoke-application-grants"} {
			if !tried[id] {
				t.Errorf("%s was not tried", id)
			}
		}
		// An application that becomes or stops being a server of an API works otherwise from then
		// on.
		app := acme.paths["applications"]
		for _, op := range []struct {
			method, path, action string
			body                 map[string]any
		}{
			{"POST", "/apis", "api.create", map[string]any{"identifier": "urn:example:mine", "name": "Mine",
				"scopes": []any{map[string]any{"name": "read"}}, "servers": []string{app}}},
			{"PATCH", "/apis/" + acme.paths["apis"], "api.update", map[string]any{"servers": []string{}}},
		} {
			own := "only-" + strings.ReplaceAll(op.action, ".", "-")
			w.Call(owner, "POST", "acme", "/roles", map[string]any{"name": own, "actions": []string{op.action}})
			got := w.Call(w.Holder("acme", own), op.method, "acme", op.path, op.body)
			if got.Status != 403 || !strings.Contains(got.Body, `"role.outranked"`) {
				t.Errorf("%s servers: %d %s, want 403", op.action, got.Status, got.Body)
			}
			if got := w.Call(owner, op.method, "acme", op.path, op.body); got.Status >= 300 {
				t.Errorf("%s servers by an owner: %d %s", op.action, got.Status, got.Body)
			}
		}
		// Positive control: the owner ends the same things.
		for _, noun := range []string{"grants", "sessions"} {
			path := "/" + noun + "/" + acme.paths[noun]
			if got := w.Call(owner, "DELETE", "acme", path, nil); got.Status != 204 {
				t.Errorf("DELETE %s by an owner: %d %s", path, got.Status, got.Body)
			}
		}
	})
}
