package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A developer, or a role for one application, makes no application that acts for others.
func TestADeveloperMakesNoApplicationThatActsForOthers(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		app := func(kv ...any) map[string]any {
			body := map[string]any{"name": "Calendar", "type": "spa", "redirect_uris": []string{"https://a.example/cb"},
				"scopes": []string{"openid"}}
			for i := 0; i < len(kv); i += 2 {
				body[kv[i].(string)] = kv[i+1]
			}
			return body
		}
		plain := w.Must(operator, "POST", "acme", "/applications", app())["id"].(string)
		trusted := w.Must(operator, "POST", "acme", "/applications", app("first_party", true))["id"].(string)
		pdp := w.Must(operator, "POST", "acme", "/applications", map[string]any{"name": "PDP", "type": "machine",
			"scopes": []string{"gatehouse:decide"}, "principal_mode": "directory"})["id"].(string)
		w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": "team",
			"actions": []string{"application.read", "application.update"},
			"limits":  map[string]any{"applications": []string{plain, trusted, pdp}}})
		w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": "truster",
			"actions": []string{"application.create", "application.update", "application.trust"}})
		w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": "revoker",
			"actions": []string{"grant.revoke"}})
		id, secret := w.Machine("acme", "team", application.JWT)
		for _, of := range w.Must(operator, "GET", "acme", "/applications", nil)["items"].([]any) {
			if a := of.(map[string]any); a["client_id"] == id {
				w.Must(operator, "POST", "acme", fmt.Sprintf("/applications/%s/roles", a["id"]),
					map[string]any{"role": "revoker"})
			}
		}
		other := w.Must(operator, "POST", "acme", "/applications", app())["id"].(string)
		developer, team := w.Holder("acme", role.Developer), w.Token("acme", id, secret)
		truster := w.Holder("acme", "truster")
		for _, c := range []struct {
			who, token   string
			method, path string
			body         any
			want         int
		}{
			{"a developer", developer, "POST", "", app(), 201},
			{"a developer", developer, "POST", "", map[string]any{"name": "x", "type": "machine"}, 201},
			{"a developer", developer, "POST", "", map[string]any{"name": "x", "type": "web",
				"redirect_uris": []string{"https://diary.example/cb"}}, 201},
			{"a developer", developer, "POST", "", map[string]any{"name": "x", "type": "spa",
				"redirect_uris": []string{"https://diary.example/cb"}}, 201},
			{"a developer", developer, "POST", "", map[string]any{"name": "x", "type": "native",
				"redirect_uris": []string{"com.example.diary:/cb"}}, 201},
			{"a developer", developer, "POST", "", app("first_party", true), 403},
			{"a developer", developer, "POST", "", app("scopes", []string{"gatehouse:manage"}), 403},
			{"a developer", developer, "POST", "", map[string]any{"name": "x", "type": "machine",
				"principal_mode": "directory", "scopes": []string{}}, 403},
			{"a developer", developer, "PATCH", "/" + plain, map[string]any{"first_party": true}, 403},
			{"a developer", developer, "PATCH", "/" + trusted,
				map[string]any{"redirect_uris": []string{"https://evil.example/cb"}}, 403},
			{"a developer", developer, "PATCH", "/" + trusted, map[string]any{"name": "Diary"}, 403},
			{"a developer", developer, "PATCH", "/" + trusted, map[string]any{"access_token_seconds": 86400}, 403},
			{"a developer", developer, "DELETE", "/" + trusted, nil, 403},
			{"a developer", developer, "PATCH", "/" + trusted, map[string]any{"status": "disabled"}, 200},
			{"a developer", developer, "PATCH", "/" + trusted, map[string]any{"status": "active"}, 403},
			{"who may trust", truster, "PATCH", "/" + trusted, map[string]any{"status": "active"}, 200},
			{"a developer", developer, "POST", "/" + pdp + "/secret", map[string]any{}, 403},
			{"the team", team, "PATCH", "/" + plain, map[string]any{"scopes": []string{"gatehouse:manage"}}, 403},
			{"the team", team, "PATCH", "/" + trusted,
				map[string]any{"redirect_uris": []string{"https://evil.example/cb"}}, 403},
			{"the team", team, "POST", "/" + pdp + "/secret", map[string]any{}, 403},
			// Who may disable an application may end its grants: both end the same.
			{"the team", team, "PATCH", "/" + plain, map[string]any{"status": "disabled"}, 200},
			{"the team", team, "DELETE", "/" + plain + "/grants", nil, 204},
			{"the team", team, "PATCH", "/" + other, map[string]any{"status": "disabled"}, 403},
			{"the team", team, "DELETE", "/" + other + "/grants", nil, 403},
			{"who may trust", truster, "POST", "",
				app("first_party", true, "scopes", []string{"gatehouse:manage"}), 201},
			{"who may trust", truster, "POST", "", map[string]any{"name": "x", "type": "machine",
				"principal_mode": "directory", "scopes": []string{}}, 403}, // but may not see people
		} {
			if got := w.Call(c.token, c.method, "acme", "/applications"+c.path, c.body); got.Status != c.want {
				t.Errorf("%s: %s %s %v: %d %s, want %d", c.who, c.method, c.path, c.body, got.Status, got.Body, c.want)
			}
		}
		for _, c := range []struct{ who, token, scopes string }{
			{"a developer", developer, "[]"}, {"who may trust", truster, "[gatehouse:manage]"},
		} {
			made := w.Must(c.token, "POST", "acme", "/applications", map[string]any{"name": "x", "type": "machine"})
			made = w.Must(operator, "GET", "acme", "/applications/"+made["id"].(string), nil)
			if got := fmt.Sprint(made["scopes"]); got != c.scopes {
				t.Errorf("a machine that %s creates without scopes has %s, want %s", c.who, got, c.scopes)
			}
		}
	})
}

