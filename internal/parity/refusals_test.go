package parity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

// sound returns a request that no server refuses.
func sound() *requestv1.CheckResourcesRequest {
	return &requestv1.CheckResourcesRequest{RequestId: "r", Principal: &enginev1.Principal{Id: "ada",
		Roles: []string{"agent"}},
		Resources: []*requestv1.CheckResourcesRequest_ResourceEntry{{Actions: []string{"view"},
			Resource: &enginev1.Resource{Kind: "ticket", Id: "t"}}}}
}

// refusals are requests with one thing wrong, or just not wrong.
func refusals() map[string]*requestv1.CheckResourcesRequest {
	out := map[string]*requestv1.CheckResourcesRequest{}
	but := func(name string, change func(in *requestv1.CheckResourcesRequest)) {
		in := sound()
		change(in)
		out[name] = in
	}
	but("nothing wrong", func(*requestv1.CheckResourcesRequest) {})
	but("no principal", func(in *requestv1.CheckResourcesRequest) { in.Principal = nil })
	but("no principal id", func(in *requestv1.CheckResourcesRequest) { in.Principal.Id = "" })
	but("no roles", func(in *requestv1.CheckResourcesRequest) { in.Principal.Roles = nil })
	but("a role twice", func(in *requestv1.CheckResourcesRequest) { in.Principal.Roles = []string{"a", "a"} })
	but("an empty role", func(in *requestv1.CheckResourcesRequest) { in.Principal.Roles = []string{""} })
	but("no resources", func(in *requestv1.CheckResourcesRequest) { in.Resources = nil })
	but("no resource", func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Resource = nil })
	but("no resource id", func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Resource.Id = "" })
	but("no kind", func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Resource.Kind = "" })
	but("a kind with a space", func(in *requestv1.CheckResourcesRequest) {
		in.Resources[0].Resource.Kind = "leave " +
			"request"
	})
	but("a version with a slash",
		func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Resource.PolicyVersion = "a/b" })
	but("a scope with two dots", func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Resource.Scope = "a..b" })
	but("a principal's scope with a blank", func(in *requestv1.CheckResourcesRequest) { in.Principal.Scope = "a b" })
	but("no actions", func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Actions = nil })
	but("an action twice", func(in *requestv1.CheckResourcesRequest) {
		in.Resources[0].Actions = []string{"view",
			"view"}
	})
	but("an empty action", func(in *requestv1.CheckResourcesRequest) { in.Resources[0].Actions = []string{""} })
	for _, n := range []int{50, 51} {
		but(fmt.Sprintf("%d actions", n), func(in *requestv1.CheckResourcesRequest) {
			in.Resources[0].Actions = nil
			for i := range n {
				in.Resources[0].Actions = append(in.Resources[0].Actions, fmt.Sprintf("view%d", i))
			}
		})
		but(fmt.Sprintf("%d resources", n), func(in *requestv1.CheckResourcesRequest) {
			in.Resources = nil
			for i := range n {
				in.Resources = append(in.Resources,
					&requestv1.CheckResourcesRequest_ResourceEntry{Actions: []string{"view"},
						Resource: &enginev1.Resource{Kind: "ticket", Id: fmt.Sprint(i)}})
			}
		})
	}
	but("an attribute that is null", func(in *requestv1.CheckResourcesRequest) {
		in.Principal.Attr = map[string]*structpb.Value{"a": structpb.NewNullValue()}
	})
	aux := func(name, token, set string) {
		but(name, func(in *requestv1.CheckResourcesRequest) {
			in.AuxData = &requestv1.AuxData{Jwt: &requestv1.AuxData_JWT{Token: token, KeySetId: set}}
		})
	}
	good := sign(map[string]any{"sub": "ada"})
	aux("a token", good, "")
	aux("a token of a named set", good, keySet)
	aux("a token of a set that nobody knows", good, "other")
	aux("a token with another signature", good[:len(good)-6]+"AAAAAA", "")
	aux("a token without a signature", good[:strings.LastIndexByte(good, '.')+1], "")
	aux("not a token", "nonsense", "")
	aux("an empty token", "", "")
	return out
}

