package wire

//lint:file-ignore SA1019 Clients still send and read what Cerbos has deprecated.

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	schemav1 "github.com/cerbos/cerbos/api/genpb/cerbos/schema/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// bodies are requests as SDKs write them, and broken ones.
var bodies = []string{
	`{"requestId":"r","includeMeta":true,"principal":{"id":"a","policyVersion":"v1","roles":["x","y"],"scope":"a.b",` +
		`"attr":{"n":1,"f":-2.5e3,"s":"é\u00e9\n\"\\\/","b":true,"z":null,"l":[1,"2",[]],"o":{"k":{}}}},` +
		`"resources":[{"actions":["view"],"resource":{"kind":"k","id":"1","policyVersion":"v","scope":"s",` +
		`"attr":{}}}],"auxData":{"jwt":{"token":"t","keySetId":"k"}}}`,
	`{"request_id":"r","include_meta":false,"principal":{"id":"a","policy_version":"v1","roles":[]},"resources":[],` +
		`"aux_data":{"jwt":{"token":"t","key_set_id":"k"}}}`,
	` { "principal" : { } , "resources" : [ { } , { "resource" : { } } ] } trailing`,
	`{"requestId":"r","action":"view","principal":{"id":"a","roles":["x"]},"resource":{"kind":"k",` +
		`"policy_version":"v","scope":"s","attr":{"a":1}},"includeMeta":true}`,
	`{"actions":["a","b"],"resource":{"kind":"k","policyVersion":"v"},"auxData":{}}`,
	`{}`, ``, ` `, `[]`, `null`, `1`, `"x"`, `{"x":1}`, `{"requestId":null}`, `{"requestId":1}`,
	`{"requestId":"a","requestId":"b"}`, `{"requestId":"a","request_id":"b"}`,
	`{"principal":null}`, `{"principal":[]}`, `{"principal":{"attr":{"a":1,"a":2}}}`, `{"principal":{"attr":{"":1}}}`,
	`{"principal":{"roles":"x"}}`, `{"principal":{"roles":[1]}}`, `{"principal":{"roles":[null]}}`,
	`{"resources":[null]}`, `{"resources":{}}`, `{"includeMeta":"true"}`, `{"includeMeta":1}`,
	`{"auxData":{"jwts":{"a":{"token":"t"}}}}`, `{"auxData":{"jwt":null}}`,
	`{"requestContext":{"annotations":{"a":1}}}`, `{"requestId":"\ud83d\ude00"}`, `{"requestId":"\ud83d"}`,
	`{"requestId":"\u12"}`, `{"requestId":"\x"}`, "{\"requestId\":\"\xff\"}", "{\"requestId\":\"a\nb\"}",
	`{"principal":{"attr":{"n":01}}}`, `{"principal":{"attr":{"n":1.}}}`, `{"principal":{"attr":{"n":-}}}`,
	`{"principal":{"attr":{"n":+1}}}`, `{"principal":{"attr":{"n":1e999}}}`,
	`{"principal":{"attr":{"n":1e-999}}}`, `{"principal":{"attr":{"n":-0}}}`,
	`{"principal":{"attr":{"n":123456789012345678901234567890}}}`,
	`{"principal":{"attr":{"n":999999999999999}}}`, `{"principal":{"attr":{"n":9007199254740993}}}`,
	`{"principal":{"attr":{"n":0.1}}}`, `{"principal":{"attr":{"n":.1}}}`, `{"principal":{"attr":{"n":1E+2}}}`,
	`{"principal":{"attr":{"n":tru}}}`, `{"principal":{"attr":{"n":truely}}}`,
	`{"principal":{"attr":{"n":1}`, `{"principal":`, `{"principal":{"id":"a",}}`, `{"principal":{"id":"a"},}`,
	`{"resources":[,]}`, `{,}`, `{"a"}`, `{"requestId" "x"}`, `{'requestId':"x"}`,
	`{"requestId":"\u0000"}`, "\ufeff{}", `{"principal":{"attr":{"a":` + strings.Repeat("[", 50) +
		strings.Repeat("]", 50) + `}}}`,
}

