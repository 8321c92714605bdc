package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

func words(v any) []string {
	var out []string
	for _, s := range v.([]any) {
		out = append(out, fmt.Sprint(s))
	}
	return out
}

// GET /me says what the operations would say. What exists in the platform only is left out
// elsewhere.
func TestMe(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := w.Tenant("acme", nil)
		operator := w.Operator()
		for _, r := range append(role.Builtins(), role.Role{}) {
			want := slices.DeleteFunc(slices.Clone(r.Actions),
				func(a string) bool { return strings.HasPrefix(a, "tenant.") })
			slices.Sort(want)
			m := w.Must(w.Holder("acme", r.Name), "GET", "acme", "/me", nil)
			if got := words(m["actions"]); !slices.Equal(got, want) {
				t.Errorf("%q may %v, want %v", r.Name, got, want)
			}
			roles := m["roles"].([]any)
			if r.Name != "" && (len(roles) != 1 || roles[0].(map[string]any)["role"] != r.Name) ||
				m["kind"] != "application" || m["session"] != nil || m["user"] != nil {
				t.Errorf("%q: %v", r.Name, m)
			}
		}

		m := w.Must(operator, "GET", "acme", "/me", nil)
		if m["home"].(map[string]any)["slug"] != "platform" || m["tenant"].(map[string]any)["slug"] != "acme" ||
			slices.Contains(words(m["actions"]), "tenant.create") ||
			!slices.Contains(words(m["actions"]), "user.read") {
			t.Errorf("an operator at acme: %v", m)
		}
		m = w.Must(operator, "GET", "platform", "/me", nil)
		if !slices.Contains(words(m["actions"]), "tenant.create") {
			t.Errorf("an operator at home: %v", m)
		}

		// A role with a limit is not offered as an action without one.
		made := w.Client(acme, application.New{Name: "Reports", Type: application.Machine,
			Scopes: []string{application.ScopeManage}})
		w.Must(w.Holder("acme", role.Owner), "POST", "acme", "/roles", map[string]any{"name": "caretaker",
			"actions": []string{"application.update"},
			"limits":  map[string]any{"applications": []string{made.ID.String()}}})
		until := w.Clock.Now().Add(time.Hour).UTC().Truncate(time.Second)
		w.Do(acme, func(tx *db.Tx) error {
			return role.Assign(t.Context(), tx, role.Everything(), role.OfApplication(made.ID), "caretaker", until)
		})
		token := w.Token("acme", made.ClientID, made.Secret.Reveal())
		m = w.Must(token, "GET", "acme", "/me", nil)
		limited, want := fmt.Sprint(m["limited_actions"]), "[map[action:application.update ids:["+made.ID.String()+"]]]"
		if len(m["actions"].([]any)) != 0 || limited != want {
			t.Errorf("a role with a limit: %v", m)
		}
		if got := m["roles"].([]any)[0].(map[string]any)["until"]; got != until.Format(time.RFC3339) {
			t.Errorf("it ends at %v, want %v", got, until)
		}
		w.Clock.Advance(61 * time.Minute)
		token = w.Token("acme", made.ClientID, made.Secret.Reveal())
		if m = w.Must(token, "GET", "acme", "/me", nil); len(m["roles"].([]any)) != 0 {
			t.Errorf("a role that has ended: %v", m["roles"])
		}
		if a := w.Call("", "GET", "acme", "/me", nil); a.Status != 401 {
			t.Errorf("a stranger: %d %s", a.Status, a.Body)
		}
	})
}
