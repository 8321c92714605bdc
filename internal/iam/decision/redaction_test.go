package decision_test

import (
	"fmt"
	"slices"
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
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func setSettings(d *testkit.Database, c caller.Caller, s decision.Settings) error {
	return d.Update(ctx, c, func(tx *db.Tx) error { return decision.WriteSettings(ctx, tx, s) })
}

func TestRedactionIsAppliedBeforeStoring(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		r := recorder(t, d)
		record := func(c caller.Caller) {
			x := asked(t, d, "ada", "read", deny, "d1", "d2")
			x.Inputs[1].Resource.Attr = attr(t, map[string]any{"owner": "zoe"})
			for _, in := range x.Inputs {
				in.AuxData = &enginev1.AuxData{Jwt: attr(t, map[string]any{"https://acme.example/ssn": "123-45-6789", "sub": "ada"})}
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
		want := structpb.NewListValue(&structpb.ListValue{
			Values: []*structpb.Value{structpb.NewStructValue(&structpb.Struct{}), structpb.NewStringValue("x")}})
		if diff := cmp.Diff(want, one["readers"], protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if jwt := got.Inputs[0].AuxData.Jwt; len(jwt) != 1 || jwt["sub"].GetStringValue() != "ada" {
			t.Errorf("claims: %v", jwt)
		}
		marks := []decision.Mark{{Input: -1, Path: `auxData.jwt.https://acme\.example/ssn`}, {Input: -1, Path: "principal.attr.email"}, {Input: -1, Path: "principal.attr.team.*"},
			{Input: 0, Path: "resource.attr.owner"}, {Input: 0, Path: "resource.attr.readers.name"},
			{Input: 1, Path: "resource.attr.owner"}}
		if diff := cmp.Diff(marks, got.Redacted); diff != "" {
			t.Error(diff)
		}
		if n := list(t, d, globex, decision.Filter{}, page.First()).Items[0]; len(n.Redacted) != 0 ||
			n.Inputs[0].Principal.Attr["email"].GetStringValue() != "ada@acme.example" {
			t.Errorf("the neighbour has no rule: %v", n.Inputs[0].Principal)
		}
		if strings.Contains(fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput), `"zoe"`) ||
			strings.Contains(fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput), "123-45-6789") {
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
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"}, Principal: x.Inputs[0].Principal,
				Resource: &enginev1.PlanResourcesInput_Resource{Kind: "document", Attr: x.Inputs[0].Resource.Attr}},
			PlanOutput: &enginev1.PlanResourcesOutput{FilterDebug: "ada@acme.example",
				Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL,
					Condition: &enginev1.PlanResourcesFilter_Expression_Operand{
						Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{
							Value: value(t, "ada@acme.example")}}}}}
		if err := setSettings(d, acme,
			decision.Settings{RetentionDays: 30,
				Redaction: []decision.Rule{{Path: "principal.attr.email", How: decision.Drop},
					{Path: "resource.attr.*", How: decision.Drop}}}); err != nil {
			t.Fatal(err)
		}
		r.Record(acme, plan)
		r.Close()
		got := list(t, d, acme, decision.Filter{}, page.First()).Items[0]
		if got.PlanOutput.Filter.Kind != enginev1.PlanResourcesFilter_KIND_CONDITIONAL ||
			strings.Contains(fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput), "acme.example") ||
			len(got.PlanInput.Resource.Attr) != 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		for name, s := range map[string]decision.Settings{
			"no days":   {},
			"many days": {RetentionDays: 401},
			"many rules": {RetentionDays: 1,
				Redaction: slices.Repeat([]decision.Rule{{Path: "principal.attr.a", How: decision.Drop}}, 51)},
			"deep": {RetentionDays: 1,
				Redaction: []decision.Rule{{Path: "principal.attr" + strings.Repeat(".a", 21), How: decision.Drop}}},
			"no how":  {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr.a"}}},
			"no part": {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.id", How: decision.Drop}}},
			"no name": {RetentionDays: 1,
				Redaction: []decision.Rule{{Path: "principal.attr.", How: decision.Drop}}},
			"empty names": {RetentionDays: 1,
				Redaction: []decision.Rule{{Path: "principal.attr.a..b", How: decision.Drop}}},
			"whole": {RetentionDays: 1, Redaction: []decision.Rule{{Path: "principal.attr", How: decision.Drop}}},
			"long": {RetentionDays: 1,
				Redaction: []decision.Rule{{Path: "principal.attr." + strings.Repeat("a", 500), How: decision.Drop}}},
		} {
			if err := setSettings(d, acme, s); fault.Of(err) != fault.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		var got decision.Settings
		read := func() {
			if err := d.View(ctx, acme,
				func(tx *db.Tx) error {
					var err error
					got, err = decision.ReadSettings(ctx, tx)
					return err
				}); err != nil {
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

// Redaction covers several principals, tokens of other names, and plans.
func TestRedactionReachesEveryPart(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if err := setSettings(d, acme, decision.Settings{RetentionDays: 30, Redaction: []decision.Rule{
			{Path: "principal.attr.email", How: decision.Drop}, {Path: "auxData.jwt.ssn", How: decision.Drop},
			{Path: "resource.attr.readers", How: decision.Drop},
		}}); err != nil {
			t.Fatal(err)
		}
		claims := func(who string) *enginev1.AuxData {
			c := attr(t, map[string]any{"ssn": "secret-" + who, "sub": who})
			return &enginev1.AuxData{Jwt: c, Jwts: map[string]*enginev1.AuxData_JWT{"second": {Claims: c}}}
		}
		x := asked(t, d, "ada", "read", deny, "d1", "d2", "d3")
		eve := asked(t, d, "eve", "read", deny, "d2").Inputs[0]
		x.Inputs[1].Principal = eve.Principal
		x.Inputs[0].AuxData = claims("0")
		x.Inputs[1].AuxData, x.Inputs[2].AuxData = x.Inputs[0].AuxData, claims("2")
		plan := decision.Decision{ID: id.At(d.Clock.Now()), Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"}, Principal: eve.Principal,
				AuxData:  claims("plan"),
				Resource: &enginev1.PlanResourcesInput_Resource{Kind: "document", Attr: eve.Resource.Attr}},
			PlanOutput: &enginev1.PlanResourcesOutput{
				Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_ALWAYS_DENIED}}}
		r := recorder(t, d)
		r.Record(acme, x)
		r.Record(acme, plan)
		r.Close()
		for _, got := range list(t, d, acme, decision.Filter{}, page.First()).Items {
			text := fmt.Sprint(got.Inputs, got.PlanInput, got.PlanOutput)
			for _, secret := range []string{"secret-", "acme.example", "ida"} {
				if strings.Contains(text, secret) {
					t.Errorf("%q is in the record of a %s", secret, got.Kind)
				}
			}
			if got.Kind == decision.Plan {
				if got.PlanInput.Principal.Id != "eve" || got.PlanInput.AuxData.Jwt["sub"].GetStringValue() != "plan" ||
					len(got.Redacted) != 3 {
					t.Errorf("%v", got)
				}
				continue
			}
			for i, want := range []struct{ who, sub string }{{"ada", "0"}, {"eve", "0"}, {"ada", "2"}} {
				in := got.Inputs[i]
				if in.Principal.Id != want.who || in.AuxData.Jwt["sub"].GetStringValue() != want.sub ||
					in.AuxData.Jwts["second"].GetClaims()["sub"].GetStringValue() != want.sub {
					t.Errorf("input %d is of another: %v", i, in)
				}
			}
		}
	})
}

// A plan keeps its condition if the rule removed nothing that it could repeat.
func TestAPlanWithoutWhatTheRuleTakesKeepsItsCondition(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		if err := setSettings(d, acme,
			decision.Settings{RetentionDays: 30,
				Redaction: []decision.Rule{{Path: "principal.attr.ssn", How: decision.Drop}}}); err != nil {
			t.Fatal(err)
		}
		condition := &enginev1.PlanResourcesFilter_Expression_Operand{
			Node: &enginev1.PlanResourcesFilter_Expression_Operand_Variable{Variable: "request.resource.attr.public"}}
		r := recorder(t, d)
		r.Record(acme, decision.Decision{ID: id.At(d.Clock.Now()), Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"},
				Principal: asked(t, d, "ada", "read", deny, "d1").Inputs[0].Principal,
				Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "document"}},
			PlanOutput: &enginev1.PlanResourcesOutput{
				Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL,
					Condition: condition}}})
		r.Close()
		got := list(t, d, acme, decision.Filter{}, page.First()).Items[0]
		if len(got.Redacted) != 0 || !proto.Equal(got.PlanOutput.GetFilter().GetCondition(), condition) {
			t.Errorf("%v", got)
		}
	})
}