// bodies are requests that a client may post to /api/check/resources.
var bodies = map[string]string{
	"empty":    ``,
	"not JSON": `{`,
	"null":     `null`,
	"a list":   `[]`,
	"nothing":  `{}`,
	"an unknown field": `{"requestId": "r", "nonsense": 1, "principal": {"id": "a", "roles": ["b"]}, ` +
		`"resources": [{"actions": ["view"], "resource": {"kind": "ticket", "id": "t"}}]}`,
	"names with underscores": `{"request_id": "r", "include_meta": true, "principal": {"id": "a", "roles": ["b"]}, ` +
		`"resources": [{"actions": ["view"], "resource": {"kind": "ticket", "id": "t", "policy_version": "default"}}]}`,
	"a number for a string": `{"principal": {"id": 5, "roles": ["b"]}, "resources": [{"actions": ["view"], ` +
		`"resource": {"kind": "ticket", "id": "t"}}]}`,
	"a string for a list": `{"principal": {"id": "a", "roles": "b"}, "resources": [{"actions": ["view"], ` +
		`"resource": {"kind": "ticket", "id": "t"}}]}`,
	"a field twice": `{"requestId": "r", "requestId": "s", "principal": {"id": "a", "roles": ["b"]}, ` +
		`"resources": [{"actions": ["view"], "resource": {"kind": "ticket", "id": "t"}}]}`,
	"text after it": `{"principal": {"id": "a", "roles": ["b"]}, "resources": [{"actions": ["view"], ` +
		`"resource": {"kind": "ticket", "id": "t"}}]} x`,
	"not UTF-8": "{\"requestId\": \"\xff\", \"principal\": {\"id\": \"a\", \"roles\": [\"b\"]}, " +
		"\"resources\": [{\"actions\": [\"view\"], \"resource\": {\"kind\": \"ticket\", \"id\": \"t\"}}]}",
	"half a surrogate pair": `{"requestId": "\ud800", "principal": {"id": "a", "roles": ["b"]}, "resources": ` +
		`[{"actions": ["view"], "resource": {"kind": "ticket", "id": "t"}}]}`,
	"a number beyond a double": `{"principal": {"id": "a", "roles": ["b"], "attr": {"n": 1e999}}, "resources": ` +
		`[{"actions": ["view"], "resource": {"kind": "ticket", "id": "t"}}]}`,
	"a big number": `{"principal": {"id": "a", "roles": ["b"], "attr": {"n": ` +
		`12345678901234567890123}}, "resources": [{"actions": ["view"], "resource": {"kind": "ticket", "id": "t"}}]}`,
	"nulls where fields may " +
		"be": `{"requestId": null, "principal": {"id": "a", "roles": ["b"], "attr": null}, "resources": ` +
		`[{"actions": ["view"], "resource": {"kind": "ticket", "id": "t", "attr": {}}}], "auxData": null}`,
	"an unknown kind of auxData": `{"principal": {"id": "a", "roles": ["b"]}, "resources": [{"actions": ["view"], ` +
		`"resource": {"kind": "ticket", "id": "t"}}], "auxData": {"cookie": "x"}}`,
}

// TestRefusals: what a Cerbos server refuses is refused, with its code; what it accepts is
// accepted. The words may differ.
func TestRefusals(t *testing.T) {
	w := documentation(t)
	server := w.serve(t)
	byGRPC, byHTTP := w.doors(t, process.Start(t, process.Config{Plain: true}))
	theirs := dial(t, server.GRPC, "")
	for name, in := range refusals() {
		a, aErr := theirs.check(t.Context(), in)
		b, bErr := byGRPC.check(t.Context(), in)
		if d := differs(a, aErr, b, bErr); d != "" {
			t.Errorf("gRPC, %s\n%s", name, d)
		}
		// Over HTTP an attribute that is null and an absent one are written alike by no encoder but
		// ours here.
		c, cErr := overHTTP{base: server.HTTP}.check(t.Context(), in)
		e, eErr := byHTTP.check(t.Context(), in)
		if d := differs(c, cErr, e, eErr); d != "" {
			t.Errorf("HTTP, %s\n%s", name, d)
		}
	}
	ours := byHTTP.pdp.(overHTTP)
	for name, body := range bodies {
		for _, path := range []string{"/api/check/resources", "/api/plan/resources"} {
			a, aBody, err := overHTTP{base: server.HTTP}.send(t.Context(), path, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			b, bBody, err := ours.send(t.Context(), path, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Errorf("%s, %s\nCerbos: %d %s\nours:   %d %s", path, name, a, aBody, b, bBody)
			} else if a == http.StatusOK {
				sameJSON(t, path+", "+name, aBody, bBody)
			}
		}
	}
}

// TestJSON: an answer over HTTP has the same fields in the same shapes, absent where they are
// absent.
func TestJSON(t *testing.T) {
	w := documentation(t)
	server := w.serve(t)
	_, byHTTP := w.doors(t, process.Start(t, process.Config{Plain: true}))
	ours := byHTTP.pdp.(overHTTP)
	for _, e := range examples {
		for path, in := range map[string]string{"/api/check/resources": shown(e.request(t)),
			"/api/plan/resources": shown(e.plan(t))} {
			a, aBody, err := overHTTP{base: server.HTTP}.send(t.Context(), path, []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			b, bBody, err := ours.send(t.Context(), path, []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Errorf("%s, %s: Cerbos %d, ours %d: %s", path, e.name, a, b, bBody)
				continue
			}
			if path != "/api/plan/resources" || !personalDenials[e.name] {
				sameJSON(t, path+", "+e.name, aBody, bBody)
			}
		}
	}
}

func sameJSON(t *testing.T, what string, theirs, ours []byte) {
	t.Helper()
	var a, b map[string]any
	if err := json.Unmarshal(theirs, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(ours, &b); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if _, ok := b["cerbosCallId"].(string); !ok && a["cerbosCallId"] != nil {
		t.Errorf("%s: no cerbosCallId", what)
	}
	delete(a, "cerbosCallId")
	delete(b, "cerbosCallId")
	if diff := cmp.Diff(settled(a), settled(b)); diff != "" {
		t.Errorf("%s (-Cerbos +ours)\n%s", what, diff)
	}
}

// settled orders lists whose order means nothing.
func settled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = settled(value)
			if text, ok := value.(string); ok && name == "filterDebug" {
				v[name] = orderedDebug(text)
			}
			if list, ok := v[name].([]any); ok && (name == "outputs" || name == "validationErrors" ||
				name == "effectiveDerivedRoles" || name == "operands") {
				sortByText(list)
			}
		}
	case []any:
		for i := range v {
			v[i] = settled(v[i])
		}
	}
	return v
}
