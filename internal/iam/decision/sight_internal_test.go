package decision

import (
	"encoding/json"
	"strings"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

func TestARecordShowsNoMoreThanTheDirectory(t *testing.T) {
	record := func(kind Kind, mode application.PrincipalMode) Record {
		principal := &enginev1.Principal{Id: "the-id", Roles: []string{"the-role"},
			Attr: map[string]*structpb.Value{"email": structpb.NewStringValue("the-email")}}
		r := Record{Decision: Decision{Kind: kind, Mode: mode},
			Actor: caller.Actor{Kind: caller.User, Name: "the-login"}}
		aux := &enginev1.AuxData{Jwt: map[string]*structpb.Value{"sub": structpb.NewStringValue("the-claim")}}
		if kind == Plan {
			r.PlanInput = &enginev1.PlanResourcesInput{Principal: principal, AuxData: aux,
				Resource: &enginev1.PlanResourcesInput_Resource{Kind: "k"}}
			return r
		}
		r.Inputs = []*enginev1.CheckInput{{Principal: principal, AuxData: aux,
			Resource: &enginev1.Resource{Kind: "k", Id: "1"}, Actions: []string{"a"}}}
		return r
	}
	nothing, people, roles := role.Set{}, role.SetOf("user.read"), role.SetOf("role.read")
	both := role.SetOf("user.read", "role.read")
	for _, tt := range []struct {
		kind   Kind
		mode   application.PrincipalMode
		reader role.Set
		hidden []string
	}{
		{Check, application.FromDirectory, nothing, []string{"the-email", "the-role", "the-claim", "the-login"}},
		{Plan, application.FromDirectory, nothing, []string{"the-email", "the-role", "the-claim", "the-login"}},
		{Evaluation, application.FromDirectory, roles, []string{"the-email", "the-claim", "the-login"}},
		{Plan, application.FromDirectory, people, []string{"the-role"}},
		{SignIn, "", roles, []string{"the-email", "the-claim", "the-login"}},
		{Admin, "", people, []string{"the-role"}},
		{Check, application.FromDirectory, both, nil},
		{Check, application.Asserted, nothing, []string{"the-login"}}, // the rest is the application's word
	} {
		r := record(tt.kind, tt.mode)
		removed := r.hideFrom(tt.reader)
		b, err := json.Marshal(r.view(true))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"the-email", "the-role", "the-claim", "the-login", "the-id"} {
			shown, want := strings.Contains(string(b), secret), true
			for _, h := range tt.hidden {
				want = want && h != secret
			}
			if shown != want {
				t.Errorf("%s %s, to %v: %s shown: %t", tt.kind, tt.mode, tt.reader.Actions(), secret, shown)
			}
		}
		if removed != (len(tt.hidden) > 0 && tt.mode != application.Asserted) || removed != r.view(true).Hidden {
			t.Errorf("%s %s, to %v: removed %t", tt.kind, tt.mode, tt.reader.Actions(), removed)
		}
	}
}

func TestAnExplanationHidesItsValues(t *testing.T) {
	x := Explained{Explanation: compiler.Explanation{Steps: []compiler.Step{{Expression: "P.attr.salary > 1",
		Result: true, Message: "salary 5", Error: "salary 5", Values: []compiler.Value{{Path: "p", Value: 5}}}}}}
	x.hideValues()
	b, err := json.Marshal(x.Steps)
	if err != nil || strings.Contains(string(b), "5") || !strings.Contains(string(b), "P.attr.salary") {
		t.Errorf("%s %v", b, err)
	}
}
