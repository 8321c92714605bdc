package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// with sends a request to the management API with a header.
func with(w *world.World, token, method, slug, path, contentType, body, name, value string) world.Answer {
	w.T.Helper()
	r := w.Request(token, method, slug, "/api/v1"+path, contentType, strings.NewReader(body))
	r.Header.Set(name, value)
	return w.Send(r)
}

// Everything that has an ETag is changed under If-Match, and read again under If-None-Match.
func TestPreconditions(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		w.Tenant("acme", nil)
		operator, token := w.Operator(), w.Holder("acme", role.Owner)
		made := func(path, member string, body any) string {
			return path + "/" + w.Must(token, "POST", "acme", path, body)[member].(string)
		}
		globex := w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "globex", "name": "Globex"})
		for _, c := range []struct{ slug, path, patch string }{
			{"acme", made("/users", "id", map[string]any{"username": "ada"}), `{"given_name":"%d"}`},
			{"acme", made("/groups", "id", map[string]any{"name": "G"}), `{"description":"%d"}`},
			{"acme", made("/applications", "id", map[string]any{"name": "A", "type": "machine"}), `{"name":"%d"}`},
			{"acme", made("/apis", "id", map[string]any{"identifier": "urn:example:api", "name": "A",
				"scopes": []any{map[string]any{"name": "read"}}}), `{"name":"%d"}`},
			{"acme", made("/roles", "name", map[string]any{"name": "r", "actions": []string{}}),
				`{"description":"%d"}`},
			{"acme", "/settings", `{"logo_url":"https://logo.example/%d"}`},
			{"acme", "/policies/settings", `{"globals":{"n":%d}}`},
			{"platform", "/tenants/" + globex["id"].(string), `{"name":"Globex %d"}`},
		} {
			bearer := token
			if c.slug == "platform" {
				bearer = operator
			}
			n := 0
			patch := func(value string) world.Answer {
				n++
				return with(w, bearer, "PATCH", c.slug, c.path, "application/json", fmt.Sprintf(c.patch, n), "If-Match",
					value)
			}
			get := func(value string) world.Answer {
				return with(w, bearer, "GET", c.slug, c.path, "", "", "If-None-Match", value)
			}
			tag := get(`"other"`).Header.Get("ETag")
			if tag == "" {
				t.Errorf("%s has no ETag", c.path)
				continue
			}
			for _, has := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				if a := get(has); a.Status != http.StatusNotModified || a.Body != "" || a.Header.Get("ETag") != tag {
					t.Errorf("GET %s with If-None-Match %s: %d %s", c.path, has, a.Status, a.Body)
				}
			}
			for _, other := range []string{`"other"`, "W/" + tag} {
				if a := patch(other); a.Status != http.StatusPreconditionFailed {
					t.Errorf("%s with If-Match %s: %d %s", c.path, other, a.Status, a.Body)
				}
			}
			if a := get(tag); a.Status != http.StatusNotModified {
				t.Errorf("%s was changed", c.path)
			}
			if a := patch(`"other", ` + tag); a.Status != 200 {
				t.Errorf("%s with a list: %d %s", c.path, a.Status, a.Body)
			}
			if a := patch(tag); a.Status != http.StatusPreconditionFailed {
				t.Errorf("%s with an old tag: %d %s", c.path, a.Status, a.Body)
			}
			if a := patch("*"); a.Status != 200 {
				t.Errorf("%s with *: %d %s", c.path, a.Status, a.Body)
			}
			// Of several changes of what was seen, one is made.
			tag = get(`"other"`).Header.Get("ETag")
			var all sync.WaitGroup
			done := make([]int, 8)
			for i := range done {
				all.Go(func() {
					done[i] = with(w, bearer, "PATCH", c.slug, c.path, "application/json", fmt.Sprintf(c.patch, 100+i),
						"If-Match", tag).Status
				})
			}
			all.Wait()
			changed := 0
			for _, status := range done {
				if status == 200 {
					changed++
				} else if status != http.StatusPreconditionFailed {
					t.Errorf("%s: a concurrent change: %d", c.path, status)
				}
			}
			if changed != 1 {
				t.Errorf("%s: %d changes of one version, want 1", c.path, changed)
			}
		}
		a := with(w, token, "POST", "acme", "/groups", "application/json", `{"name":"H"}`, "If-Match", `"x"`)
		if a.Status != http.StatusPreconditionFailed {
			t.Errorf("a precondition that nothing checks: %d %s", a.Status, a.Body)
		}

		// What is replaced or ended as a whole.
		tagOf := func(path string) string { return w.Call(token, "GET", "acme", path, nil).Header.Get("ETag") }
		expect := func(method, path, body, tag string, want int) {
			t.Helper()
			a := with(w, token, method, "acme", path, "application/json", body, "If-Match", tag)
			if a.Status != want {
				t.Errorf("%s %s with If-Match %s: %d %s, want %d", method, path, tag, a.Status, a.Body, want)
			}
		}
		old := tagOf("/decision-settings")
		for _, tag := range []string{`"other"`, old, old} {
			want := http.StatusOK
			if tag != tagOf("/decision-settings") {
				want = http.StatusPreconditionFailed
			}
			expect("PUT", "/decision-settings", `{"retention_days":7,"redaction":[]}`, tag, want)
		}

		// One who may change a thing and not read it does not guess it by its tag.
		w.Must(token, "POST", "acme", "/roles", map[string]any{"name": "renamer", "actions": []string{"group.update"}})
		renamer := w.Holder("acme", "renamer")
		group := made("/groups", "id", map[string]any{"name": "Guessed"})
		for _, value := range []string{tagOf(group), "*"} { // * changes the group, and so its tag
			want := http.StatusPreconditionFailed
			if value == "*" {
				want = http.StatusOK
			}
			a := with(w, renamer, "PATCH", "acme", group, "application/json", `{"description":"x"}`, "If-Match", value)
			if a.Status != want {
				t.Errorf("a caller who may not read, If-Match %s: %d %s, want %d", value, a.Status, a.Body, want)
			}
		}
	})
}