// Equal values of one tenant have equal hashes. Hashes of two tenants cannot be compared.
func TestHashesAreOfOneTenant(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		r := recorder(t, d)
		hashes := map[string][]string{}
		var tenants []caller.Caller
		for _, slug := range []string{"acme", "globex"} {
			c := d.Tenant(t, slug)
			tenants = append(tenants, c)
			if err := setSettings(d, c,
				decision.Settings{RetentionDays: 30,
					Redaction: []decision.Rule{{Path: "principal.attr.email", How: decision.Hash}}}); err != nil {
				t.Fatal(err)
			}
			for _, who := range []string{"ada", "ada", "bob"} {
				r.Record(c, asked(t, d, who, "read", deny, "d1"))
			}
		}
		r.Close()
		for i, c := range tenants {
			for _, x := range list(t, d, c, decision.Filter{}, page.First()).Items {
				p := x.Inputs[0].Principal
				hashes[fmt.Sprint(p.Id, i)] = append(hashes[fmt.Sprint(p.Id, i)], p.Attr["email"].GetStringValue())
			}
		}
		ada := hashes["ada0"]
		if len(ada) != 2 || ada[0] != ada[1] || ada[0] == hashes["bob0"][0] || ada[0] == hashes["ada1"][0] {
			t.Errorf("%v", hashes)
		}
	})
}

