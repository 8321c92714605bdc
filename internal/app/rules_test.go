package app_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

func itemsOf(t *testing.T, list map[string]any, field string) []string {
	t.Helper()
	var out []string
	for _, i := range list["items"].([]any) {
		out = append(out, fmt.Sprint(i.(map[string]any)[field]))
	}
	return out
}

// A role that is limited to one application sees and changes only that one. Its holder cannot widen
// the role.
func TestARoleLimitedToAnApplication(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		billing := w.Must(operator, "POST", "acme", "/applications",
			map[string]any{"name": "Billing", "type": "machine", "scopes": []string{}})["id"].(string)
		wiki := w.Must(operator, "POST", "acme", "/applications",
			map[string]any{"name": "Wiki", "type": "machine"})["id"].(string)
		actions := []string{"application.read", "application.update"}
		limits := map[string]any{"applications": []string{billing}}
		made := w.Must(operator, "POST", "acme", "/roles",
			map[string]any{"name": "billing-team", "actions": actions, "limits": limits})
		if diff := cmp.Diff(map[string]any{"applications": []any{billing}}, made["limits"]); diff != "" {
			t.Error(diff)
		}
		w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": "granter",
			"actions": []string{"role.grant", "role.read", "role.update", "role.create"}})
		team := w.Holder("acme", "billing-team")

		if diff := cmp.Diff([]string{billing}, itemsOf(t, w.Must(team, "GET", "acme", "/applications", nil),
			"id")); diff != "" {
			t.Errorf("the list: %s", diff)
		}
		for name, c := range map[string]struct {
			method, path string
			body         any
			want         int
		}{
			"its own":          {"GET", "/applications/" + billing, nil, 200},
			"its own, changed": {"PATCH", "/applications/" + billing, map[string]any{"name": "Billing 2"}, 200},
			"its own, deleted": {"DELETE", "/applications/" + billing, nil, 403},
			"another":          {"GET", "/applications/" + wiki, nil, 403},
			"another, changed": {"PATCH", "/applications/" + wiki, map[string]any{"name": "X"}, 403},
			"another's secret": {"POST", "/applications/" + wiki + "/secret", map[string]any{}, 403},
			"nobody's":         {"GET", "/applications/" + id.New().String(), nil, 403},
			"a new one":        {"POST", "/applications", map[string]any{"name": "X", "type": "machine"}, 403},
			"users":            {"GET", "/users", nil, 403},
			"upper case":       {"GET", "/applications/" + upper(billing), nil, 403},
		} {
			if got := w.Call(team, c.method, "acme", c.path, c.body); got.Status != c.want {
				t.Errorf("%s: %d %s, want %d", name, got.Status, got.Body, c.want)
			}
		}
		// Everybody else sees all of them, or none.
		if got := itemsOf(t, w.Must(w.Holder("acme", role.Developer), "GET", "acme", "/applications?limit=200", nil),
			"id"); len(got) < 4 {
			t.Errorf("a developer sees %d applications", len(got))
		}
		if got := w.Call(w.Holder("acme", role.UserManager), "GET", "acme", "/applications", nil); got.Status != 403 {
			t.Errorf("a user-manager lists applications: %d", got.Status)
		}
		// Both roles together do not give what neither holds.
		by := w.By("acme")
		client, secret := w.Machine("acme", "billing-team", application.JWT)
		if err := w.Update(context.Background(), by, func(tx *db.Tx) error {
			a, err := application.ByClientID(context.Background(), tx, client)
			if err != nil {
				return err
			}
			return role.Assign(context.Background(), tx, role.Everything(), role.OfApplication(a.ID), "granter",
				time.Time{})
		}); err != nil {
			t.Fatal(err)
		}
		sly := w.Token("acme", client, secret)
		for name, c := range map[string]struct {
			method, path string
			body         any
			want         int
		}{
			"the role without its limit": {"PATCH", "/roles/billing-team", map[string]any{"limits": map[string]any{}},
				403},
			"another limit": {"PATCH", "/roles/billing-team",
				map[string]any{"limits": map[string]any{"applications": []string{billing, wiki}}}, 403},
			"a role without a limit": {"POST", "/roles", map[string]any{"name": "wide", "actions": actions}, 403},
			"a role as narrow": {"POST", "/roles",
				map[string]any{"name": "narrow", "actions": actions, "limits": limits}, 200},
			"developer": {"POST", "/applications/" + wiki + "/roles",
				map[string]any{"role": "developer"}, 403},
			"its own role": {"POST", "/applications/" + wiki + "/roles",
				map[string]any{"role": "billing-team"}, 200},
		} {
			got := w.Call(sly, c.method, "acme", c.path, c.body)
			if (got.Status/100 == 2) != (c.want == 200) || c.want == 403 && got.Status != 403 {
				t.Errorf("giving %s: %d %s, want %d", name, got.Status, got.Body, c.want)
			}
		}
		// What cannot be.
		for name, body := range map[string]any{
			"actions about more than one": map[string]any{"name": "x",
				"actions": []string{"application.read", "user.read"}, "limits": limits},
			"creating": map[string]any{"name": "x", "actions": []string{"application.create"},
				"limits": limits},
			"no such application": map[string]any{"name": "x", "actions": actions,
				"limits": map[string]any{"applications": []string{id.New().String()}}},
			"no id": map[string]any{"name": "x", "actions": actions,
				"limits": map[string]any{"applications": []string{"billing"}}},
			"a limit that is none of ours": map[string]any{"name": "x", "actions": actions,
				"limits": map[string]any{"users": []string{billing}}},
		} {
			if got := w.Call(operator, "POST", "acme", "/roles", body); got.Status != 400 && got.Status != 422 {
				t.Errorf("a role with %s: %d %s", name, got.Status, got.Body)
			}
		}
	})
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'f' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// A refused call is in the audit log and among the decisions. A flood of them is one event.
func TestRefusedCallsAreRecorded(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		auditor := w.Holder("acme", role.Auditor)
		nobody := id.New().String()
		for range 20 {
			if got := w.Call(auditor, "DELETE", "acme", "/users/"+nobody, nil); got.Status != 403 ||
				got.JSON(t)["detail"] != "None of your roles allows user.delete." {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
		}
		w.Clock.Advance(time.Second) // events of one moment have no order
		w.Call(auditor, "POST", "acme", "/applications", map[string]any{"name": "X", "type": "machine"})
		events := w.Must(auditor, "GET", "acme", "/audit-events?action=access.refuse", nil)["items"].([]any)
		if len(events) != 2 {
			t.Fatalf("%d events, want one for each action: %v", len(events), events)
		}
		first := events[1].(map[string]any)
		detail := first["detail"].(map[string]any)
		if first["outcome"] != "refused" || detail["action"] != "user.delete" ||
			detail["operation"] != "delete-user" || first["target"].(map[string]any)["id"] != nobody ||
			first["actor"].(map[string]any)["name"] != "auditor machine" {
			t.Errorf("%v", first)
		}
		second := events[0].(map[string]any)["target"].(map[string]any)
		if second["kind"] != "application" || second["id"] != nil {
			t.Errorf("a call that has no object names one: %v", second)
		}
		w.App.Decisions.Close() // writes what waits
		d := w.Must(auditor, "GET", "acme", "/decisions/"+detail["decision"].(string), nil)
		if d["kind"] != "admin" {
			t.Errorf("the decision: %v", d)
		}
	})
}

