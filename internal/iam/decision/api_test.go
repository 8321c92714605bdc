package decision_test

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

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// desk uses the management API of policies and decisions as one tenant.
type desk struct {
	t   *testing.T
	c   caller.Caller
	mux *http.ServeMux
}

// Admit admits every request as the desk's caller.
func (k *desk) Admit(*http.Request, api.Op) (api.Request, error) {
	return api.Request{Caller: k.c, Rights: role.Everything(), Reads: true}, nil
}

func newDesk(t *testing.T, d *testkit.Database, c caller.Caller) *desk {
	k := &desk{t, c, http.NewServeMux()}
	base := documents("look")
	base["document.yaml"] = []byte(strings.Replace(string(base["document.yaml"]), "resource: document",
		`resource: "gatehouse:thing"`, 1))
	m := api.Mount{Mux: k.mux, Prefix: "/api/v1", Title: "t", DB: d.DB, Gate: k,
		Answer: func(_ context.Context, f *fault.Fault) (int, http.Header) {
			return map[fault.Kind]int{fault.Invalid: 400, fault.NotFound: 404, fault.Conflict: 409,
				fault.Limited: 429}[f.Kind], nil
		}}
	m.Operations(append(policy.Operations(policy.Deps{Acknowledged: decision.Acknowledged}),
		decision.Operations(decision.Deps{Clock: d.Clock, Base: compiler.BaseTable(directory(base))})...))
	return k
}

// call sends a request that must have the status want, and returns the body.
func (k *desk) call(want int, method, path, contentType, body string) map[string]any {
	var out map[string]any
	k.t.Helper()
	r := httptest.NewRequestWithContext(k.t.Context(), method, "/api/v1"+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	k.mux.ServeHTTP(w, r)
	raw, _ := io.ReadAll(w.Result().Body)
	if w.Code != want {
		k.t.Fatalf("%s %s %.80s: %d %s, want %d", method, path, body, w.Code, raw, want)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		k.t.Fatalf("%s %s: %s", method, path, raw)
	}
	return out
}

func (k *desk) get(path string) map[string]any {
	k.t.Helper()
	return k.call(200, "GET", path, "", "")
}

func (k *desk) put(files compiler.Files) {
	k.t.Helper()
	for name, content := range files {
		k.call(200, "PUT", "/policies/draft/files/"+name, "application/yaml", string(content))
	}
}

func (k *desk) publish(want int, acknowledged string) map[string]any {
	k.t.Helper()
	return k.call(want, "POST", "/policies/draft/publish", "application/json",
		fmt.Sprintf(`{"reason": "test", "acknowledged": %q}`, acknowledged))
}

// Every parameter narrows the list, an item shows what the filter matches, and only a single
// decision shows attributes.
func TestTheListAsItIsShown(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		app := id.New()
		if err := setSettings(d, acme,
			decision.Settings{RetentionDays: 30,
				Redaction: []decision.Rule{{Path: "resource.attr.owner", How: decision.Drop}}}); err != nil {
			t.Fatal(err)
		}
		r := recorder(t, d)
		record := func(c caller.Caller, x decision.Decision) string {
			d.Clock.Advance(time.Second)
			x.ID = id.At(d.Clock.Now())
			r.Record(c, x)
			return x.ID.String()
		}
		one := record(acme, asked(t, d, "ada", "read", allow, "d1"))
		batch := asked(t, d, "ada", "write", deny, "d1", "d2", "d3")
		batch.Inputs[2].Principal,
			batch.Inputs[2].Resource.Kind = asked(t, d, "eve", "write", deny, "d3").Inputs[0].Principal, "folder"
		for _, in := range batch.Inputs {
			in.AuxData = &enginev1.AuxData{Jwt: attr(t, map[string]any{"sub": "claimed"})}
		}
		batch.Revision, batch.Reason, batch.Kind = 4, "principal.unknown", decision.Evaluation
		two := record(acme.As(caller.Actor{Kind: caller.Application, ID: app}), batch)
		huge := asked(t, d, "max", "read", allow, "d9")
		huge.Inputs[0].Resource.Attr["text"] = value(t, strings.Repeat("x", 300<<10))
		three := record(acme, huge)
		r.Close()
		k := newDesk(t, d, acme)

		at := func(n int) string { return d.Clock.Now().Add(time.Duration(n-3) * time.Second).Format(time.RFC3339) }
		for query, want := range map[string]string{
			"":                            three + " " + two + " " + one,
			"principal=eve":               two,
			"principal=max":               three,
			"resource_kind=folder":        two,
			"resource_id=d9":              three,
			"resource_id=d1":              two + " " + one,
			"action=write":                two,
			"effect=EFFECT_DENY":          two,
			"effect=EFFECT_ALLOW":         three + " " + one,
			"kind=evaluation":             two,
			"application=" + app.String(): two,
			"revision=4":                  two,
			"from=" + at(3):               three,
			"to=" + at(2):                 one,
			"limit=1":                     three,
		} {
			var got []string
			for _, x := range k.get("/decisions?" + query)["items"].([]any) {
				got = append(got, x.(map[string]any)["id"].(string))
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s: %s, want %s", query, s, want)
			}
		}
		for _, query := range []string{"effect=ALLOW", "kind=x", "application=x", "revision=x", "from=x", "limit=0",
			"limit=201", "cursor=x"} {
			k.call(400, "GET", "/decisions?"+query, "", "")
		}

		items := k.get("/decisions?resource_id=d2")["items"].([]any)
		shown := items[0].(map[string]any)
		results := shown["results"].([]any)
		if len(items) != 1 || len(results) != 1 || results[0].(map[string]any)["index"] != 1.0 ||
			shown["reason"] != "principal.unknown" {
			t.Errorf("of a batch the filter is about one: %v", items)
		}
		if p := results[0].(map[string]any)["principal"]; p == nil || p.(map[string]any)["id"] != "ada" {
			t.Errorf("who of several was asked about: %v", p)
		}
		text, _ := json.Marshal(k.get("/decisions"))
		for _, word := range []string{"acme.example", "pages", "claimed"} {
			if strings.Contains(string(text), word) {
				t.Errorf("an attribute is in the list: %q", word)
			}
		}
		whole := k.get("/decisions/" + two)
		text, _ = json.Marshal(whole)
		for _, word := range []string{"acme.example", "pages", "claimed"} {
			if !strings.Contains(string(text), word) {
				t.Errorf("%q is not in the decision", word)
			}
		}
		if redacted := whole["redacted"].([]any); len(redacted) != 1 || redacted[0] != "resource.attr.owner" ||
			len(whole["results"].([]any)) != 3 {
			t.Errorf("%v", whole)
		}
		if got := k.get("/decisions/" + three); got["oversized"] != true {
			t.Errorf("%v", got)
		}
		// Another tenant sees none of it.
		other := newDesk(t, d, d.Tenant(t, "globex"))
		if got := other.get("/decisions?principal=ada")["items"].([]any); len(got) != 0 {
			t.Errorf("another tenant lists %v", got)
		}
		for _, path := range []string{"", "/explain"} {
			other.call(404, "GET", "/decisions/"+one+path, "", "")
		}
	})
}