// The fast reader accepts what SDKs write. What it accepts, protojson reads the same way.
func TestTheFastReaderReadsLikeProtoJSON(t *testing.T) {
	for i, body := range bodies {
		check, plan := sameReading(t, body)
		if i == 0 && !check || i == 3 && !plan {
			t.Errorf("the fast reader gave up at %s", body)
		}
	}
}

func sameReading(t *testing.T, body string) (bool, bool) {

	t.Helper()
	return same(t, body, &requestv1.CheckResourcesRequest{}, &requestv1.CheckResourcesRequest{}, readCheckResources),
		same(t, body, &requestv1.PlanResourcesRequest{}, &requestv1.PlanResourcesRequest{}, readPlanResources)
}

func same[M any, P interface {
	*M
	proto.Message
}](t *testing.T, body string, fast, slow P, fields func(*reader, *M)) bool {
	t.Helper()
	if !readFast(body, (*M)(fast), fields) {
		return false
	}
	if err := readSlow(protojson.UnmarshalOptions{}, body, slow); err != nil {
		t.Errorf("only the fast reader accepts %s: %v", body, err)
	} else if !proto.Equal(slow, fast) {
		t.Errorf("%s:\nprotojson: %v\nfast:      %v", body, slow, fast)
	}
	return true
}

func FuzzReader(f *testing.F) {
	for _, b := range bodies {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body string) { sameReading(t, body) })
}

func TestARepeatedMemberIsRefused(t *testing.T) {
	search := func(body string, m proto.Message) error { _, err := ReadSearch(body, m); return err }
	for _, c := range []struct {
		read func(string, proto.Message) error
		m    proto.Message
		body string
		name string
	}{
		{Read, &requestv1.CheckResourcesRequest{}, `{"requestId":"a","request_id":"b"}`, "request_id"},
		{Read, &requestv1.CheckResourcesRequest{}, `{"principal":{"id":"ada"},"principal":null}`, "principal"},
		{Read, &requestv1.CheckResourcesRequest{}, `{"principal":{"roles":["x"],"roles":["owner"]}}`, "roles"},
		{Read, &requestv1.CheckResourcesRequest{}, `{"principal":{"attr":{"ab":1,"ab":2}}}`, "ab"},
		{Read, &requestv1.PlanResourcesRequest{}, `{"resource":{"attr":{"o":{"cd":1,"cd":2}}}}`, "cd"},
		{ReadLenient, &authzenv1.AccessEvaluationRequest{}, `{"subject":{"id":"a"},"subject":{"id":"b"}}`, "subject"},
		{ReadLenient, &authzenv1.AccessEvaluationRequest{}, `{"context":{"ef":1,"ef":2}}`, "ef"},
		{search, &authzenv1.AccessEvaluationRequest{}, `{"subject":{"type":"user"},"subject":null}`, "subject"},
		{search, &authzenv1.AccessEvaluationRequest{}, `{"page":{"limit":1},"page":{"limit":2}}`, "page"},
		{search, &authzenv1.AccessEvaluationRequest{}, `{"page":{"limit":1,"limit":null}}`, "page.limit"},
	} {
		if err := c.read(c.body, c.m); err == nil || !strings.Contains(fault.As(err).Reason, c.name) {
			t.Errorf("%s: %v, want a refusal that names %s", c.body, err, c.name)
		}
	}
}