// A tag that a GET shows is taken by every change of the same thing. Where no change takes it,
// there is none.
func TestEveryETagIsTakenByAChange(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name string }
			Responses  map[string]struct{ Headers map[string]any }
		}
	}
	file, err := os.ReadFile(openAPIFile)
	if err == nil {
		err = json.Unmarshal(file, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	tagged := 0
	for path, operations := range doc.Paths {
		_, has := operations["get"].Responses["200"].Headers["ETag"]
		if has {
			tagged++
		}
		changes := 0
		for method, op := range operations {
			if method != "put" && method != "patch" && method != "delete" {
				continue
			}
			changes++
			takes := slices.Contains(op.Parameters, struct{ Name string }{"If-Match"})
			if _, read := operations["get"]; read && takes != has {
				t.Errorf("%s %s: takes If-Match %v, GET has an ETag %v", method, path, takes, has)
			}
		}
		if has && changes == 0 {
			t.Errorf("GET %s has an ETag that no change takes", path)
		}
	}
	if tagged < 10 {
		t.Errorf("%d things have an ETag", tagged)
	}
}

// A sign-in changes what a user shows and no version of it: a change of what was seen before is
// made. A reader learns of the sign-in.
func TestASignInBreaksNoChange(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme, token := w.Tenant("acme", nil), w.Holder("acme", role.Owner)
		u := w.User(acme, user.Profile{Username: "ada"})
		path := "/users/" + u.ID.String()
		get := func(tag string) world.Answer {
			return with(w, token, "GET", "acme", path, "", "", "If-None-Match", tag)
		}
		patch := func(name, tag string) int {
			return with(w, token, "PATCH", "acme", path, "application/json", `{"given_name":"`+name+`"}`, "If-Match",
				tag).Status
		}
		tag := get(`"other"`).Header.Get("ETag")
		w.Do(acme, func(tx *db.Tx) error {
			user.SignedIn(tx, u.ID)
			return nil
		})
		if a := get(tag); a.Status != 200 || !strings.Contains(a.Body, "last_sign_in") {
			t.Errorf("GET after the sign-in: %d %s", a.Status, a.Body)
		}
		if status := patch("Ada", tag); status != 200 {
			t.Errorf("PATCH with the tag from before the sign-in: %d", status)
		}
		if status := patch("Eve", tag); status != http.StatusPreconditionFailed {
			t.Errorf("PATCH with the tag from before another change: %d", status)
		}
	})
}

