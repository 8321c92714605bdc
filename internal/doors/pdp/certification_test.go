package pdp_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// What OpenID's certification of AuthZEN asks of every request.
func TestAuthZENRequestsAreJSON(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		token := w.token(w.acme, w.machine(w.acme, application.Asserted), application.ScopeDecide)
		const asked = `{"subject":{"type":"user","id":"sam"},"action":{"name":"view"},"resource":{"type":"x","id":"1"}}`
		for name, c := range map[string]struct {
			contentType, body string
			status            int
		}{
			"JSON":          {"application/json; charset=utf-8", asked, 200},
			"no type":       {"", asked, 200},
			"blanks after":  {"application/json", asked + " \n", 200},
			"a form":        {"application/x-www-form-urlencoded", asked, 400},
			"text":          {"text/plain", asked, 400},
			"text after":    {"application/json", asked + " and more", 400},
			"another value": {"application/json", asked + asked, 400},
		} {
			for _, path := range []string{"/t/acme/access/v1/evaluation", "/t/acme/access/v1/evaluations"} {
				r, _ := http.NewRequest("POST", w.Origin+path, strings.NewReader(c.body))
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("X-Request-Id", "of the caller, with blanks")
				if c.contentType != "" {
					r.Header.Set("Content-Type", c.contentType)
				}
				a := w.Send(r)
				if a.Status != c.status || a.Header.Get("X-Request-Id") != "of the caller, with blanks" {
					t.Errorf("%s, %s: %d %s", name, path, a.Status, a.Body)
				}
			}
		}
		r, _ := http.NewRequest("GET", w.Origin+"/t/acme/_cerbos/health", nil)
		if a := w.Send(r); a.Status != 200 || a.Body != `{"status":"SERVING"}` {
			t.Errorf("health: %d %s", a.Status, a.Body)
		}
	})
}

// One incomplete evaluation is denied with its error, and the others are answered.
func TestOneIncompleteEvaluationIsDenied(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		token := w.token(w.acme, w.machine(w.acme, application.Asserted), application.ScopeDecide)
		a := w.post(token, "/t/acme/access/v1/evaluations", `{"subject":{"type":"employee","id":"sam"},`+
			`"action":{"name":"view"},"evaluations":[{"resource":{"type":"leave_request"}},`+
			`{"resource":{"type":"leave_request","id":"L1","properties":{"owner":"sam"}}},{}]}`)
		var got struct {
			Evaluations []struct {
				Decision bool
				Context  struct {
					Error struct {
						Status  int
						Message string
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || a.Status != 200 || len(got.Evaluations) != 3 {
			t.Fatalf("%d %s: %v", a.Status, a.Body, err)
		}
		for i, want := range []bool{false, true, false} {
			e := got.Evaluations[i]
			if e.Decision != want || (e.Context.Error.Status == 400 && e.Context.Error.Message != "") == want {
				t.Errorf("evaluation %d: %+v", i, e)
			}
		}
	})
}
