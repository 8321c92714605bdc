package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// TestReplicas publishes on one replica and asks another until it answers by the new policies. It
// deactivates a user on one replica, and the very next answer of the other denies.
func TestReplicas(t *testing.T) {
	t.Parallel()
	one := process.Start(t, process.Config{Database: testkit.EmptyPostgres(t), Plain: true})
	other := one.Replica(t)
	o := one.Operator()
	o.MustCall(t, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"}, nil)
	var ada struct {
		ID string `json:"id"`
	}
	o.MustCall(t, "POST", "acme", "/users", map[string]any{"email": "ada@acme.example",
		"password": "a password of usual length"}, &ada)
	_, token, err := o.Decider("acme", "directory")
	if err != nil {
		t.Fatal(err)
	}
	answer := func() string {
		t.Helper()
		status, body, err := ask(other.URL, "acme", token,
			`{"principal": {"id": "`+ada.ID+`"},
				"resources": [{"actions": ["view"], "resource": {"kind": "document", "id": "d"}}]}`)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, body, err)
		}
		if strings.Contains(body, "EFFECT_ALLOW") {
			return "allow"
		}
		return "deny"
	}
	for _, step := range []struct{ condition, want string }{{"true", "allow"}, {"false", "deny"}, {"1 == 1", "allow"}} {
		if err := o.Publish("acme",
			map[string][]byte{"document.yaml": []byte(hostilePolicy(step.condition))}); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the other replica answers "+step.want+" after "+step.condition+" was published",
			func() bool { return answer() == step.want })
	}
	for range 3 {
		o.MustCall(t, "PATCH", "acme", "/users/"+ada.ID, map[string]any{"status": "deactivated"}, nil)
		if got := answer(); got != "deny" {
			t.Errorf("a deactivated user: %s", got)
		}
		o.MustCall(t, "PATCH", "acme", "/users/"+ada.ID, map[string]any{"status": "active"}, nil)
		if got := answer(); got != "allow" {
			t.Errorf("an active user: %s", got)
		}
	}
}
