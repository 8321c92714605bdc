package decision_test

import (
	"fmt"
	"strings"
	"testing"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func setSettings(d *testkit.Database, c caller.Caller, s decision.Settings) error {
	return d.Update(ctx, c, func(tx *db.Tx) error { return decision.WriteSettings(tx, s) })
}

func TestRedactionIsAppliedBeforeStoring(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		r := recorder(t, d)
		record := func(c caller.Caller) {
			x := asked(t, d, "ada", "read", deny, "d1", "d2")
			x.Inputs[1].Resource.Attr = attr(t, map[string]any{"owner": "zoe"})
			for _, in := range x.Inputs {
				in.AuxData = &enginev1.AuxData{Jwt: attr(t, map[string]any{"https://acme.example/ssn": "123", "sub": "ada"})}
			}
			before := proto.Clone(x.Inputs[0]).(*enginev1.CheckInput)
			r.Record(c, x)
			t.Cleanup(func() {
				if diff := cmp.Diff(before, x.Inputs[0], protocmp.Transform()); diff != "" {
					t.Errorf("the caller's message was changed: %s", diff)
				}
			})
		}
		if err := setSettings(d, acme, decision.Settings{RetentionDays: 30, Redaction: []decision.Rule{
			{Path: "principal.attr.email", How: decision.Hash},
			{Path: "principal.attr.team.*", How: decision.Drop},
			{Path: "resource.attr.readers.name", How: decision.Drop},
			{Path: "resource.attr.owner", How: decision.Hash},
			{Path: `auxData.jwt.https://acme\.example/ssn`, How: decision.Drop},
			{Path: "resource.attr.absent", How: decision.Drop},
		}}); err != nil {
			t.Fatal(err)
		}
		record(acme)
		record(globex)
		r.Close()
		got := list(t, d, acme, decision.Filter{}, page.First()).Items[0]
		p, one, two := got.Inputs[0].Principal.Attr, got.Inputs[0].Resource.Attr, got.Inputs[1].Resource.Attr
		if h := p["email"].GetStringValue(); !strings.HasPrefix(h, "hash:k1:") || len(h) != 30 {
			t.Errorf("hash of the email: %q", h)
		}
		if len(p["team"].GetStructValue().GetFields()) != 0 {
			t.Errorf("team: %v", p["team"])
		}
		if !proto.Equal(one["owner"], two["owner"]) || one["owner"].GetStringValue() == "zoe" {
			t.Errorf("owners %v and %v", one["owner"], two["owner"])
		}
		want := structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStructValue(&structpb.Struct{}), structpb.NewStringValue("x")}})
		if diff := cmp.Diff(want, one["readers"], protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if jwt := got.Inputs[0].AuxData.Jwt; len(jwt) != 1 || jwt["sub"].GetStringValue() != "ada" {
			t.Errorf("claims: %v", jwt)
		}
		marks := []decision.Mark{{Input: -1, Path: `auxData.jwt.https://acme\.example/ssn`}, {Input: -1, Path: "principal.attr.email"}, {Input: -1, Path: "principal.attr.team.*"},
			{Input: 0, Path: "resource.attr.owner"}, {Input: 0, Path: "resource.attr.readers.name"}, {Input: 1, Path: "resource.attr.owner"}}
		if diff := cmp.Diff(marks, got.Redacted); diff != "" {
			t.Error(diff)
		}
		if n := list(t, d, globex, decision.Filter{}, page.First()).Items[0]; len(n.Redacted) != 0 || n.Inputs[0].Principal.Attr["email"].GetStringValue() != "ada@acme.example" {
			t.Errorf("the neighbour has no rule: %v", n.Inputs[0].Principal)
		}
		if strings.Contains(fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput), "zoe") || strings.Contains(fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput), "123") {
			t.Error("a redacted value is somewhere in the record")
		}
	})
}

// A plan's condition repeats attributes of the principal.
func TestRedactionTakesAPlansCondition(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		x := asked(t, d, "ada", "read", allow, "d1")
		plan := decision.Decision{ID: x.ID, Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"}, Principal: x.Inputs[0].Principal, Resource: &enginev1.PlanResourcesInput_Resource{Kind: "document", Attr: x.Inputs[0].Resource.Attr}},
			PlanOutput: &enginev1.PlanResourcesOutput{FilterDebug: "ada@acme.example", Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL,
				Condition: &enginev1.PlanResourcesFilter_Expression_Operand{Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{Value: value(t, "ada@acme.example")}}}}}
		if err := setSettings(d, acme, decision.Settings{RetentionDays: 30, Redaction: []decision.Rule{{Path: "principal.attr.email", How: decision.Drop}, {Path: "resource.attr.*", How: decision.Drop}}}); err != nil {
			t.Fatal(err)
		}
		r.Record(acme, plan)
		r.Close()
		got := list(t, d, acme, decision.Filter{}, page.First()).Items[0]
		if got.PlanOutput.Filter.Kind != enginev1.PlanResourcesFilter_KIND_CONDITIONAL || strings.Contains(fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput), "acme.example") || len(got.PlanInput.Resource.Attr) != 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		for name, s := range map[string]decision.Settings{
			"no days":     {},
			"many days":   {RetentionDays: 401},
			"many rules":  {RetentionDays: 1, Redaction: make([]decision.Rule, 51)},
			"no how":      {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr.a"}}},
			"no part":     {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.id", How: decision.Drop}}},
			"no name":     {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr.", How: decision.Drop}}},
			"empty names": {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr.a..b", How: decision.Drop}}},
			"whole":       {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr", How: decision.Drop}}},
			"long":        {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr." + strings.Repeat("a", 500), How: decision.Drop}}},
		} {
			if err := setSettings(d, acme, s); fault.Of(err) != fault.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		var got decision.Settings
		read := func() {
			if err := d.View(ctx, acme, func(tx *db.Tx) (err error) { got, err = decision.ReadSettings(ctx, tx); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if read(); got.RetentionDays != 30 || len(got.Redaction) != 0 {
			t.Errorf("settings of one who never set any: %v", got)
		}
		for _, days := range []int{7, 90} {
			if err := setSettings(d, acme, decision.Settings{RetentionDays: days}); err != nil {
				t.Fatal(err)
			}
			if read(); got.RetentionDays != days {
				t.Errorf("%v", got)
			}
		}
	})
}
