package credential_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// desk uses the management API of the directory as one caller with the given rights.
type desk struct {
	t      *testing.T
	d      *testkit.Database
	mux    *http.ServeMux
	c      caller.Caller
	holds  role.Set
	resets []id.ID
	hasher *credential.Hasher
}

// Admit does the door's work: it returns the caller and its rights.
func (k *desk) Admit(_ *http.Request, op api.Op) (api.Request, error) {
	req := api.Request{Caller: k.c, Rights: k.holds, Filter: filter.All(), Reads: k.holds.Allows(op.ReadAction())}
	return req, req.Require(op.Action)
}

func newDesk(t *testing.T, d *testkit.Database) *desk {
	keys, err := secret.ParseKeyRing(secret.NewKey("k"))
	if err != nil {
		t.Fatal(err)
	}
	k := &desk{t: t, d: d, c: d.Tenant(t, "acme"), holds: role.Everything(), mux: http.NewServeMux()}
	k.hasher = credential.NewHasher(credential.HasherConfig{Params: credential.Params{Memory: 64, Passes: 1, Lanes: 1}})
	passwords := credential.PasswordPreparer{Hasher: k.hasher,
		MinLength: func(context.Context, id.ID) (int, error) { return 10, nil }}
	ops := user.Operations(role.ForUsers(), passwords,
		func(context.Context, *db.Tx, id.ID, user.Status) error { return nil },
		func(context.Context, *db.Tx, id.ID) error { return nil })
	ops = append(ops, role.Operations(func(context.Context, *db.Tx, id.ID) (role.Subject, error) {
		return role.Subject{}, fault.New(fault.NotFound, "application.not_found", "No.")
	}, application.TargetOf)...)
	ops = append(ops, credential.Operations(credential.Deps{
		Passwords: passwords, TOTP: credential.TOTP{Keys: keys},
		Reset: func(_ context.Context, _ *db.Tx, u id.ID) error { k.resets = append(k.resets, u); return nil },
	})...)
	m := api.Mount{Mux: k.mux, Prefix: "/api/v1", Title: "t", DB: d.DB, Gate: k,
		Answer: func(_ context.Context, f *fault.Fault) (int, http.Header) {
			return map[fault.Kind]int{fault.Invalid: 400, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409,
				fault.Limited: 429}[f.Kind], nil
		}}
	for _, op := range ops {
		if !role.Known(op.Action) {
			t.Errorf("operation %s is guarded by %s, which is not in the catalogue", op.ID, op.Action)
		}
	}
	m.Operations(ops)
	return k
}

// call sends a request that must have the status want, and returns the body.
func (k *desk) call(want int, method, path, body string) map[string]any {
	k.t.Helper()
	r := httptest.NewRequestWithContext(k.t.Context(), method, "/api/v1"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	k.mux.ServeHTTP(w, r)
	raw, _ := io.ReadAll(w.Result().Body)
	if w.Code != want {
		k.t.Errorf("%s %s %.80s: %d %s, want %d", method, path, body, w.Code, raw, want)
	}
	if strings.Contains(string(raw), "swordfish") {
		k.t.Errorf("%s %s: the answer repeats a password: %s", method, path, raw)
	}
	out := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			k.t.Errorf("%s %s: %v: %s", method, path, err, raw)
		}
	}
	return out
}

func items(l map[string]any, field string) []string {
	out := []string{}
	for _, i := range l["items"].([]any) {
		out = append(out, fmt.Sprint(i.(map[string]any)[field]))
	}
	return out
}