// If the rule cannot be read, the record is lost, because the rule may apply to it.
func TestWithoutTheRuleNothingIsStored(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		globex := d.Tenant(t, "globex")
		r := recorder(t, d)
		var broken []caller.Caller
		for i, text := range []string{`{`,
			`{"retention_days":30,"redaction":[{"path":"principal.attr.email","how":"blur"}]}`} {
			c := d.Tenant(t, fmt.Sprint("acme", i))
			broken = append(broken, c)
			if err := d.Update(ctx, c, func(tx *db.Tx) error {
				tx.Later(`INSERT INTO decision_settings (tenant_id, settings, updated_at) VALUES ($1, $2, $3)`, text,
					tx.Now())
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			r.Record(c, asked(t, d, "ada", "read", deny, "d1"))
		}
		r.Record(globex, asked(t, d, "ada", "read", deny, "d1"))
		r.Close()
		for _, c := range broken {
			if l := list(t, d, c, decision.Filter{}, page.First()); len(l.Items) != 0 {
				t.Errorf("stored: %v", l.Items)
			}
		}
		if l := list(t, d, globex, decision.Filter{}, page.First()); len(l.Items) != 1 || r.Written() != 1 ||
			r.Dropped() != 2 {
			t.Errorf("the neighbour has %d; written %d, dropped %d", len(l.Items), r.Written(), r.Dropped())
		}
	})
}

// A new rule applies to later decisions, on a recorder that cached the old one.
func TestANewRuleCounts(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		r.Record(acme, asked(t, d, "ada", "read", deny, "before"))
		written(t, r, 1)
		if err := setSettings(d, acme,
			decision.Settings{RetentionDays: 30,
				Redaction: []decision.Rule{{Path: "principal.attr.email", How: decision.Drop}}}); err != nil {
			t.Fatal(err)
		}
		r.Record(acme, asked(t, d, "ada", "read", deny, "after"))
		r.Close()
		for resource, want := range map[string]int{"before": 0, "after": 1} {
			l := list(t, d, acme, decision.Filter{ResourceID: resource}, page.First())
			if len(l.Items) != 1 || len(l.Items[0].Redacted) != want {
				t.Errorf("%s: %v", resource, l.Items)
			}
		}
		var events []string
		if err := d.View(ctx, acme, func(tx *db.Tx) error {
			var err error
			events, err = db.List(ctx, tx, db.Column[string],
				`SELECT action FROM audit_events WHERE tenant_id = $1`)
			return err
		}); err != nil || len(events) != 1 || events[0] != "settings.update" {
			t.Errorf("events %v: %v", events, err)
		}
	})
}
