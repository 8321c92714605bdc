package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/doors/admin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// classes are the routes that are not of the class Page, without those of the management API. Add a
// new one here.
var classes = map[string]web.Class{
	"GET /oauth2/authorize":          web.Landing,
	"POST /oauth2/authorize":         web.Landing,
	"GET /oauth2/authorize/continue": web.Landing,
	"GET /oauth2/logout":             web.Landing,
	"POST /oauth2/logout":            web.Landing,
	"GET /oauth2/logout/continue":    web.Landing,
	"GET /oauth2/session":            web.Landing,

	"GET /.well-known/openid-configuration":       web.Script,
	"GET /.well-known/oauth-authorization-server": web.Script,
	"GET /.well-known/authzen-configuration":      web.Script,

	"GET /.well-known/oauth-protected-resource":           web.Script,
	"GET /.well-known/oauth-protected-resource/{path...}": web.Script,

	"GET /oauth2/jwks":                      web.Script,
	"GET /oauth2/userinfo":                  web.Script,
	"POST /oauth2/userinfo":                 web.Script,
	"POST /oauth2/token":                    web.Script,
	"POST /oauth2/device_authorization":     web.Script,
	"POST /oauth2/revoke":                   web.Script,
	"POST /oauth2/introspect":               web.Script,
	"GET /api/server_info":                  web.Script,
	"GET /_cerbos/health":                   web.Script,
	"GET " + admin.Prefix + "/openapi.json": web.Script,

	"POST /api/check":                 web.Decision,
	"POST /api/check/resources":       web.Decision,
	"POST /api/check_resource_batch":  web.Decision,
	"POST /api/plan/resources":        web.Decision,
	"POST /access/v1/evaluation":      web.Decision,
	"POST /access/v1/evaluations":     web.Decision,
	"POST /access/v1/search/subject":  web.Decision,
	"POST /access/v1/search/resource": web.Decision,
	"POST /access/v1/search/action":   web.Decision,
}

// Other sites may call the listed routes only, and never a form of ours.
func TestEveryRouteHasTheRightClass(t *testing.T) {
	w := world.OnSQLite(t)
	h := w.Handler.(*web.Handler)
	found := h.Tenant.Classes()
	for pattern, class := range found {
		method, path, _ := strings.Cut(pattern, " ")
		want, listed := classes[pattern]
		switch {
		case listed:
		case strings.HasPrefix(path, admin.Prefix+"/") && method != http.MethodOptions:
			want = web.Program
		case method == http.MethodOptions: // of a script's route
			if class != web.Script && class != web.Decision {
				t.Errorf("%s is a preflight of class %d", pattern, class)
			}
			continue
		default:
			want = web.Page
		}
		if class != want {
			t.Errorf("%s has the class %d, want %d", pattern, class, want)
		}
		if class != web.Page || method == http.MethodGet {
			continue
		}
		r := httptest.NewRequest(method, w.Base("platform")+strings.NewReplacer("{", "", "}", "").Replace(path), nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		a := httptest.NewRecorder()
		h.ServeHTTP(a, r)
		if a.Code != http.StatusForbidden {
			t.Errorf("%s took a form of another site: %d", pattern, a.Code)
		}
	}
	for pattern := range classes {
		if _, ok := found[pattern]; !ok {
			t.Errorf("there is no route %s", pattern)
		}
	}
}

// TRACE and an unknown method are refused on every route, with what the route has in Allow (RFC
// 9110 §15.5.6) and without an echo. HEAD answers like GET, without a body.
func TestEveryRouteRefusesForeignMethods(t *testing.T) {
	w := world.OnSQLite(t)
	const secret = "Bearer do-not-echo"
	h := w.Handler.(*web.Handler)
	routes := map[string]string{} // the methods of each path
	for pattern := range h.Tenant.Classes() {
		method, path, _ := strings.Cut(pattern, " ")
		routes[path] += method + " "
	}
	for path, methods := range routes {
		target := w.Base("platform") + strings.NewReplacer("{", "", "}", "", "...", "", "$", "").Replace(path)
		send := func(method string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, target, nil)
			r.Header.Set("Authorization", secret)
			a := httptest.NewRecorder()
			h.ServeHTTP(a, r)
			return a
		}
		for _, method := range []string{"TRACE", "BREW"} {
			a := send(method)
			allow := a.Header().Get("Allow")
			if a.Code != http.StatusMethodNotAllowed || allow == "" ||
				strings.Contains(a.Body.String(), "do-not-echo") { // a request id may spell echo
				t.Errorf("%s %s: %d, Allow %q: %.200s", method, path, a.Code, allow, a.Body)
			}
			for m := range strings.FieldsSeq(methods) {
				if method == "TRACE" && !strings.Contains(allow, m) {
					t.Errorf("TRACE %s: Allow %q lacks %s", path, allow, m)
				}
			}
		}
		if a := send("OPTIONS"); a.Code != http.StatusNoContent &&
			(a.Code != http.StatusMethodNotAllowed || a.Header().Get("Allow") == "") {
			t.Errorf("OPTIONS %s: %d, Allow %q", path, a.Code, a.Header().Get("Allow"))
		}
		if strings.Contains(methods, "GET ") {
			get, head := send("GET"), send("HEAD")
			if head.Code != get.Code || head.Header().Get("Content-Type") != get.Header().Get("Content-Type") {
				t.Errorf("HEAD %s: %d %q, GET %d %q", path, head.Code, head.Header().Get("Content-Type"), get.Code,
					get.Header().Get("Content-Type"))
			}
		}
	}
	if len(routes) < 40 {
		t.Errorf("only %d routes", len(routes))
	}
}