func TestUsersAPI(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		k := newDesk(t, d)
		ada := k.call(201, "POST", "/users",
			`{"email":"Ada@example.com","password":"swordfish-and-more","given_name":"Ada","family_name":"Lovelace",
				"roles":["admin"],"attributes":{"floor":3}}`)
		if ada["status"] != "active" || ada["email"] != "Ada@example.com" ||
			ada["attributes"].(map[string]any)["floor"] != 3.0 {
			t.Errorf("%v", ada)
		}
		path := "/users/" + ada["id"].(string)
		if got := k.call(200, "GET", path, ""); fmt.Sprint(got) != fmt.Sprint(ada) {
			t.Errorf("got %v, created %v", got, ada)
		}
		if got := items(k.call(200, "GET", path+"/roles", ""), "role"); fmt.Sprint(got) != "[admin]" {
			t.Errorf("roles %v", got)
		}
		if got := k.call(201, "POST", "/users", `{"username":"bob"}`); got["status"] != "invited" {
			t.Errorf("without a password: %v", got["status"])
		}
		carl := k.call(201, "POST", "/users",
			`{"username":"carl","password_hash":"$2b$04$CjIzhltKaaBzNmZ7O/2pxOitqheYGad0Mkn63hGgCxPg3CDGpnJKW"}`)
		k.check(carl["id"].(string), "correct horse", true)
		k.check(ada["id"].(string), "swordfish-and-more", true)

		for _, c := range []struct{ body, code string }{
			{`{"email":"ada@EXAMPLE.com","password":"swordfish-and-more"}`, "user.email_taken"},
			{`{"email":"x"}`, "user.invalid"},
			{`{}`, "user.invalid"},
			// nine characters of the required ten
			{`{"email":"c@example.com","password":"swordfish"}`, "credential.password_refused"},
			{`{"email":"swordfish-ltd@example.com","password":"swordfish-ltd"}`, "credential.password_refused"},
			{`{"email":"c@example.com","password":"swordfish-and-more","password_hash":"$2b$04"}`,
				"credential.password_refused"},
			{`{"email":"c@example.com","password_hash":"$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$` +
				strings.Repeat("A", 43) + `"}`, "credential.hash_invalid"},
			{`{"email":"c@example.com","roles":["nope"]}`, "role.invalid"},
		} {
			want := 400
			if c.code == "user.email_taken" {
				want = 409
			}
			if got := k.call(want, "POST", "/users", c.body); got["code"] != c.code {
				t.Errorf("%s: %v, want code %s", c.body, got, c.code)
			}
		}
		if got := items(k.call(200, "GET", "/users", ""), "username"); fmt.Sprint(got) != "[ bob carl]" {
			t.Errorf("a refused request left something: %v", got)
		}
		if got := items(k.call(200, "GET", "/users?search=lov&status=active", ""),
			"email"); fmt.Sprint(got) != "[Ada@example.com]" {
			t.Errorf("search: %v", got)
		}
		first := k.call(200, "GET", "/users?limit=2", "")
		if got := items(k.call(200, "GET", "/users?limit=2&cursor="+first["next_cursor"].(string), ""),
			"username"); fmt.Sprint(got) != "[carl]" {
			t.Errorf("second page: %v", got)
		}
		k.call(400, "GET", "/users?cursor=x", "")

		if got := k.call(200, "PATCH", path,
			`{"given_name":"Augusta","status":"locked"}`); got["given_name"] != "Augusta" || got["status"] != "locked" {
			t.Errorf("%v", got)
		}
		k.call(400, "PATCH", path, `{}`)
		k.call(400, "PUT", path+"/password", `{}`)
		k.call(400, "PUT", path+"/password", `{"password":"ADA@example.com"}`)
		k.call(200, "PATCH", path, `{"status":"active"}`)
		k.call(204, "DELETE", path, "")
		k.call(404, "DELETE", path, "")
	})
}

func (k *desk) check(u, password string, want bool) {
	k.t.Helper()
	i, err := id.Parse(u)
	if err != nil {
		k.t.Fatal(err)
	}
	var stored string
	if err := k.d.View(k.t.Context(), k.c, func(tx *db.Tx) error {
		var err error
		stored, err = credential.PasswordOf(k.t.Context(), tx, i)
		return err
	}); err != nil {
		k.t.Fatal(err)
	}
	if ok, _, err := k.hasher.Verify(k.t.Context(), stored, secret.String(password)); ok != want || err != nil {
		k.t.Errorf("%s: %v %v", password, ok, err)
	}
}

// A user manager must not become an owner through an owner's email address, password, status or
// roles.
func TestNobodyBecomesMore(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		k := newDesk(t, d)
		boss := k.call(201, "POST", "/users",
			`{"email":"boss@example.com","password":"swordfish-and-more","roles":["owner"]}`)["id"].(string)
		k.call(201, "POST", "/users", `{"email":"boss2@example.com","password":"swordfish-and-more","roles":["owner"]}`)
		peer := k.call(201, "POST", "/users",
			`{"email":"peer@example.com","password":"swordfish-and-more"}`)["id"].(string)
		manager := role.Builtins()[2]
		if manager.Name != role.UserManager {
			t.Fatal(manager.Name)
		}
		k.holds = role.SetOf(manager.Actions...)
		k.call(403, "PATCH", "/users/"+boss, `{"email":"eve@example.com"}`)
		k.call(403, "PATCH", "/users/"+boss, `{"status":"locked"}`)
		k.call(403, "DELETE", "/users/"+boss, "")
		k.call(403, "PUT", "/users/"+boss+"/password", `{"password":"swordfish-of-eve"}`)
		k.call(403, "DELETE", "/users/"+boss+"/totp", "")
		k.call(403, "DELETE", "/users/"+boss+"/roles/owner", "")
		k.call(403, "POST", "/users/"+peer+"/roles", `{"role":"owner"}`)
		k.call(403, "POST", "/users", `{"email":"eve@example.com","password":"swordfish-and-more","roles":["owner"]}`)
		k.call(403, "POST", "/roles", `{"name":"sly","actions":["key.rotate"]}`)
		k.check(boss, "swordfish-and-more", true)
		k.call(200, "PATCH", "/users/"+peer, `{"given_name":"P"}`)
		k.call(204, "PUT", "/users/"+peer+"/password", `{"password":"swordfish-of-peer"}`)
		k.check(peer, "swordfish-of-peer", true)
		if len(k.resets) != 1 || k.resets[0].String() != peer {
			t.Errorf("sessions ended: %v", k.resets)
		}
		// A caller who may add users but not assign roles adds them without roles.
		k.holds = role.SetOf("user.create", "user.read")
		k.call(403, "POST", "/users", `{"email":"eve@example.com","password":"swordfish-and-more","roles":["custom"]}`)
		k.call(201, "POST", "/users", `{"email":"eve@example.com","password":"swordfish-and-more"}`)
	})
}