func TestPreconditionsOfTheDraft(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		w.Tenant("acme", nil)
		token := w.Holder("acme", role.Owner)
		put := func(file, name, value string) int {
			return with(w, token, "PUT", "acme", "/policies/draft/files/"+file, "application/yaml", "# "+value, name,
				value).Status
		}
		expect := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		tag := func(path string) string {
			return w.Call(token, "GET", "acme", path, nil).Header.Get("ETag")
		}
		none := tag("/policies/draft")
		expect("a draft that was begun since", put("a.yaml", "If-Match", `"revision-7"`), 412)
		expect("no draft yet", put("a.yaml", "If-None-Match", "*"), 200)
		expect("no draft any more", put("a.yaml", "If-Match", none), 412)
		expect("it exists", put("a.yaml", "If-None-Match", "*"), 412)
		if draft, file := tag("/policies/draft"), tag("/policies/draft/files/a.yaml"); draft != file {
			t.Errorf("the draft has the tag %s, its file %s", draft, file)
		}
		expect("the tag", put("a.yaml", "If-Match", tag("/policies/draft")), 200)
		expect("a list", put("a.yaml", "If-Match",
			`"018f3a52-7c1e-7b7a-9d5e-0f6a1c2b3d4e", `+tag("/policies/draft")), 200)
		expect("a weak tag", put("a.yaml", "If-Match", "W/"+tag("/policies/draft")), 412)
		old := tag("/policies/draft")
		var all sync.WaitGroup
		done := make([]int, 8)
		for i := range done {
			all.Go(func() { done[i] = put("b.yaml", "If-None-Match", "*") })
		}
		all.Wait()
		written := 0
		for _, status := range done {
			if status == 200 {
				written++
			}
		}
		expect("writers of a new file at once", written, 1)
		discard := func(tag string) int {
			return with(w, token, "DELETE", "acme", "/policies/draft", "", "", "If-Match", tag).Status
		}
		expect("discard an old one", discard(old), 412)
		expect("discard", discard(tag("/policies/draft")), 204)
	})
}

// Null empties a member in a merge patch (RFC 7396), or is refused by the member's name.
func TestNullInBodies(t *testing.T) {
	w := world.OnSQLite(t)
	w.Tenant("acme", nil)
	operator, token := w.Operator(), w.Holder("acme", role.Owner)
	globex := w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "globex", "name": "Globex"})
	ada := "/users/" + w.Must(token, "POST", "acme", "/users", map[string]any{"username": "ada", "given_name": "Ada",
		"attributes": map[string]any{"a": 1}})["id"].(string)
	group := "/groups/" + w.Must(token, "POST", "acme", "/groups",
		map[string]any{"name": "G", "description": "x"})["id"].(string)
	app := "/applications/" + w.Must(token, "POST", "acme", "/applications",
		map[string]any{"name": "A", "type": "machine"})["id"].(string)
	w.Must(token, "POST", "acme", "/roles", map[string]any{"name": "r", "description": "x", "actions": []string{}})
	for _, c := range []struct{ path, body, member, want string }{
		{ada, `{"given_name":null,"family_name":"M"}`, "given_name", `""`},
		{ada, `{"attributes":null}`, "attributes", `{}`},
		{group, `{"description":null}`, "description", `""`},
		{app, `{"scopes":null}`, "scopes", `[]`},
		{"/roles/r", `{"description":null,"limits":null}`, "description", `""`},
		{"/settings", `{"logo_url":null}`, "logo_url", `""`},
	} {
		r := w.Request(token, "PATCH", "acme", "/api/v1"+c.path, "application/merge-patch+json",
			strings.NewReader(c.body))
		a := w.Send(r)
		got, _ := json.Marshal(w.Must(token, "GET", "acme", c.path, nil)[c.member])
		if a.Status != 200 || string(got) != c.want {
			t.Errorf("PATCH %s %s: %d %s, then %s", c.path, c.body, a.Status, a.Body, got)
		}
	}
	for _, c := range []struct{ method, path, body, field string }{
		{"PATCH", ada, `{"status":null}`, "status"},
		{"PATCH", ada, `{"email_verified":null}`, "email_verified"},
		{"PATCH", group, `{"name":null}`, "name"},
		{"PATCH", app, `{"name":null}`, "name"},
		{"PATCH", app, `{"rotation":null}`, "rotation"},
		{"PATCH", app, `{"access_token_seconds":null}`, "access_token_seconds"},
		{"PATCH", "/settings", `{"password_min_length":null}`, "password_min_length"},
		{"PATCH", "/settings", `{"signin":{"block":null}}`, "signin.block"},
		{"PATCH", "/policies/settings", `{"key_sets":[null]}`, "key_sets[0]"},
		{"POST", "/users", `{"username":"eve","status":null}`, "status"},
		{"POST", "/users", `{"username":"eve","roles":[null]}`, "roles[0]"},
		{"POST", "/groups", `{"name":"H","description":null}`, "description"},
		{"POST", "/applications", `{"name":"B","type":"machine","jwks":null}`, "jwks"},
		{"POST", "/roles", `{"name":"s","actions":null}`, "actions"},
		{"POST", "/roles", `{"name":"s","actions":[],"limits":null}`, "limits"},
		{"POST", "/roles", `{"name":"s","actions":[],"limits":{"applications":["x"]}}`, "limits.applications[0]"},
		{"POST", ada + "/roles", `{"role":"auditor","until":null}`, "until"},
		{"PUT", "/decision-settings", `{"retention_days":30,"redaction":null}`, "redaction"},
		{"POST", "/policies/draft/replay", `{"records":null}`, "records"},
	} {
		a := w.Send(w.Request(token, c.method, "acme", "/api/v1"+c.path, "application/json", strings.NewReader(c.body)))
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `{"name":"`+c.field+`"`) {
			t.Errorf("%s %s %s: %d %s, want %s refused", c.method, c.path, c.body, a.Status, a.Body, c.field)
		}
	}
	if a := w.Call(operator, "PATCH", "platform", "/tenants/"+globex["id"].(string),
		json.RawMessage(`{"settings":{"mfa":null}}`)); a.Status != 400 || !strings.Contains(a.Body, `"settings.mfa"`) {
		t.Errorf("a setting of a tenant: %d %s", a.Status, a.Body)
	}
}

