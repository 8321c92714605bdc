package pdp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

func TestTheOtherForms(t *testing.T) {
	d := onSQLite(t)
	token := d.asking(application.Asserted)
	for path, c := range map[string]struct{ body, want string }{
		"/api/check": {
			`{"requestId":"r","actions":["view"],"includeMeta":true,"principal":{"id":"sam","roles":["employee"]},` +
				`"resource":{"kind":"leave_request","instances":{"L2":{"attr":{"owner":"kim"}},` +
				`"L1":{"attr":{"owner":"sam"}}}}}`,
			`{"requestId":"r","resourceInstances":{"L1":{"actions":{"view":"EFFECT_ALLOW"}},"L2":{"actions":{"view":"EFFECT_DENY"}}},"meta":{"resourceInstances":{
				"L1":{"actions":{"view":{"matchedPolicy":"resource.leave_request.vdefault"}},"effectiveDerivedRoles":["owner"]},"L2":{"actions":{"view":{"matchedPolicy":"resource.leave_request.vdefault"}}}}}}`,
		},
		"/api/check_resource_batch": {
			`{"requestId":"r","principal":{"id":"sam","roles":["employee"]},"resources":[{"actions":["view"],` +
				`"resource":{"kind":"leave_request","id":"L1","attr":{"owner":"sam"}}}]}`,
			`{"requestId":"r","results":[{"resourceId":"L1","actions":{"view":"EFFECT_ALLOW"}}]}`,
		},
		"/api/plan/resources": {
			`{"requestId":"r","action":"view","includeMeta":true,"principal":{"id":"sam","roles":["auditor"]},` +
				`"resource":{"kind":"leave_request"}}`,
			`{"requestId":"r","action":"view","resourceKind":"leave_request",` +
				`"filter":{"kind":"KIND_ALWAYS_ALLOWED"},"meta":{"filterDebug":"(true)"}}`,
		},
		"/access/v1/evaluation": {
			`{"subject":{"type":"employee","id":"sam"},"resource":{"type":"leave_request","id":"L1",` +
				`"properties":{"owner":"sam"}},"action":{"name":"view"}}`,
			`{"decision":true}`,
		},
		"/access/v1/evaluations": {
			`{"subject":{"type":"employee","id":"sam"},"action":{"name":"view"},"options":{"evaluations_semantic":"deny_on_first_deny","another":1},"evaluations":[
				{"resource":{"type":"leave_request","id":"L1","properties":{"owner":"sam"}}},{"resource":{"type":"leave_request","id":"L1","properties":{"owner":"kim"}}},{"resource":{"type":"leave_request","id":"L3"}}]}`,
			`{"evaluations":[{"decision":true},{"decision":false}]}`,
		},
	} {
		a := d.post(token, "/t/acme"+path, c.body)
		got, want := a.JSON(t), world.Answer{Body: c.want}.JSON(t)
		if strings.Contains(path, "plan") && got["cerbosCallId"] == "" {
			t.Error("no call id")
		}
		delete(got, "cerbosCallId")
		if diff := cmp.Diff(want, got); a.Status != 200 || diff != "" {
			t.Errorf("%s: %d %s", path, a.Status, diff)
		}
	}
	a := d.post(token, "/t/acme/access/v1/evaluations",
		`{"subject":{"type":"auditor","id":"a"},"resource":{"type":"leave_request","id":"1"},`+
			`"action":{"name":"view"},"context":{"cerbos.includeMeta":true,"cerbos.requestId":"r9"}}`)
	got := a.JSON(t)
	if resp, _ := got["context"].(map[string]any)["cerbos.response"].(map[string]any); got["decision"] != true ||
		resp["requestId"] != "r9" || resp["results"] == nil {
		t.Errorf("evaluations without evaluations: %s", a.Body)
	}
	if made, _ := d.recorded.last(); made.Kind != decision.Evaluation {
		t.Errorf("recorded as %s", made.Kind)
	}
	if a := d.post(token, "/t/acme/access/v1/search/resource", `{}`); a.Status != 501 ||
		!strings.Contains(a.Body, "/api/plan/resources") {
		t.Errorf("search: %d %s", a.Status, a.Body)
	}
	for _, path := range []string{"/t/acme/.well-known/authzen-configuration",
		"/.well-known/authzen-configuration/t/acme"} {
		r, _ := http.NewRequest("GET", d.Origin+path, nil)
		base := d.Origin + "/t/acme"
		want := map[string]any{"policy_decision_point": base, "access_evaluation_endpoint": base +
			"/access/v1/evaluation", "access_evaluations_endpoint": base + "/access/v1/evaluations",
			"search_subject_endpoint": base + "/access/v1/search/subject", "search_action_endpoint": base +
				"/access/v1/search/action"}
		if diff := cmp.Diff(want, d.Send(r).JSON(t)); diff != "" {
			t.Error(diff)
		}
	}
	a = d.post(token, checkPath+"?pretty", strings.Replace(samViews, `"view","approve"`, `"divide"`, 1))
	if a.Status != 200 || !strings.Contains(a.Body, "\n  \"") || !strings.Contains(a.Body, `"val": "NaN"`) {
		t.Errorf("a number that JSON does not have: %d %s", a.Status, a.Body)
	}
	r, _ := http.NewRequest("POST", d.Origin+checkPath, strings.NewReader(samViews))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-Request-Id", "mine-1")
	if a := d.Send(r); a.Header.Get("X-Request-Id") != "mine-1" || strings.Contains(d.Log.String(), "mine-1") {
		t.Errorf("X-Request-ID: %v", a.Header)
	}
}