func TestTheWriterWritesLikeProtoJSON(t *testing.T) {
	value := func(v any) *structpb.Value {
		out, err := structpb.NewValue(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := value(map[string]any{"z": nil, "a": []any{1.0, -2.5, 1e21, 1e-7, 123456789.0, true,
		"\x00\x1f\"\\/é\u2028<&>"}, "o": map[string]any{"x": map[string]any{}, "l": []any{}}})
	checks := []*responsev1.CheckResourcesResponse{{}, {
		RequestId: "r\n", CerbosCallId: "c",
		Results: []*responsev1.CheckResourcesResponse_ResultEntry{{
			Resource: &responsev1.CheckResourcesResponse_ResultEntry_Resource{
				Id: "1", Kind: "k", PolicyVersion: "v", Scope: "s",
			},
			Actions: map[string]effectv1.Effect{
				"b": effectv1.Effect_EFFECT_ALLOW, "a": effectv1.Effect_EFFECT_DENY,
				"u": effectv1.Effect_EFFECT_UNSPECIFIED, "x": 77,
			},
			ValidationErrors: []*schemav1.ValidationError{
				{Path: "/a", Message: "m", Source: schemav1.ValidationError_SOURCE_PRINCIPAL}, {},
			},
			Meta: &responsev1.CheckResourcesResponse_ResultEntry_Meta{EffectiveDerivedRoles: []string{"o", "p"},
				Actions: map[string]*responsev1.CheckResourcesResponse_ResultEntry_Meta_EffectMeta{
					"b": {MatchedPolicy: "p", MatchedScope: "s"}, "a": {},
				}},
			Outputs: []*enginev1.OutputEntry{
				{Src: "s", Val: all, Action: "b", Error: "e"}, {Val: structpb.NewNullValue()}, {},
			},
		}, {Resource: &responsev1.CheckResourcesResponse_ResultEntry_Resource{},
			Meta: &responsev1.CheckResourcesResponse_ResultEntry_Meta{}}},
	}}
	for _, m := range checks {
		sameWriting(t, m, writeCheckResources(m))
	}
	variable := func(s string) *enginev1.PlanResourcesFilter_Expression_Operand {
		return &enginev1.PlanResourcesFilter_Expression_Operand{
			Node: &enginev1.PlanResourcesFilter_Expression_Operand_Variable{Variable: s},
		}
	}
	type (
		expression = enginev1.PlanResourcesFilter_Expression
		operand    = enginev1.PlanResourcesFilter_Expression_Operand
		nested     = enginev1.PlanResourcesFilter_Expression_Operand_Expression
	)
	plans := []*responsev1.PlanResourcesResponse{{}, {
		RequestId: "r", Action: "a", ResourceKind: "k", PolicyVersion: "v", CerbosCallId: "c",
		Actions: []string{"x", "y"},
		Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL,
			Condition: &enginev1.PlanResourcesFilter_Expression_Operand{
				Node: &nested{Expression: &expression{Operator: "eq", Operands: []*operand{
					variable("request.resource.attr.owner"),
					{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{Value: all}},
					{
						Node: &enginev1.PlanResourcesFilter_Expression_Operand_Expression{
							Expression: &enginev1.PlanResourcesFilter_Expression{Operator: "not"},
						},
					},
					{},
				}}}}},
		Meta: &responsev1.PlanResourcesResponse_Meta{
			FilterDebug: "(x)", MatchedScope: "s", MatchedScopes: map[string]string{"b": "2", "a": ""},
		},
		ValidationErrors: []*schemav1.ValidationError{{Path: "/a"}},
	}, {Filter: &enginev1.PlanResourcesFilter{}, Meta: &responsev1.PlanResourcesResponse_Meta{}}}
	for _, m := range plans {
		sameWriting(t, m, writePlanResources(m))
	}
	type result = responsev1.CheckResourcesResponse_ResultEntry
	out := string(writeCheckResources(&responsev1.CheckResourcesResponse{Results: []*result{{
		Resource: &responsev1.CheckResourcesResponse_ResultEntry_Resource{},
		Outputs: []*enginev1.OutputEntry{{Val: structpb.NewNumberValue(math.NaN())},
			{Val: structpb.NewNumberValue(math.Inf(-1))},
		},
	}}}))
	if !strings.Contains(out, `"val":"NaN"`) || !strings.Contains(out, `"val":"-Infinity"`) {
		t.Error(out)
	}
}

func sameWriting(t *testing.T, m proto.Message, got []byte) {
	t.Helper()
	want, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal(want, &a); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	again := m.ProtoReflect().New().Interface()
	if err := protojson.Unmarshal(got, again); err != nil || !proto.Equal(m, again) {
		t.Errorf("read back: %v\n%s", err, fmt.Sprint(again))
	}
}
