package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// Malformed requests of an owner to every operation get a 4xx with a code and a sentence, never a
// 500, and change nothing.
func TestMalformedRequestsAreRefusedEverywhere(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		acme := newTwin(w, operator, "acme")
		client, secret := w.Machine("acme", role.Owner, application.JWT)
		token := w.Token("acme", client, secret)
		before := rows(w, "acme")
		doc := w.Send(must(http.NewRequest("GET", w.Origin+"/t/acme"+admin.Prefix+"/openapi.json", nil))).Body
		tried := 0
		for _, op := range operationsOf(t, doc) {
			slug, bearer := "acme", token
			path := op.path
			switch {
			case op.platform:
				slug, bearer = "platform", operator
				path = strings.ReplaceAll(path, "{id}", id.New().String())
			case strings.Contains(path, "{"):
				path = acme.concrete(t, path)
			}
			base := w.Origin + "/t/" + slug + admin.Prefix
			check := func(what, target, contentType, body string) {
				t.Helper()
				var in io.Reader
				if body != "" {
					in = strings.NewReader(body)
				}
				r, err := http.NewRequest(op.method, target, in)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				r.Header.Set("Authorization", "Bearer "+bearer)
				if contentType != "" {
					r.Header.Set("Content-Type", contentType)
				}
				got := w.Send(r)
				tried++
				if got.Status < 400 || got.Status > 499 {
					t.Errorf("%s %s, %s: %d %.300s, want 4xx", op.method, op.path, what, got.Status, got.Body)
					return
				}
				p := got.JSON(t)
				detail, _ := p["detail"].(string)
				if code, _ := p["code"].(string); !stableCode.MatchString(code) || !strings.HasSuffix(detail, ".") {
					t.Errorf("%s %s, %s: no code and sentence in %s", op.method, op.path, what, got.Body)
				}
				if strings.Contains(got.Body, ".go:") || strings.Contains(got.Body, "SQL") ||
					strings.Contains(got.Body, "pq:") {
					t.Errorf("%s %s, %s: insides are shown: %s", op.method, op.path, what, got.Body)
				}
			}
			check("an unknown parameter", base+path+"?surprise=1", "", "")
			check("bad percent-encoding", base+path+"?limit=%zz", "", "")
			check("a NUL in the query", base+path+"?cursor=%00", "", "")
			check("bad UTF-8 in the query", base+path+"?cursor=%ff", "", "")
			if strings.Contains(op.path, "{id}") {
				for _, bad := range []string{"x", "00000000-0000-0000-0000-000000000000", "%00", "%ff", "..%2f..",
					strings.Repeat("a", 3000), "'%20OR%201=1--"} {
					check("the id "+bad[:min(len(bad), 20)],
						base+strings.ReplaceAll(strings.ReplaceAll(op.path, "{id}", bad), "{role}",
							"auditor"), "application/json", "{}")
				}
			}
			// A file of policies may be any text.
			if (op.method == "POST" || op.method == "PATCH" || op.method == "PUT") && op.id != "put-policy-file" {
				for what, body := range map[string]string{
					"no JSON": "{", "a list": "[]", "a text": `"x"`, "null": "null", "a number": "1",
					"deep": strings.Repeat("[", 20_000), "two values": "{}{}",
					"an unknown field": `{"surprise":1}`, "a NUL": `{"surprise":"\u0000"}`,
					"bad UTF-8":   "{\"surprise\":\"\xff\"}",
					"a huge body": `{"surprise":"` + strings.Repeat("x", 2<<20) + `"}`,
				} {
					check(what, base+path, "application/json", body)
				}
				check("a form", base+path, "application/x-www-form-urlencoded", "name=x")
				check("text", base+path, "text/plain", "{}")
				check("a broken content type", base+path, ";;;", `{"surprise":1}`)
			}
			if op.method == "GET" && !strings.Contains(op.path, "{") && strings.Contains(string(doc), "cursor") {
				for _, q := range []string{"limit=0", "limit=201", "limit=-1", "limit=1e9", "limit=x",
					"limit=1&limit=2", "cursor=x", "cursor=" + strings.Repeat("A", 300)} {
					check(q, base+path+"?"+q, "", "")
				}
			}
		}
		if tried < 200 {
			t.Errorf("only %d requests were tried", tried)
		}
		for table, n := range rows(w, "acme") {
			// The recorders write those two later. A malformed request of an owner is a decision
			// that was made.
			later := table == "access_records" || table == "decisions"
			if !later && n != before[table] {
				t.Errorf("%s has %d rows after refused requests, had %d", table, n, before[table])
			}
		}
	})
}

var stableCode = regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)