func TestWhoMayAskOverHTTP(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		app := w.machine(w.acme, application.Asserted)
		good := w.token(w.acme, app, application.ScopeDecide)
		foreign := w.token(w.globex, w.machine(w.globex, application.Asserted), application.ScopeDecide)
		for name, c := range map[string]struct {
			token, path, challenge string
			status                 int
		}{
			"good":     {good, checkPath, "", 200},
			"none":     {"", checkPath, `Bearer realm="`, 401},
			"nonsense": {"x", checkPath, `error="invalid_token"`, 401},
			"another scope": {
				w.token(w.acme, app, "gatehouse:manage"), checkPath,
				`error="insufficient_scope"`, 403,
			},
			"another tenant's": {
				foreign, checkPath, `error="invalid_token"`, 401,
			},
			"at another tenant's base": {
				good, "/t/globex/api/check/resources", `error="invalid_token"`, 401,
			},
			"AuthZEN": {
				foreign, "/t/acme/access/v1/evaluation", `error="invalid_token"`,
				401,
			},
			"search": {
				foreign, "/t/acme/access/v1/search/action", `error="invalid_token"`,
				401,
			},
		} {
			a := w.post(c.token, c.path, samViews)
			challenge := a.Header.Get("WWW-Authenticate")
			for _, part := range []string{c.challenge, `scope="gatehouse:decide"`, `resource_metadata="`} {
				if c.status != 200 && !strings.Contains(challenge, part) {
					t.Errorf("%s: the challenge has no %s: %s", name, part, challenge)
				}
			}
			if strings.Contains(challenge, "error") != (c.token != "" && c.status != 200) {
				t.Errorf("%s: %s", name, challenge)
			}
			if a.Status != c.status {
				t.Errorf("%s: %d %q", name, a.Status, a.Header.Get("WWW-Authenticate"))
			}
			if body := a.JSON(t); c.status != 200 && (body["code"] == nil || body["message"] == "") {
				t.Errorf("%s: %s", name, a.Body)
			}
		}
		ends := func(what string, fn func(tx *db.Tx) error) {
			t.Helper()
			w.Do(w.acme, fn)
			if a := w.post(good, checkPath, samViews); a.Status != 401 && a.Status != 403 {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		}
		status := func(s application.Status) func(tx *db.Tx) error {
			return func(tx *db.Tx) error {
				_, _, err := application.Update(ctx, tx, everything, app.ID, application.Patch{Status: &s})
				return err
			}
		}
		ends("application disabled", status(application.Disabled))
		w.Do(w.acme, status(application.Active))
		ends("tenant suspended", func(tx *db.Tx) error {
			_, err := tenant.SetStatus(ctx, tx,
				tenant.Suspended)
			return err
		})
		w.Do(w.acme, func(tx *db.Tx) error { _, err := tenant.SetStatus(ctx, tx, tenant.Active); return err })
		if a := w.post(good, checkPath, samViews); a.Status != 200 {
			t.Errorf("all is well again: %d %s", a.Status, a.Body)
		}
	})
}

