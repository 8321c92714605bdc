package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// Every door that admits tokens records why it refused one. The request id of the answer finds the
// cause in the log and in an audit event.
func TestARefusedTokenLeavesItsCause(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"})
		w.Must(operator, "POST", "acme", "/apis", map[string]any{"identifier": "https://reports.example",
			"name": "Reports", "scopes": []any{map[string]any{"name": "read", "description": "Read reports"}}})
		made := w.Client(w.By("acme"), application.New{Name: "Shop", Type: application.Machine,
			Scopes: []string{"read", application.ScopeManage}})
		token := func(form url.Values) string {
			form.Set("grant_type", "client_credentials")
			a := w.Form("acme", "/oauth2/token", made.ClientID, made.Secret.Reveal(), form)
			if a.Status != http.StatusOK {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			return a.JSON(t)["access_token"].(string)
		}
		another, unscoped := token(url.Values{"resource": {"https://reports.example"}}), w.Token("acme", made.ClientID,
			made.Secret.Reveal())
		const (
			manage   = "GET /api/v1/users"
			check    = "POST /api/check/resources"
			evaluate = "POST /access/v1/evaluation"
			userinfo = "GET /oauth2/userinfo"
		)
		for _, tt := range []struct {
			at, token string
			status    int
			answer    string // is in the answer
			cause     string // is in the log line and in the audit event
			action    string
		}{
			{manage, another, 401, "for another API", "https://reports.example", "management.refuse"},
			{check, another, 401, "for another API", "https://reports.example", "decision.refuse"},
			{evaluate, another, 401, "for another API", "https://reports.example", "decision.refuse"},
			{userinfo, another, 401, "for another API", "https://reports.example", "userinfo.refuse"},
			{manage, "nonsense", 401, "valid access token of this tenant", "compact JWS", "management.refuse"},
			{check, "nonsense", 401, "valid access token of this tenant", "compact JWS", "decision.refuse"},
			{userinfo, "nonsense", 401, "valid access token of this tenant", "compact JWS", "userinfo.refuse"},
			{manage, "", 401, "Send an access token", "Send an access token", "management.refuse"},
			{check, "", 401, "Send an access token", "Send an access token", "decision.refuse"},
			{check, unscoped, 403, "does not have the scope", "it has only", "decision.refuse"},
			{userinfo, unscoped, 401, "an application's own", "an application's own", "userinfo.refuse"},
		} {
			if tt.at == evaluate {
				w.Clock.Advance(time.Minute) // a valid token leaves one event a minute
			}
			method, path, _ := strings.Cut(tt.at, " ")
			a := w.Send(w.Request(tt.token, method, "acme", path, "application/json", strings.NewReader("{}")))
			name := tt.at + " " + tt.answer
			if a.Status != tt.status || !strings.Contains(a.Body, tt.answer) {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			request := a.Header.Get("X-Request-Id")
			if line := lineOf(w, request); !strings.Contains(line, " error=") || !strings.Contains(line, tt.cause) {
				t.Errorf("%s: the log line does not say %s: %s", name, tt.cause, line)
			}
			events := w.Must(operator, "GET", "acme", "/audit-events?request_id="+request, nil)["items"].([]any)
			if len(events) != 1 {
				t.Errorf("%s: %d events", name, len(events))
				continue
			}
			e := events[0].(map[string]any)
			if reason, _ := e["detail"].(map[string]any)["reason"].(string); e["action"] != tt.action ||
				!strings.Contains(reason, tt.cause) {
				t.Errorf("%s: %v", name, e)
			}
		}
		// A role that does not allow an action has a line too.
		a := w.Call(w.Token("acme", made.ClientID, made.Secret.Reveal()), "GET", "acme", "/users", nil)
		if line := lineOf(w, a.Header.Get("X-Request-Id")); a.Status != 403 || !strings.Contains(line, "user.read") {
			t.Errorf("%d, and the line is %s", a.Status, line)
		}
	})
}

// lineOf returns the log line of a request.
func lineOf(w *world.World, request string) string {
	for line := range strings.Lines(w.Log.String()) {
		if strings.Contains(line, "msg=request") && strings.Contains(line, "request_id="+request) {
			return line
		}
	}
	return ""
}
