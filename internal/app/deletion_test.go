package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// A deletion says what went with it, and those that lost something find it in their own history.
func TestADeletionSaysWhatWentWithIt(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		w.Must(w.Operator(), "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		owner := w.Holder("acme", role.Owner)
		made := func(path string, body map[string]any) string {
			made, _ := w.Must(owner, "POST", "acme", path, body)["id"].(string)
			return made
		}
		ada := made("/users", map[string]any{"email": "ada@acme.example", "given_name": "Ada"})
		finance := made("/groups", map[string]any{"name": "Finance"})
		board := made("/groups", map[string]any{"name": "Board"})
		app := made("/applications", map[string]any{"name": "Reports", "type": "machine"})
		made("/roles", map[string]any{"name": "payer", "actions": []string{"user.read"}})
		for _, g := range []string{finance, board} {
			made("/groups/"+g+"/members", map[string]any{"user_id": ada})
		}
		for _, of := range []string{"/users/" + ada, "/groups/" + finance, "/applications/" + app} {
			made(of+"/roles", map[string]any{"role": "payer"})
			made(of+"/roles", map[string]any{"role": "auditor"})
		}
		type event struct {
			Action string
			Target struct{ Kind, ID, Name string }
			Detail struct {
				Group, Role, Reason string
				Grants, Members     int
				Changed             map[string]struct{ From any }
			}
		}
		// last returns the newest event of an action about a target.
		last := func(action, target string) event {
			t.Helper()
			path := "/audit-events?action=" + action + "&target=" + target
			text, err := json.Marshal(w.Must(owner, "GET", "acme", path, nil))
			var l struct{ Items []event }
			if err != nil || json.Unmarshal(text, &l) != nil || len(l.Items) == 0 {
				t.Fatalf("no %s of %s: %s %v", action, target, text, err)
			}
			return l.Items[0]
		}
		remove := func(path string) {
			t.Helper()
			w.Clock.Advance(time.Second) // events of one moment have no order
			w.Must(owner, "DELETE", "acme", path, nil)
		}
		want := func(e event, name, field string, from any) {
			t.Helper()
			if e.Target.Name != name || fmt.Sprint(e.Detail.Changed[field].From) != fmt.Sprint(from) {
				t.Errorf("%s: %+v, want %s with %s from %v", e.Action, e, name, field, from)
			}
		}

		remove("/groups/" + finance)
		e := last("group.delete", finance)
		want(e, "Finance", "members", []string{"ada@acme.example"})
		want(e, "Finance", "roles", []string{"auditor", "payer"})
		want(e, "Finance", "name", "Finance")
		if e.Detail.Members != 1 {
			t.Errorf("%+v", e)
		}
		e = last("user.leave_group", ada)
		want(e, "ada@acme.example", "group", "Finance")
		if e.Detail.Group != finance || e.Detail.Reason != "group.delete" {
			t.Errorf("the member's own history: %+v", e)
		}

		remove("/roles/payer")
		e = last("role.delete", "payer")
		want(e, "payer", "actions", []string{"user.read"})
		if from := fmt.Sprint(e.Detail.Changed["assigned"].From); e.Detail.Grants != 2 ||
			!strings.Contains(from, "user:ada@acme.example") || !strings.Contains(from, "application:"+app) {
			t.Errorf("%+v", e)
		}
		for holder, name := range map[string]string{ada: "ada@acme.example", app: "Reports"} {
			e = last("role.revoke", holder)
			want(e, name, "role", "payer")
			if e.Detail.Role != "payer" || e.Detail.Reason != "role.delete" {
				t.Errorf("the holder's own history: %+v", e)
			}
		}

		remove("/applications/" + app)
		want(last("application.delete", app), "Reports", "roles", []string{"auditor"})

		remove("/users/" + ada)
		e = last("user.delete", ada)
		want(e, "ada@acme.example", "groups", []string{"Board"})
		want(e, "ada@acme.example", "roles", []string{"auditor"})
	})
}

// A group of many members is a digest with their count. Each of them still finds the deletion.
func TestADeletedGroupOfMany(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		w.Must(w.Operator(), "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		owner := w.Holder("acme", role.Owner)
		all := w.Must(owner, "POST", "acme", "/groups", map[string]any{"name": "All"})["id"].(string)
		const members = 60
		for i := range members {
			u := w.Must(owner, "POST", "acme", "/users", map[string]any{"email": fmt.Sprintf("u%d@acme.example", i)})
			w.Must(owner, "POST", "acme", "/groups/"+all+"/members", map[string]any{"user_id": u["id"]})
		}
		w.Must(owner, "DELETE", "acme", "/groups/"+all, nil)
		told := w.Must(owner, "GET", "acme", "/audit-events?limit=200&action=user.leave_group", nil)["items"].([]any)
		deleted := w.Must(owner, "GET", "acme", "/audit-events?action=group.delete", nil)["items"].([]any)
		detail, err := json.Marshal(deleted[0])
		if len(told) != members || err != nil || !strings.Contains(string(detail), `"digest":"sha256:`) ||
			!strings.Contains(string(detail), `"count":60`) || !strings.Contains(string(detail), `"members":60`) {
			t.Errorf("%d members were told: %s %v", len(told), detail, err)
		}
	})
}