// The description admits null for exactly those members of a merge patch that null empties.
func TestTheDescriptionSaysWhatNullEmpties(t *testing.T) {
	w := world.OnSQLite(t)
	w.Tenant("acme", nil)
	token := w.Holder("acme", role.Owner)
	made := func(path, member string, body map[string]any) string {
		return path + "/" + w.Must(token, "POST", "acme", path, body)[member].(string)
	}
	type schema struct {
		Ref        string `json:"$ref"`
		Type       any
		Properties map[string]schema
	}
	var doc struct {
		Components struct{ Schemas map[string]schema }
	}
	file, err := os.ReadFile(openAPIFile)
	if err == nil {
		err = json.Unmarshal(file, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	nullable := 0
	for name, path := range map[string]string{
		"UpdateUserRequest":  made("/users", "id", map[string]any{"username": "ada"}),
		"UpdateGroupRequest": made("/groups", "id", map[string]any{"name": "G"}),
		"UpdateApplicationRequest": made("/applications", "id", map[string]any{"name": "A", "type": "web",
			"redirect_uris": []string{"https://a.example/cb"}}),
		"UpdateRoleRequest":           made("/roles", "name", map[string]any{"name": "r", "actions": []string{}}),
		"SettingsPatch":               "/settings",
		"UpdatePolicySettingsRequest": "/policies/settings",
		"SettingsChange":              "/policies/draft/settings",
	} {
		members := doc.Components.Schemas[name].Properties
		if len(members) == 0 {
			t.Errorf("no schema %s", name)
		}
		for member, s := range members {
			kinds, _ := s.Type.([]any)
			admits := slices.Contains(kinds, any("null"))
			if admits {
				nullable++
			}
			a := w.Send(w.Request(token, "PATCH", "acme", "/api/v1"+path, "application/json",
				strings.NewReader(`{"`+member+`":null}`)))
			refused := strings.Contains(a.Body, `"name":"`+member+`"`) && strings.Contains(a.Body, "null")
			if admits == refused {
				t.Errorf("PATCH %s, %s: null is in the schema %v, the answer is %d %s", path, member, admits, a.Status,
					a.Body)
			}
		}
	}
	if nullable < 15 {
		t.Errorf("null empties %d members", nullable)
	}
}