// A user's token asks about its user alone, whose roles and sign-in are the directory's.
func TestWhatMayIDoHere(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		ada, token := w.person("ada", []string{"pwd", "otp"})
		kim, _ := w.person("kim", []string{"pwd"})
		ask := func(token, principal string) (any, any, world.Answer) {
			var a world.Answer
			t.Helper()
			a = w.post(token, checkPath, `{`+principal+`"resources":[{"actions":["view","approve"],`+
				`"resource":{"kind":"leave_request","id":"L1","attr":{"owner":"`+ada.ID.String()+`"}}}]}`)
			if a.Status != 200 {
				return nil, nil, a
			}
			actions := a.JSON(t)["results"].([]any)[0].(map[string]any)["actions"].(map[string]any)
			return actions["view"], actions["approve"], a
		}
		allow, deny := effectv1.Effect_EFFECT_ALLOW.String(), effectv1.Effect_EFFECT_DENY.String()
		for name, c := range map[string]struct {
			principal     string
			view, approve any
			reason        string
		}{
			"nobody named": {``, deny, allow, ""},
			"themselves":   {`"principal":{"id":"` + ada.ID.String() + `"},`, deny, allow, ""},
			"with roles of theirs": {
				`"principal":{"id":"` + ada.ID.String() + `","roles":["auditor","employee"],"attr":{"amr":["none"]}},`,
				deny, allow, "",
			},
			"somebody else": {
				`"principal":{"id":"` + kim.ID.String() + `","roles":["auditor"]},`, deny, deny, "principal.another",
			},
		} {
			view, approve, a := ask(token, c.principal)
			if view != c.view || approve != c.approve {
				t.Errorf("%s: %v %v: %d %s", name, view, approve, a.Status, a.Body)
			}
			made, by := w.recorded.last()
			if made.Reason != c.reason || made.Mode != application.FromDirectory || by.Actor.Kind != caller.User ||
				by.Actor.ID != ada.ID {
				t.Errorf("%s: recorded %q %s by %+v", name, made.Reason, made.Mode, by.Actor)
			}
		}
		if a := w.post(token, planPath,
			`{"actions":["view"],"principal":{"id":"`+kim.ID.String()+`"},"resource":{"kind":"leave_request"}}`); !strings.Contains(a.Body, "KIND_ALWAYS_DENIED") {
			t.Errorf("a plan about somebody else: %s", a.Body)
		}
		a := w.post(token, "/t/acme/access/v1/evaluation",
			`{"resource":{"type":"leave_request","id":"L1"},"action":{"name":"approve"}}`)
		if a.Body != `{"decision":true}` {
			t.Errorf("AuthZEN without a subject: %d %s", a.Status, a.Body)
		}
		w.Do(w.acme, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, ada.ID, user.Deactivated)
			return err
		})
		if _, _, a := ask(token, ``); a.Status != 401 {
			t.Errorf("deactivated: %d %s", a.Status, a.Body)
		}
	})
}

// A machine application in directory mode names a principal and nothing more.
func TestPrincipalsFromTheDirectory(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		token := w.asking(application.FromDirectory)
		ada, _ := w.person("ada", nil, "auditor")
		view := func(principal string) world.Answer {
			return w.post(token, checkPath,
				`{"principal":`+principal+`,"resources":[{"actions":["view"],"resource":{"kind":"leave_request",`+
					`"id":"L1"}}]}`)
		}
		if a := view(`{"id":"` + ada.ID.String() + `"}`); !strings.Contains(a.Body, "EFFECT_ALLOW") {
			t.Errorf("an auditor: %d %s", a.Status, a.Body)
		}
		if a := view(`{"id":"nobody","roles":["auditor"]}`); a.Status != 200 ||
			strings.Contains(a.Body, "EFFECT_ALLOW") {
			t.Errorf("somebody unknown: %d %s", a.Status, a.Body)
		}
		if made, _ := w.recorded.last(); made.Reason != "principal.unknown" || len(made.Outputs) != 1 {
			t.Errorf("recorded %+v", made)
		}
		w.Do(w.acme, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, ada.ID, user.Locked)
			return err
		})
		if a := view(`{"id":"` + ada.ID.String() + `"}`); a.Status != 200 || strings.Contains(a.Body, "EFFECT_ALLOW") {
			t.Errorf("somebody locked: %d %s", a.Status, a.Body)
		}
		// Two subjects in one request: each gets their own.
		w.Do(w.acme, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, ada.ID, user.Active)
			return err
		})
		a := w.post(token, "/t/acme/access/v1/evaluations", `{"resource":{"type":"leave_request","id":"L1"},"action":{"name":"view"},"evaluations":[
			{"subject":{"type":"user","id":"nobody"}},{"subject":{"type":"user","id":"`+ada.ID.String()+`"}}]}`)
		if a.Body != `{"evaluations":[{"decision":false},{"decision":true}]}` &&
			strings.ReplaceAll(a.Body, " ", "") != `{"evaluations":[{"decision":false},{"decision":true}]}` {
			t.Errorf("two subjects: %d %s", a.Status, a.Body)
		}
	})
}