// What the directory does not show a reader, decision records do not show either.
func TestPeopleAreNotReadByDetour(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		ada := w.Must(operator, "POST", "acme", "/users", map[string]any{"email": "ada@acme.example",
			"status": "active", "attributes": map[string]any{"salary": 123456}})["id"].(string)
		group := w.Must(operator, "POST", "acme", "/groups", map[string]any{"name": "Staff"})["id"].(string)
		w.Must(operator, "POST", "acme", "/groups/"+group+"/members", map[string]any{"user_id": ada})
		owner := w.Holder("acme", role.Owner)
		w.Publish(owner, "acme", compiler.Files{"doc.yaml": []byte("apiVersion: api.cerbos.dev/v1\nresourcePolicy:\n" +
			"  resource: doc\n  version: default\n" +
			"  rules:\n    - actions: [view]\n      effect: EFFECT_ALLOW\n      roles: [\"*\"]\n" +
			"      condition: {match: {expr: P.attr.email != \"\" && P.attr.user.salary > 1}}\n")})
		pdp := w.Must(operator, "POST", "acme", "/applications", map[string]any{"name": "PDP", "type": "machine",
			"scopes": []string{"gatehouse:decide"}, "principal_mode": "directory"})
		decide := w.Token("acme", pdp["client_id"].(string), pdp["client_secret"].(string))
		body := `{"principal":{"id":"` + ada + `","roles":["x"]},"resources":[{"actions":["view"],` +
			`"resource":{"kind":"doc","id":"1"}}]}`
		call := w.Send(w.Request(decide, "POST", "acme", "/api/check/resources", "application/json",
			strings.NewReader(body))).JSON(t)["cerbosCallId"].(string)
		w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": "grouper", "actions": []string{"group.read"}})
		developer := w.Holder("acme", role.Developer)
		testkit.Eventually(t, "the record is written", func() bool {
			return w.Call(owner, "GET", "acme", "/decisions/"+call, nil).Status == 200
		})
		for _, c := range []struct {
			who, token, path string
			shown            bool
		}{
			{"an owner", owner, "/decisions/" + call, true},
			{"an owner", owner, "/decisions/" + call + "/explain", true},
			{"a developer", developer, "/decisions/" + call, false},
			{"a developer", developer, "/decisions/" + call + "/explain", false},
			{"a developer", developer, "/decisions", false},
			{"an owner", owner, "/groups/" + group + "/members", true},
			{"who may read groups", w.Holder("acme", "grouper"), "/groups/" + group + "/members", false},
		} {
			got := w.Call(c.token, "GET", "acme", c.path, nil)
			if shown := strings.Contains(got.Body, "ada@acme.example"); got.Status != 200 || shown != c.shown ||
				!c.shown && strings.Contains(got.Body, "123456") {
				t.Errorf("%s at %s: %d %s", c.who, c.path, got.Status, got.Body)
			}
		}
		// Neither do the answers of operations that write.
		for writer, actions := range map[string][]string{"writer": {"user.create", "user.update"},
			"reader": {"user.create", "user.update", "user.read"}} {
			reads := writer == "reader"
			w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": writer, "actions": actions})
			token := w.Holder("acme", writer)
			for call, body := range map[string]any{
				"PATCH /users/" + ada: map[string]any{"locale": "de"},
				"POST /users":         map[string]any{"email": writer + "@acme.example"},
			} {
				method, path, _ := strings.Cut(call, " ")
				got := w.Must(token, method, "acme", path, body)
				for _, name := range []string{"email", "given_name", "attributes", "locale"} {
					if _, shown := got[name]; shown != reads {
						t.Errorf("%s by a %s shows %s: %t", call, writer, name, shown)
					}
				}
				if got["id"] == nil || got["status"] == nil || got["updated_at"] == nil {
					t.Errorf("%s by a %s: %v", call, writer, got)
				}
			}
		}
		// A draft is a question about the attributes in a record.
		for who, token := range map[string]string{"an owner": owner, "a developer": developer} {
			report := w.Must(token, "POST", "acme", "/policies/draft/replay",
				map[string]any{"from": "2001-01-01T00:00:00Z", "to": "2101-01-01T00:00:00Z"})
			if skipped := len(report["unreplayable"].([]any)) > 0; skipped != (token == developer) {
				t.Errorf("%s replays %v", who, report)
			}
		}
	})
}