// Allowed calls are recorded too, in the tenant and with the actor: a read, a list and a change.
func TestAllowedCallsAreRecorded(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		tenants := map[string]string{"platform": w.App.Platform.ID.String()}
		for _, slug := range []string{"acme", "globex"} {
			tenants[slug] = w.Must(operator, "POST", "platform", "/tenants",
				map[string]any{"slug": slug, "name": slug})["id"].(string)
		}
		billing := w.Must(operator, "POST", "acme", "/applications",
			map[string]any{"name": "Billing", "type": "machine", "scopes": []string{}})["id"].(string)
		w.Must(operator, "POST", "acme", "/roles", map[string]any{"name": "billing-team",
			"actions": []string{"application.read"}, "limits": map[string]any{"applications": []string{billing}}})
		ada := w.Must(operator, "POST", "acme", "/users", map[string]any{"email": "ada@acme.example"})["id"].(string)
		owner, team, neighbour := w.Holder("acme", role.Owner), w.Holder("acme", "billing-team"), w.Holder("globex",
			role.Owner)

		w.Must(owner, "GET", "acme", "/users/"+ada, nil)
		w.Must(owner, "GET", "acme", "/audit-events", nil)
		w.Must(owner, "GET", "acme", "/applications", nil)
		w.Must(team, "GET", "acme", "/applications", nil)
		w.Must(owner, "PATCH", "acme", "/users/"+ada, map[string]any{"given_name": "Ada"})
		w.Must(operator, "GET", "acme", "/users/"+ada, nil)
		w.App.Decisions.Close() // writes what waits; what comes now is not in the lists

		list := func(token, slug, query string) []map[string]any {
			t.Helper()
			var out []map[string]any
			for _, i := range w.Must(token, "GET", slug, "/decisions?kind=admin&limit=200&"+query,
				nil)["items"].([]any) {
				out = append(out, i.(map[string]any))
			}
			return out
		}
		ids := map[string]string{} // of the machines in acme, by name
		for _, a := range w.Must(owner, "GET", "acme", "/applications?limit=200", nil)["items"].([]any) {
			ids[a.(map[string]any)["name"].(string)] = a.(map[string]any)["id"].(string)
		}
		for name, c := range map[string]struct {
			actor, query string
			home         any    // the actor's tenant, if it is another one
			resource     string // of a check
			filter       string // of a plan
		}{
			"a read": {"owner machine", "resource_kind=gatehouse:user&action=read&resource_id=" + ada,
				nil, ada, ""},
			"a list": {"owner machine", "resource_kind=gatehouse:audit&action=read", nil,
				tenants["acme"], ""},
			"a filtered list": {"owner machine", "resource_kind=gatehouse:application&action=read", nil, "",
				"KIND_ALWAYS_ALLOWED"},
			"a part of it": {"billing-team machine", "resource_kind=gatehouse:application&action=read", nil,
				"", "KIND_CONDITIONAL"},
			"a change": {"owner machine", "resource_kind=gatehouse:user&action=update", nil, ada, ""},
			"an operator's read": {"Operator", "resource_kind=gatehouse:user&action=read", tenants["platform"],
				ada, ""},
			"an operator's changes": {"Operator", "resource_kind=gatehouse:user&action=create", tenants["platform"],
				tenants["acme"], ""},
		} {
			found := list(owner, "acme", c.query)
			if id, ok := ids[c.actor]; ok { // by its id there are no others
				found = list(owner, "acme", c.query+"&principal="+id)
			} else {
				found = slices.DeleteFunc(found, func(d map[string]any) bool {
					return d["actor"].(map[string]any)["name"] != c.actor
				})
			}
			if len(found) != 1 {
				t.Errorf("%s: %d records: %v", name, len(found), found)
				continue
			}
			d := found[0]
			actor := d["actor"].(map[string]any)
			if d["kind"] != "admin" || actor["kind"] != "application" || actor["name"] != c.actor ||
				actor["tenant_id"] != c.home || actor["id"] != d["principal"].(map[string]any)["id"] ||
				d["request_id"] == nil {
				t.Errorf("%s: %v", name, d)
			}
			explained := w.Call(owner, "GET", "acme", "/decisions/"+d["id"].(string)+"/explain", nil)
			if c.filter != "" {
				if d["plan"].(map[string]any)["filter"] != c.filter || explained.Status != 409 {
					t.Errorf("%s: %v, explained: %d %s", name, d, explained.Status, explained.Body)
				}
				continue
			}
			result := d["results"].([]any)[0].(map[string]any)
			action := result["actions"].([]any)[0].(map[string]any)
			if result["resource"].(map[string]any)["id"] != c.resource || action["effect"] != "EFFECT_ALLOW" ||
				!strings.HasPrefix(fmt.Sprint(action["policy"]), "resource.gatehouse") {
				t.Errorf("%s: %v", name, result)
			}
			if explained.Status != 200 || explained.JSON(t)["same"] != true ||
				len(explained.JSON(t)["steps"].([]any)) == 0 {
				t.Errorf("%s, explained: %d %s", name, explained.Status, explained.Body)
			}
		}
		// The platform and a neighbour have their own records, and none of these.
		if made := list(operator, "platform", "resource_kind=gatehouse:tenant&action=create"); len(made) != 2 {
			t.Errorf("%d records of two tenants made", len(made))
		}
		for slug, token := range map[string]string{"platform": operator, "globex": neighbour} {
			if got := list(token, slug, "resource_kind=gatehouse:user"); len(got) != 0 {
				t.Errorf("%s has records of what was done in acme: %v", slug, got)
			}
		}
	})
}