// What Cerbos' planner panics at is refused like any other question that has no answer, and a check
// is world.Answer.
func TestAPlanThatCannotBeMade(t *testing.T) {
	w := onSQLite(t)
	token := w.asking(application.Asserted)
	sam := `"principal":{"id":"sam","roles":["employee"],"attr":{"active":"text"}}`
	if a := w.post(token, planPath, `{"actions":["list"],`+sam+`,"resource":{"kind":"odd"}}`); a.Status != 400 ||
		!strings.Contains(a.Body, "/api/check/resources") {
		t.Errorf("plan: %d %s", a.Status, a.Body)
	}
	if !strings.Contains(w.Log.String(), "interface conversion") {
		t.Errorf("the log does not say why: %s", w.Log.String())
	}
	if a := w.post(token, checkPath,
		`{`+sam+`,"resources":[{"actions":["list"],"resource":{"kind":"odd","id":"1"}}]}`); a.Status != 200 {
		t.Errorf("check: %d %s", a.Status, a.Body)
	}
}

// Whatever a body holds, the answer is an answer or a refusal with a sentence.
func TestBadBodies(t *testing.T) {
	w := onSQLite(t)
	token := w.asking(application.Asserted)
	many := strings.Repeat(`{"actions":["view"],"resource":{"kind":"k","id":"1"}},`, 51)
	for name, c := range map[string]struct{ body, want string }{
		"nothing":          {``, `"code":3`},
		"no JSON":          {`{"principal":`, `"code":3`},
		"an unknown field": {`{"tenant":"globex"}`, `unknown field`},
		"no principal": {
			`{"resources":[{"actions":["view"],"resource":{"kind":"k","id":"1"}}]}`, `principal: value is required`,
		},
		"no roles": {
			`{"principal":{"id":"sam"},"resources":[{"actions":["view"],"resource":{"kind":"k","id":"1"}}]}`,
			`principal.roles: value is required`,
		},
		"no resources": {`{"principal":{"id":"sam","roles":["x"]}}`, `buf.validate.Violations`},
		"too many resources": {
			`{"principal":{"id":"sam","roles":["x"]},"resources":[` + strings.TrimSuffix(many, ",") + `]}`,
			`number of resources in batch (51) exceeds configured limit (50)`,
		},
		"another's key set": {
			`{"principal":{"id":"sam","roles":["x"]},"auxData":{"jwt":{"token":"a.b.c","keySetId":"x"}},` +
				`"resources":[{"actions":["view"],"resource":{"kind":"k","id":"1"}}]}`,
			`invalid auxData`,
		},
		"nesting": {
			`{"principal":{"id":"sam","roles":["x"],"attr":{"a":` + strings.Repeat("[", 5000) +
				strings.Repeat("]", 5000) + `}},"resources":[{"actions":["view"],"resource":{"kind":"k","id":"1"}}]}`,
			`nested deeper`,
		},
		"not UTF-8": {"{\"requestId\":\"\xff\"}", `"code":3`},
		"a scope that is none": {
			`{"principal":{"id":"sam","roles":["x"],"scope":"a b"},"resources":[{"actions":["view"],` +
				`"resource":{"kind":"k","id":"1"}}]}`,
			`principal.scope`,
		},
		"a megabyte and one more": {`{"requestId":"` + strings.Repeat("x", 1<<20) + `"}`, `larger than we accept`},
	} {
		a := w.post(token, checkPath, c.body)
		if body := strings.ReplaceAll(a.Body, ", \"", ",\""); a.Status != 400 || !strings.Contains(body, c.want) &&
			!strings.Contains(strings.ReplaceAll(body, ": ", ":"), strings.ReplaceAll(c.want, ": ", ":")) {
			t.Errorf("%s: %d %.300s", name, a.Status, a.Body)
		}
	}
}