// An explanation uses the policies that gave the answer, whatever is in force today.
func TestADecisionIsExplainedByItsRevision(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		k := newDesk(t, d, acme)
		k.call(200, "PATCH", "/policies/settings", "application/json", `{"globals": {"open": true}}`)
		k.put(documents("read if G.open == true"))
		k.publish(201, "")
		k.put(documents("write"))
		k.publish(201, "")
		r := recorder(t, d)
		x := asked(t, d, "ada", "read", allow, "d1")
		x.Revision = 1
		r.Record(acme, x)
		ours := asked(t, d, "ada", "look", allow, "t1")
		ours.Revision, ours.Inputs[0].Resource.Kind = 1, "gatehouse:thing"
		r.Record(acme, ours)
		base := asked(t, d, "ada", "read", deny, "d1")
		base.Revision = 0
		r.Record(acme, base)
		r.Close()
		for what, of := range map[string]decision.Decision{"the tenant's": x, "ours": ours,
			"before there was a revision": base} {
			got := k.get("/decisions/" + of.ID.String() + "/explain")
			if got["same"] != true || got["revision"] != float64(of.Revision) {
				t.Errorf("%s: %v", what, got)
			}
		}
		if got := k.get("/decisions/" + x.ID.String() + "/explain"); !strings.Contains(fmt.Sprint(got["steps"]),
			"G.open == true") {
			t.Errorf("%v", got)
		}
	})
}

// A replay covers a period and a number of records. It is stored if the draft can be published.
func TestAReplayIsAskedFor(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		k := newDesk(t, d, acme)
		r := recorder(t, d)
		now := d.Clock.Now()
		for _, days := range []int{1, 6, 8, 20} {
			x := asked(t, d, fmt.Sprint("day", days), "write", deny, "d1")
			x.ID = id.At(now.Add(-time.Duration(days) * 24 * time.Hour))
			r.Record(acme, x)
		}
		r.Close()
		replay := func(want int, body string) map[string]any {
			t.Helper()
			return k.call(want, "POST", "/policies/draft/replay", map[bool]string{true: "application/json"}[body != ""],
				body)
		}
		day := func(n int) string { return now.Add(-time.Duration(n) * 24 * time.Hour).Format(time.RFC3339) }

		if got := replay(200, ""); got["records"] != 2.0 || got["acknowledge"] != nil {
			t.Errorf("without a change: %v", got)
		}
		k.call(404, "GET", "/policies/draft/replay", "", "")

		k.put(documents("write"))
		for body, want := range map[string]float64{
			"": 2, `{}`: 2, `{"from": "` + day(30) + `"}`: 4, `{"to": "` + day(7) + `"}`: 1,
			`{"from": "` + day(30) + `", "records": 3}`:           3,
			`{"from": "` + day(21) + `", "to": "` + day(7) + `"}`: 2,
		} {
			if got := replay(200, body); got["records"] != want {
				t.Errorf("%s: %v records, want %v", body, got["records"], want)
			}
		}
		for _, body := range []string{`{"from": "` + day(1) + `", "to": "` + day(1) + `"}`,
			`{"from": "` + day(1) + `", "to": "` + day(2) + `"}`, `{"records": 0}`, `{"records": 200001}`,
			`{"from": "0001-01-01T00:00:00Z"}`} {
			replay(400, body)
		}
		last := k.get("/policies/draft/replay")
		if got := k.publish(409, ""); got["code"] != "policy.unacknowledged" {
			t.Errorf("%v", got)
		}
		// The acknowledgement of the old draft does not count for the new one.
		k.put(documents("read", "write"))
		k.call(404, "GET", "/policies/draft/replay", "", "")
		replay(200, `{"to": "`+day(7)+`"}`)
		if got := k.publish(409, last["acknowledge"].(string)); got["code"] != "policy.unacknowledged" {
			t.Errorf("%v", got)
		}
		k.publish(201, k.get("/policies/draft/replay")["acknowledge"].(string))
	})
}