func TestRolesAPI(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		k := newDesk(t, d)
		ada := k.call(201, "POST", "/users", `{"username":"ada"}`)["id"].(string)
		support := k.call(201, "POST", "/roles",
			`{"name":"support","description":"First line","actions":["user.read","audit.read"]}`)
		if support["builtin"] != false || fmt.Sprint(support["actions"]) != "[audit.read user.read]" {
			t.Errorf("%v", support)
		}
		k.call(409, "POST", "/roles", `{"name":"support","actions":["user.read"]}`)
		k.call(400, "POST", "/roles", `{"name":"owner","actions":["user.read"]}`)
		k.call(400, "POST", "/roles", `{"name":"x","actions":["no.such"]}`)
		if got := items(k.call(200, "GET", "/roles", ""),
			"name"); fmt.Sprint(got) != "[owner admin user-manager developer auditor support]" {
			t.Errorf("%v", got)
		}
		var paged []string
		for path := "/roles?limit=4"; ; {
			l := k.call(200, "GET", path, "")
			paged = append(paged, items(l, "name")...)
			next, more := l["next_cursor"].(string)
			if !more {
				break
			}
			path = "/roles?limit=4&cursor=" + next
		}
		if fmt.Sprint(paged) != "[owner admin user-manager developer auditor support]" {
			t.Errorf("page by page: %v", paged)
		}
		until := d.Clock.Now().Add(time.Hour).Format(time.RFC3339)
		if got := k.call(201, "POST", "/users/"+ada+"/roles",
			`{"role":"support","until":"`+until+`"}`); got["until"] != until {
			t.Errorf("%v", got)
		}
		k.call(400, "POST", "/users/"+ada+"/roles", `{"role":"support","until":"2001-01-01T00:00:00Z"}`)
		k.call(400, "POST", "/users/"+ada+"/roles", `{"role":"nope"}`)
		k.call(404, "POST", "/users/"+id.New().String()+"/roles", `{"role":"support"}`)
		k.call(404, "GET", "/users/"+id.New().String()+"/roles", "")
		k.call(404, "GET", "/applications/"+id.New().String()+"/roles", "")
		k.call(404, "POST", "/applications/"+id.New().String()+"/roles", `{"role":"support"}`)
		if got := k.call(200, "PATCH", "/roles/support",
			`{"actions":["user.read"]}`); fmt.Sprint(got["actions"]) != "[user.read]" ||
			got["description"] != "First line" {
			t.Errorf("%v", got)
		}
		k.call(409, "PATCH", "/roles/owner", `{"description":"mine"}`)
		k.call(204, "DELETE", "/users/"+ada+"/roles/support", "")
		k.call(404, "DELETE", "/users/"+ada+"/roles/support", "")
		k.call(204, "DELETE", "/roles/support", "")
		k.call(404, "GET", "/roles/support", "")
		k.call(409, "DELETE", "/roles/owner", "")
	})
}

// No operation finds the ids of another tenant.
func TestTwinTenant(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		k := newDesk(t, d)
		ada := k.call(201, "POST", "/users",
			`{"email":"ada@example.com","password":"swordfish-and-more","roles":["admin"]}`)["id"].(string)
		k.call(201, "POST", "/roles", `{"name":"support","actions":["user.read"]}`)
		acme := k.c
		k.c = d.Tenant(t, "globex")
		for _, r := range [][3]string{
			{"GET", "/users/" + ada, ""}, {"PATCH", "/users/" + ada, `{"given_name":"x"}`},
			{"DELETE", "/users/" + ada, ""},
			{"GET", "/users/" + ada + "/roles", ""}, {"POST", "/users/" + ada + "/roles", `{"role":"admin"}`},
			{"DELETE", "/users/" + ada + "/roles/admin", ""},
			{"GET", "/users/" + ada + "/credentials", ""},
			{"PUT", "/users/" + ada + "/password", `{"password":"swordfish-and-more"}`},
			{"DELETE", "/users/" + ada + "/totp", ""},
			{"GET", "/roles/support", ""}, {"PATCH", "/roles/support", `{"description":"x"}`},
			{"DELETE", "/roles/support", ""},
		} {
			k.call(404, r[0], r[1], r[2])
		}
		if got := items(k.call(200, "GET", "/users", ""), "email"); len(got) != 0 {
			t.Errorf("another tenant's users: %v", got)
		}
		k.c = acme
		if got := k.call(200, "GET", "/users/"+ada+"/credentials", ""); got["password"] != true ||
			got["totp"] != false {
			t.Errorf("%v", got)
		}
	})
}
