package decision_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ctx = context.Background()

func recorder(t testing.TB, d *testkit.Database) *decision.Recorder {
	t.Helper()
	ring, err := secret.ParseKeyRing(secret.NewKey("k1"))
	if err != nil {
		t.Fatal(err)
	}
	return decision.NewRecorder(d.DB, ring, slog.New(slog.DiscardHandler))
}

// written waits until the recorder has written or dropped n decisions.
func written(t testing.TB, r *decision.Recorder, n int64) {
	t.Helper()
	testkit.Eventually(t, "the decisions are written", func() bool { return r.Written()+r.Dropped() >= n })
}

func value(t testing.TB, v any) *structpb.Value {
	t.Helper()
	x, err := structpb.NewValue(v)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func attr(t testing.TB, m map[string]any) map[string]*structpb.Value {
	t.Helper()
	return value(t, m).GetStructValue().GetFields()
}

// asked is a check of one action on documents, all with the same effect.
func asked(t testing.TB, d *testkit.Database, principal, action string, effect effectv1.Effect,
	documents ...string) decision.Decision {
	t.Helper()
	p := &enginev1.Principal{Id: principal, Roles: []string{"employee"},
		Attr: attr(t, map[string]any{"email": principal + "@acme.example",
			"team": map[string]any{"name": "red", "lead": "zoe"}})}
	x := decision.Decision{ID: id.At(d.Clock.Now()), Kind: decision.Check, Mode: application.Asserted, Revision: 3,
		Took: 1500 * time.Microsecond}
	for _, doc := range documents {
		x.Inputs = append(x.Inputs, &enginev1.CheckInput{RequestId: "r1", Principal: p, Actions: []string{action},
			Resource: &enginev1.Resource{Kind: "document", Id: doc,
				Attr: attr(t, map[string]any{"owner": "zoe", "pages": 7,
					"readers": []any{map[string]any{"name": "ida"}, "x"}})},
			AuxData: nil})
		x.Outputs = append(x.Outputs,
			&enginev1.CheckOutput{RequestId: "r1", ResourceId: doc, EffectiveDerivedRoles: []string{"member"},
				Actions: map[string]*enginev1.CheckOutput_ActionEffect{
					action: {Effect: effect, Policy: "resource.document.vdefault"}},
				Outputs: []*enginev1.OutputEntry{{Src: "s", Val: value(t, "secret")}}})
	}
	return x
}

func list(t testing.TB, d *testkit.Database, c caller.Caller, f decision.Filter,
	p page.Request) page.List[decision.Record] {
	var l page.List[decision.Record]
	t.Helper()
	if err := d.View(ctx, c,
		func(tx *db.Tx) error {
			var err error
			l, err = decision.List(ctx, tx, f, p)
			return err
		}); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestARecordIsWhatWasDecided(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		app := id.New()
		c := acme.As(caller.Actor{Kind: caller.Application, ID: app, Tenant: acme.Tenant, Name: "Shop"})
		c.RequestID = "req-1"
		r := recorder(t, d)
		one := asked(t, d, "ada", "read", effectv1.Effect_EFFECT_DENY, "d1", "d2", "d3")
		// differs from the others
		one.Inputs[1].AuxData = &enginev1.AuxData{Jwt: attr(t, map[string]any{"sub": "ada"})}
		r.Record(c, one)
		r.Close()
		var got decision.Record
		get := func(c caller.Caller) error {
			return d.View(ctx, c, func(tx *db.Tx) error {
				var err error
				got, err = decision.Get(ctx, tx, one.ID)
				return err
			})
		}
		if err := get(acme); err != nil {
			t.Fatal(err)
		}
		want := decision.Record{Decision: one, At: one.ID.Time(), RequestID: "req-1",
			Actor: caller.Actor{Kind: caller.Application, ID: app, Name: "Shop"}}
		for i, o := range want.Outputs {
			want.Outputs[i] = &enginev1.CheckOutput{Actions: o.Actions, EffectiveDerivedRoles: o.EffectiveDerivedRoles}
		}
		opts := cmp.Options{protocmp.Transform(),
			cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".shown" }, cmp.Ignore())}
		if diff := cmp.Diff(want, got, opts); diff != "" {
			t.Error(diff)
		}
		if err := get(globex); err != decision.ErrNotFound {
			t.Errorf("another tenant: %v", err)
		}
	})
}