// Well-formed values without sense get a 4xx that names the field.
func TestBadFieldsAreNamed(t *testing.T) {
	w := world.OnSQLite(t)
	operator := w.Operator()
	w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		tenant, path string
		body         map[string]any
		field        string
	}{
		{"platform", "/tenants", map[string]any{"slug": "Not A Slug", "name": "x"}, "slug"},
		{"platform", "/tenants", map[string]any{"slug": "x", "name": long}, "name"},
		{"platform", "/tenants", map[string]any{"slug": "x", "name": "a\nb"}, "name"},
		{"platform", "/tenants", map[string]any{"slug": "x", "name": "x",
			"settings": map[string]any{"accent": "red"}}, "settings.accent"},
		{"platform", "/tenants", map[string]any{"slug": "x", "name": "x",
			"settings": map[string]any{"logo_url": "javascript:alert(1)"}}, "settings.logo_url"},
		{"acme", "/users", map[string]any{"email": "nobody"}, "email"},
		{"acme", "/users", map[string]any{"email": long + "@example.com"}, "email"},
		{"acme", "/users", map[string]any{"email": "a@example.com", "given_name": long}, "given_name"},
		{"acme", "/users", map[string]any{"email": "a@example.com", "password": "short"}, "password"},
		{"acme", "/users", map[string]any{"email": "a@example.com", "roles": []string{"no-such-role"}}, "roles"},
		{"acme", "/roles", map[string]any{"name": "Not A Name", "actions": []string{"user.read"}}, "name"},
		{"acme", "/roles", map[string]any{"name": "x", "actions": []string{"fly"}}, "actions"},
		{"acme", "/applications", map[string]any{"name": "x", "type": "toaster"}, "type"},
		{"acme", "/applications", map[string]any{"name": "x", "type": "web"}, "redirect_uris"},
		{"acme", "/applications", map[string]any{"name": "x", "type": "web", "redirect_uris": []string{"https://a.example/#x"}}, "redirect_uris[0]"},
		{"acme", "/applications", map[string]any{"name": "x", "type": "web", "redirect_uris": []string{"https://a.example/", "http://a.example/"}}, "redirect_uris[1]"},
		{"acme", "/applications", map[string]any{"name": "x", "type": "spa",
			"redirect_uris": []string{"com.example:/x"}}, "redirect_uris[0]"},
		{"acme", "/applications", map[string]any{"name": "x", "type": "machine", "jwks": map[string]any{"keys": 1},
			"auth_method": "private_key_jwt"}, "jwks"},
	} {
		got := w.Call(operator, "POST", c.tenant, c.path, c.body)
		if got.Status != 400 {
			t.Errorf("POST %s with a bad %s: %d %.300s, want 400", c.path, c.field, got.Status, got.Body)
			continue
		}
		named := false
		list, _ := got.JSON(t)["errors"].([]any)
		for _, e := range list {
			name, _ := e.(map[string]any)["name"].(string)
			named = named || name == c.field || strings.HasPrefix(name, c.field+"[")
		}
		if !named {
			t.Errorf("POST %s: %s is not named in %s", c.path, c.field, got.Body)
		}
	}
}

// The schema is checked against the last of two members of one name, and null passes it.
func TestARepeatedFieldIsRefused(t *testing.T) {
	w := world.OnSQLite(t)
	operator := w.Operator()
	acme := w.Must(operator, "POST", "platform", "/tenants",
		map[string]any{"slug": "acme", "name": "Acme"})["id"].(string)
	ada := w.Must(operator, "POST", "acme", "/users", map[string]any{"email": "ada@acme.example"})["id"].(string)
	for _, c := range []struct{ method, tenant, path, body, field string }{
		{"POST", "acme", "/users", `{"email":"b@acme.example","status":"locked","status":null}`, "status"},
		{"PATCH", "acme", "/users/" + ada, `{"given_name":"Ada","given_name":null}`, "given_name"},
		{"PATCH", "acme", "/settings", `{"password_min_length":1,"password_min_length":null}`, "password_min_length"},
		{"PATCH", "platform", "/tenants/" + acme, `{"settings":{"mfa":"never","mfa":null}}`, "settings.mfa"},
		{"PATCH", "acme", "/settings", `{"signin":{"block":[{"roles":["owner"],"roles":null}]}}`,
			"signin.block[0].roles"},
		{"POST", "acme", "/users", `{"email":"b@acme.example","attributes":{"a":1,"a":2}}`, "attributes.a"},
		{"POST", "acme", "/groups", `{"name":"Finance","name":null}`, "name"},
		{"POST", "acme", "/roles", `{"name":"all","actions":["user.delete"],"actions":[]}`, "actions"},
		{"POST", "acme", "/users/" + ada + "/roles", `{"role":"auditor","role":"owner"}`, "role"},
		{"POST", "acme", "/applications", `{"name":"x","type":"machine","first_party":true,"first_party":false}`,
			"first_party"},
	} {
		got := w.Call(operator, c.method, c.tenant, c.path, json.RawMessage(c.body))
		want := `{"name":"` + c.field + `","reason":"This field may be given only once."}`
		if got.Status != 400 || !strings.Contains(got.Body, want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, got.Status, got.Body)
		}
	}
}