// A user-manager changes the attributes that the tenant leaves to managers, and lifts no block.
func TestWhatAUserManagerMayChange(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		manager := w.Holder("acme", role.UserManager)
		ada := w.Must(operator, "POST", "acme", "/users", map[string]any{"email": "ada@acme.example",
			"attributes": map[string]any{"clearance": "low"}})["id"].(string)
		interns := w.Must(manager, "POST", "acme", "/groups", map[string]any{"name": "Interns"})["id"].(string)
		want := func(what string, status int, method, path string, body any) {
			t.Helper()
			if got := w.Call(manager, method, "acme", path, body); got.Status != status {
				t.Errorf("%s: %d %s, want %d", what, got.Status, got.Body, status)
			}
		}
		attributes := func(kv ...any) map[string]any {
			m := map[string]any{}
			for i := 0; i < len(kv); i += 2 {
				m[kv[i].(string)] = kv[i+1]
			}
			return map[string]any{"attributes": m}
		}
		user := "/users/" + ada
		want("an undeclared attribute", 403, "PATCH", user, attributes("clearance", "high"))
		want("removing one", 403, "PATCH", user, attributes())
		want("a new user with one", 403, "POST", "/users", map[string]any{"email": "b@acme.example",
			"attributes": map[string]any{"clearance": "high"}})
		w.Must(operator, "PATCH", "acme", "/settings", map[string]any{"user_attributes": []any{
			map[string]any{"name": "floor", "editable_by": "manager"}}})
		want("a declared one", 200, "PATCH", user, attributes("clearance", "low", "floor", 2))
		want("a group's attributes", 403, "PATCH", "/groups/"+interns, attributes("level", 1))
		want("a new group's attributes", 403, "POST", "/groups", map[string]any{"name": "X",
			"attributes": map[string]any{"level": 1}})

		block := func(group string) map[string]any {
			return map[string]any{"signin": map[string]any{"block": []any{map[string]any{"groups": []string{group}}}}}
		}
		if got := w.Call(operator, "PATCH", "acme", "/settings", block("Interns")); got.Status != 400 {
			t.Errorf("a rule that names a group by its name: %d %s", got.Status, got.Body)
		}
		w.Must(operator, "PATCH", "acme", "/settings", block(interns))
		want("renaming the group", 200, "PATCH", "/groups/"+interns, map[string]any{"name": "Guests"})
		want("deleting it", 409, "DELETE", "/groups/"+interns, nil)
	})
}
