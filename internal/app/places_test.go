package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// The last place of a tenant goes to one of 16 creators at once, and the others leave nothing.
func TestOneOfManyTakesTheLastPlace(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		tenant := w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme",
			"limits": map[string]any{"users": 5, "applications": 3}})
		token := w.Holder("acme", role.Owner) // the first application
		for i := range 3 {
			w.Must(token, "POST", "acme", "/users", map[string]any{"username": fmt.Sprintf("u%d", i)})
		}
		w.Must(token, "POST", "acme", "/applications", map[string]any{"name": "Two", "type": "machine"})
		for _, c := range []struct {
			path, limit string
			most, free  int
			body        func(i int) map[string]any
		}{
			{"/users", "users", 5, 2,
				func(i int) map[string]any { return map[string]any{"username": fmt.Sprintf("r%d", i)} }},
			{"/applications", "applications", 3, 1,
				func(i int) map[string]any { return map[string]any{"name": fmt.Sprintf("A%d", i), "type": "machine"} }},
		} {
			var mu sync.Mutex
			var made int
			var all sync.WaitGroup
			for i := range 16 {
				all.Go(func() {
					a := w.Call(token, "POST", "acme", c.path, c.body(i))
					mu.Lock()
					defer mu.Unlock()
					if a.Status == http.StatusCreated {
						made++
						return
					}
					var p struct {
						Code  string
						Limit struct {
							Name  string
							Limit int
						}
					}
					err := json.Unmarshal([]byte(a.Body), &p)
					if err != nil || a.Status != http.StatusTooManyRequests || p.Code != "limit.reached" ||
						p.Limit.Name != c.limit || p.Limit.Limit != c.most || a.Header.Get("Retry-After") != "3600" {
						t.Errorf("%s: %d %v %s", c.path, a.Status, a.Header, a.Body)
					}
				})
			}
			all.Wait()
			list := w.Must(token, "GET", "acme", c.path, nil)
			if n := len(list["items"].([]any)); made != c.free || n != c.most {
				t.Errorf("%s: %d were created, want %d; there are %d, want %d", c.path, made, c.free, n, c.most)
			}
			for action, want := range map[string]int{"limit.near": 1, "limit.reach": 1} {
				events := w.Must(token, "GET", "acme", "/audit-events?action="+action, nil)
				got := 0
				for _, e := range events["items"].([]any) {
					if e.(map[string]any)["target"].(map[string]any)["name"] == c.limit {
						got++
					}
				}
				if c.limit == "applications" && action == "limit.near" {
					want = 0 // two of three are 67 %, and the third is the last
				}
				if got != want {
					t.Errorf("%s of %s: %d events, want %d", action, c.limit, got, want)
				}
			}
		}
		limits := w.Must(token, "GET", "acme", "/limits", nil)
		got := fmt.Sprint(itemsOf(t, limits, "name"), itemsOf(t, limits, "limit"), itemsOf(t, limits, "used"))
		if got != "[users applications monthly_active_users] [5 3 0] [5 3 0]" {
			t.Errorf("GET /limits: %s", got)
		}

		// The platform raises a limit, which counts at once.
		path := "/tenants/" + tenant["id"].(string)
		w.Must(operator, "PATCH", "platform", path, map[string]any{"limits": map[string]any{"users": 6}})
		w.Must(token, "POST", "acme", "/users", map[string]any{"username": "late"})
		set := w.Must(operator, "GET", "platform", path, nil)["limits"].(map[string]any)
		if set["users"] != 6.0 || set["applications"] != 3.0 {
			t.Errorf("after a change of one limit: %v", set)
		}
		for limit, body := range map[string]map[string]any{
			"users": {"users": -1}, "applications": {"applications": 2e9}, "mails": {"mails": 1},
		} {
			a := w.Call(operator, "PATCH", "platform", path, map[string]any{"limits": body})
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, limit) {
				t.Errorf("limits %v: %d %s", body, a.Status, a.Body)
			}
		}
		if a := w.Call(token, "PATCH", "acme", "/settings", map[string]any{"limits": body("users")}); a.Status !=
			http.StatusBadRequest {
			t.Errorf("a tenant changes its own limits: %d %s", a.Status, a.Body)
		}
	})
}

func body(limit string) map[string]any { return map[string]any{limit: 9} }
