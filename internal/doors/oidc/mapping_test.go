package oidc_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

const hasura = "https://hasura.io/jwt/claims"

// A mapping is told where it says, of the person who signed in, to its application alone.
func TestMappings(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner := w.Holder("acme", role.Owner)
		c, other := w.client(application.New{}), w.client(application.New{Name: "Other"})
		path := "/applications/" + c.ID.String()
		got := w.Must(owner, "PATCH", "acme", path, map[string]any{"mappings": []any{
			map[string]any{"claim": "role", "expression": `"Finance" in groups ? "Editor" : "Viewer"`},
			map[string]any{"claim": hasura, "in": []string{"access_token"},
				"expression": `{"x-hasura-user-id": user.id, "x-hasura-allowed-roles": groups}`},
			map[string]any{"claim": "broken", "expression": `groups[7]`},
		}})["mappings"].([]any)
		if first := got[0].(map[string]any)["in"].([]any); len(first) != 2 {
			t.Errorf("the default places: %v", first)
		}
		w.Do(w.c, func(tx *db.Tx) error {
			g, err := group.Create(ctx, tx, group.Profile{Name: "Finance"})
			if err != nil {
				return err
			}
			return group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), g.ID, w.user.ID)
		})
		globex := w.Tenant("globex", nil) // has a group of the same name, and a person with the same address
		stranger := w.User(globex, user.Profile{Email: "ada@example.com", EmailVerified: true})
		w.Do(globex, func(tx *db.Tx) error {
			g, err := group.Create(ctx, tx, group.Profile{Name: "Globex only"})
			if err != nil {
				return err
			}
			return group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), g.ID, stranger.ID)
		})

		tokens := c.signedIn(t, w.user)
		id, _ := w.claims(t, tokens.ID, "JWT")
		at, _ := w.claims(t, tokens.Access, "at+jwt")
		info := w.userinfo(tokens.Access).JSON(t)
		if id["role"] != "Editor" || info["role"] != "Editor" || at["role"] != nil || id[hasura] != nil ||
			info[hasura] != nil {
			t.Errorf("%v\n%v\n%v", id, info, at)
		}
		if m, _ := at[hasura].(map[string]any); m["x-hasura-user-id"] != w.user.ID.String() ||
			len(m["x-hasura-allowed-roles"].([]any)) != 1 {
			t.Errorf("access token: %v", at)
		}
		if _, told := id["broken"]; told {
			t.Error("a mapping that failed is told")
		}
		if events := w.events(audit.Filter{Action: "mapping.fail"}); len(events) != 1 ||
			!strings.Contains(string(events[0].Detail), `"claims":["broken"]`) {
			t.Errorf("%d events of mappings that failed: %v", len(events), events)
		}
		tokens = other.signedIn(t, w.user)
		id, _ = w.claims(t, tokens.ID, "JWT")
		if at, _ := w.claims(t, tokens.Access, "at+jwt"); id["role"] != nil || at[hasura] != nil {
			t.Errorf("another application: %v %v", id, at)
		}

		preview := w.Must(owner, "POST", "acme", path+"/mappings/preview", map[string]any{"user_id": w.user.ID.String(),
			"mappings": []any{map[string]any{"claim": "n", "expression": "size(groups)"},
				map[string]any{"claim": "m", "expression": "groups[7]"}}})
		tried := preview["mappings"].([]any)
		if p := preview["id_token"].(map[string]any); p["n"] != 1.0 || p["role"] != nil ||
			p["email"] != "ada@example.com" || preview["sub"] != w.user.ID.String() ||
			tried[0].(map[string]any)["cost"] == 0.0 ||
			!strings.Contains(tried[1].(map[string]any)["error"].(string), "out of bounds") {
			t.Errorf("preview: %v", preview)
		}
		if got := w.Call(owner, "POST", "acme", path+"/mappings/preview",
			map[string]any{"user_id": stranger.ID.String()}); got.Status != http.StatusNotFound {
			t.Errorf("preview of another tenant's user: %d %s", got.Status, got.Body)
		}
	})
}

// Who may not read the directory may not have an application be told of it. What is wrong with a
// mapping is named.
func TestWhoMaySaveMappings(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.client(application.New{Type: application.Web})
		path := "/applications/" + c.ID.String()
		mapping := func(claim, expression string) map[string]any {
			return map[string]any{"mappings": []any{map[string]any{"claim": claim, "expression": expression}}}
		}
		developer := w.Holder("acme", role.Developer)
		got := w.Call(developer, "PATCH", "acme", path, mapping("x", "user.name"))
		if got.Status != http.StatusForbidden {
			t.Errorf("a developer: %d %s", got.Status, got.Body)
		}
		preview := map[string]any{"user_id": w.user.ID.String()}
		got = w.Call(developer, "POST", "acme", path+"/mappings/preview", preview)
		if got.Status != http.StatusForbidden {
			t.Errorf("a developer's preview: %d %s", got.Status, got.Body)
		}
		owner := w.Holder("acme", role.Owner)
		for field, body := range map[string]map[string]any{
			"mappings[0].claim":      mapping("iss", "1"),
			"mappings[0].expression": mapping("x", "user.password"),
		} {
			got := w.Call(owner, "PATCH", "acme", path, body)
			if got.Status != http.StatusUnprocessableEntity && got.Status != http.StatusBadRequest ||
				!strings.Contains(got.Body, field) {
				t.Errorf("%s: %d %s", field, got.Status, got.Body)
			}
		}
	})
}