// An administrator sets the rules of signing in without writing a policy. The command line removes
// the rules that lock everyone out, and writes an audit event.
func TestSignInRules(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		rules := map[string]any{
			"known_networks": []string{"192.0.2.0/24"}, "second_factor": []string{"admins", "unknown_networks"},
			"block":    []any{map[string]any{"roles": []string{"contractor"}, "network": "unknown"}},
			"sessions": []any{map[string]any{"network": "unknown", "max_seconds": 3600}},
		}
		set := w.Must(operator, "PATCH", "acme", "/settings",
			map[string]any{"signin": rules})["signin"].(map[string]any)
		if len(set["block"].([]any)) != 1 || len(set["sessions"].([]any)) != 1 {
			t.Errorf("%v", set)
		}
		for name, bad := range map[string]any{
			"a rule that blocks everybody": map[string]any{"block": []any{map[string]any{}}},
			"no network":                   map[string]any{"known_networks": []string{"home"}},
			"an unknown preset":            map[string]any{"second_factor": []string{"everybody"}},
			"an unknown field":             map[string]any{"block": []any{map[string]any{"users": []string{"x"}}}},
			"a session of no time":         map[string]any{"sessions": []any{map[string]any{"max_seconds": 0}}},
		} {
			if got := w.Call(operator, "PATCH", "acme", "/settings",
				map[string]any{"signin": bad}); got.Status != 400 && got.Status != 422 {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
		}
		if got := w.Must(operator, "PATCH", "acme", "/settings",
			map[string]any{"mfa": "required"}); got["mfa"] != "required" ||
			len(got["signin"].(map[string]any)["block"].([]any)) != 1 {
			t.Errorf("another setting changed the rules: %v", got)
		}
		by := w.By("acme")
		if err := w.App.ResetOwner(context.Background(), by, "olga@acme.example", "a stapler that is red"); err != nil {
			t.Fatal(err)
		}
		set = w.Must(operator, "GET", "acme", "/settings", nil)["signin"].(map[string]any)
		if set["block"] != nil || set["second_factor"] != nil || len(set["sessions"].([]any)) != 1 {
			t.Errorf("after the reset: %v", set)
		}
		if events := w.Must(operator, "GET", "acme", "/audit-events?action=owner.reset",
			nil)["items"].([]any); len(events) != 1 ||
			events[0].(map[string]any)["actor"].(map[string]any)["kind"] != "system" {
			t.Errorf("%v", events)
		}
	})
}