func TestTheRecorderCountsWhatItLoses(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		for i := range 123 {
			r.Record(acme, asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, fmt.Sprint(i)))
		}
		// no such tenant
		r.Record(caller.Caller{Tenant: id.New()}, asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "x"))
		nameless := asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "x")
		nameless.ID = id.ID{}
		r.Record(acme, nameless)
		// text that a database column rejects
		r.Record(acme, asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "x\x00\xff"))
		huge := asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "x")
		huge.Size = 1 << 30
		r.Record(acme, huge)
		r.Close()
		if r.Written() != 124 || r.Dropped() != 3 {
			t.Errorf("written %d, dropped %d", r.Written(), r.Dropped())
		}
	})
}

// Names alone may be too large. Then the record is lost, but its neighbours in the batch are
// stored.
func TestARecordOfNamesIsBoundedToo(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		r.Record(acme, asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "before"))
		r.Record(acme, asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, strings.Repeat("x", 300<<10)))
		r.Record(acme, asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "after"))
		r.Close()
		if l := list(t, d, acme, decision.Filter{}, page.First()); r.Written() != 2 || r.Dropped() != 1 ||
			len(l.Items) != 2 {
			t.Errorf("written %d, dropped %d, there are %d", r.Written(), r.Dropped(), len(l.Items))
		}
	})
}

// A plan can be too large by its principal's claims or by its condition. Neither is stored.
func TestAnOversizedPlanKeepsItsNames(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		large := value(t, strings.Repeat("x", 300<<10))
		plan := func(in *enginev1.PlanResourcesInput, condition *structpb.Value) {
			in.Actions, in.Principal, in.Resource = []string{"read"},
				&enginev1.Principal{Id: "ada", Roles: []string{"r"}},
				&enginev1.PlanResourcesInput_Resource{Kind: "document"}
			r.Record(acme, decision.Decision{ID: id.At(d.Clock.Now()), Kind: decision.Plan, PlanInput: in,
				PlanOutput: &enginev1.PlanResourcesOutput{Filter: &enginev1.PlanResourcesFilter{
					Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL,
					Condition: &enginev1.PlanResourcesFilter_Expression_Operand{
						Node: &enginev1.PlanResourcesFilter_Expression_Operand_Value{Value: condition}}}}})
		}
		plan(&enginev1.PlanResourcesInput{AuxData: &enginev1.AuxData{Jwt: map[string]*structpb.Value{"text": large}}},
			value(t, "small"))
		plan(&enginev1.PlanResourcesInput{}, large)
		r.Close()
		l := list(t, d, acme, decision.Filter{}, page.First())
		if len(l.Items) != 2 {
			t.Fatalf("%d records, %d dropped", len(l.Items), r.Dropped())
		}
		for _, x := range l.Items {
			if !x.Oversized || len(x.PlanInput.GetAuxData().GetJwt()) != 0 ||
				x.PlanOutput.GetFilter().GetCondition() != nil || x.PlanInput.GetPrincipal().GetId() != "ada" ||
				x.PlanOutput.GetFilter().GetKind() != enginev1.PlanResourcesFilter_KIND_CONDITIONAL {
				t.Errorf("%v", x)
			}
		}
	})
}

func TestAnOversizedRecordKeepsItsNames(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		x := asked(t, d, "ada", "read", effectv1.Effect_EFFECT_ALLOW, "d1")
		x.Inputs[0].Resource.Attr["text"] = value(t, strings.Repeat("x", 300<<10))
		r.Record(acme, x)
		r.Close()
		l := list(t, d, acme, decision.Filter{ResourceID: "d1"}, page.First())
		if len(l.Items) != 1 || !l.Items[0].Oversized ||
			len(l.Items[0].Inputs[0].Resource.Attr)+len(l.Items[0].Inputs[0].Principal.Attr) != 0 {
			t.Errorf("%v", l)
		}
	})
}
