package pdp

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	auditv1 "github.com/cerbos/cerbos/api/genpb/cerbos/audit/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// What is recognised as good, protovalidate has nothing to say against; what a request normally
// is, is recognised.
func TestGoodRequestsKeepTheRules(t *testing.T) {
	texts := []string{"", "a", "v1", "v-1", "a b", "é", "_", "a\n"}
	scopes := []string{"", ".", "..", "a", "_a", "-a", "a.b", "a._b", "a.-b", "a-.b", ".a", "a.", "a..b", "a.b-c_d.9",
		"a b", "é", "9", "a\n"}
	lists := [][]string{nil, {""}, {"a"}, {"a", "b"}, {"a", "a"}, numbered(50), numbered(51)}
	attrs := []map[string]*structpb.Value{nil, {"a": structpb.NewNullValue()}, {"": structpb.NewNullValue()}}
	principals := []*enginev1.Principal{nil, {}}
	for _, id := range texts {
		for _, v := range texts {
			principals = append(principals, &enginev1.Principal{Id: id, PolicyVersion: v, Roles: []string{"x"}})
		}
	}
	good := &enginev1.Principal{Id: "sam", Roles: []string{"x"}}
	for _, l := range lists {
		principals = append(principals, &enginev1.Principal{Id: "sam", Roles: l})
	}
	for _, s := range scopes {
		principals = append(principals, &enginev1.Principal{Id: "sam", Roles: []string{"x"}, Scope: s})
	}
	for _, a := range attrs {
		principals = append(principals, &enginev1.Principal{Id: "sam", Roles: []string{"x"}, Attr: a})
	}
	auxes := []*requestv1.AuxData{nil, {}, {Jwt: &requestv1.AuxData_JWT{}}, {Jwt: &requestv1.AuxData_JWT{Token: "t"}},
		{Jwts: map[string]*requestv1.AuxData_JWT{"": {Token: "t"}}},
		{Jwts: map[string]*requestv1.AuxData_JWT{"a": {Token: "t"}}}}
	resource := &enginev1.Resource{Kind: "k", Id: "1"}
	entries := []*requestv1.CheckResourcesRequest_ResourceEntry{{}, {Resource: resource}}
	for _, l := range lists {
		entries = append(entries, &requestv1.CheckResourcesRequest_ResourceEntry{Actions: l, Resource: resource})
	}
	for _, s := range texts {
		for _, r := range []*enginev1.Resource{{Kind: s, Id: "1"}, {Kind: "k", Id: s},
			{Kind: "k", Id: "1", PolicyVersion: s}} {
			entries = append(entries, &requestv1.CheckResourcesRequest_ResourceEntry{Actions: []string{"view"},
				Resource: r})
		}
	}
	for _, s := range scopes {
		entries = append(entries, &requestv1.CheckResourcesRequest_ResourceEntry{Actions: []string{"view"},
			Resource: &enginev1.Resource{Kind: "k", Id: "1", Scope: s}})
	}
	for _, a := range attrs {
		entries = append(entries, &requestv1.CheckResourcesRequest_ResourceEntry{Actions: []string{"view"},
			Resource: &enginev1.Resource{Kind: "k", Id: "1", Attr: a}})
	}

	recognised, strict := 0, 0
	compare := func(m proto.Message, ok bool) {
		t.Helper()
		err := violations(m)
		switch {
		case ok && err != nil:
			t.Errorf("recognised, but %v\n%v", err, m)
		case ok:
			recognised++
		case err == nil:
			strict++
		}
	}
	check := func(p *enginev1.Principal, aux *requestv1.AuxData, rc *auditv1.RequestContext,
		list ...*requestv1.CheckResourcesRequest_ResourceEntry) {
		t.Helper()
		m := &requestv1.CheckResourcesRequest{Principal: p, AuxData: aux, RequestContext: rc, Resources: list}
		compare(m, goodCheckResources(m))
	}
	entry := &requestv1.CheckResourcesRequest_ResourceEntry{Actions: []string{"view"}, Resource: resource}
	for _, p := range principals {
		check(p, nil, nil, entry)
	}
	for _, aux := range auxes {
		check(good, aux, nil, entry)
	}
	for _, e := range entries {
		check(good, nil, nil, e)
		check(good, nil, nil, entry, e)
	}
	check(good, nil, nil)
	check(good, nil, &auditv1.RequestContext{Annotations: attrs[2]}, entry)
	for _, action := range texts {
		for _, l := range lists {
			m := &requestv1.PlanResourcesRequest{Principal: good, Action: action, Actions: l,
				Resource: &enginev1.PlanResourcesInput_Resource{Kind: "k"}} //nolint:staticcheck // still served
			compare(m, goodPlanResources(m))
		}
	}
	for _, s := range slices.Concat(scopes, texts) {
		for _, r := range []*enginev1.PlanResourcesInput_Resource{{Kind: s}, {Kind: "k", Scope: s},
			{Kind: "k", PolicyVersion: s}, {Kind: "k", Attr: attrs[2]}, nil} {
			m := &requestv1.PlanResourcesRequest{Principal: good, Actions: []string{"a"}, Resource: r}
			compare(m, goodPlanResources(m))
		}
	}
	for _, subject := range []*authzenv1.Subject{nil, {}, {Type: "user"}, {Type: "user", Id: "sam"},
		{Type: "user", Id: "sam", Properties: attrs[2]}} {
		for _, object := range []*authzenv1.Resource{nil, {}, {Type: "k"}, {Type: "k", Id: "1"},
			{Type: "k", Id: "1", Properties: attrs[2]}} {
			for _, action := range []*authzenv1.Action{nil, {}, {Name: "view"}, {Name: "view", Properties: attrs[2]}} {
				for _, context := range attrs {
					one := &authzenv1.AccessEvaluationRequest{Subject: subject, Resource: object, Action: action,
						Context: context}
					compare(one, goodSubject(subject) && goodObject(object) && goodAction(action) && goodKeys(context))
					for _, e := range []*authzenv1.AccessEvaluationBatchRequest_Evaluation{{},
						{Subject: &authzenv1.Subject{Type: "user", Id: "kim"}, Resource: object,
							Action: &authzenv1.Action{Name: "edit"}},
						{Subject: &authzenv1.Subject{}, Context: context}} {
						many := &authzenv1.AccessEvaluationBatchRequest{Subject: subject, Resource: object,
							Action: action, Context: context,
							Evaluations: []*authzenv1.AccessEvaluationBatchRequest_Evaluation{e}}
						compare(many, goodEvaluations(many))
						many = proto.CloneOf(many)
						many.Options = &authzenv1.AccessEvaluationsOptions{EvaluationsSemantic: "whatever"}
						compare(many, goodEvaluations(many))
					}
				}
			}
		}
	}
	if recognised < 50 || strict > recognised {
		t.Errorf("%d requests were recognised; %d more keep the rules and were not", recognised, strict)
	}
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{"", ".", "a.b", "a-", "_", "a._"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := &requestv1.CheckResourcesRequest{Principal: &enginev1.Principal{Id: "sam", Roles: []string{"x"},
			Scope: s, PolicyVersion: strings.ReplaceAll(s, ".", "")},
			Resources: []*requestv1.CheckResourcesRequest_ResourceEntry{{Actions: []string{"view"},
				Resource: &enginev1.Resource{Kind: "k", Id: "1"}}}}
		if err := violations(m); goodCheckResources(m) != (err == nil) && err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}
