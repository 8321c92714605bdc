package policy

import (
	"context"
	"fmt"

	auditv1 "github.com/cerbos/cerbos/api/genpb/cerbos/audit/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"github.com/cerbos/cerbos/private/ruletable"
	epdpv2 "github.com/cerbos/cloud-api/genpb/cerbos/cloud/epdp/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Evaluator answers by one rule table. It is safe for concurrent use and knows neither
// tenants nor base policies.
type Evaluator struct {
	table ruletable.Evaluator
}

// newEvaluator loads a compiled rule table.
func newEvaluator(table []byte, s Settings) (*Evaluator, error) {
	rt := new(runtimev1.RuleTable)
	if err := proto.Unmarshal(table, rt); err != nil {
		return nil, fmt.Errorf("read a compiled rule table: %w", err)
	}
	conf, err := s.cerbos()
	if err != nil {
		return nil, err
	}
	ev, err := ruletable.NewRuleTableFromProto(rt, conf)
	if err != nil {
		return nil, fmt.Errorf("load a compiled rule table: %w", err)
	}
	return &Evaluator{ev}, nil
}

// cerbos returns the settings as Cerbos' configuration.
func (s Settings) cerbos() (*epdpv2.Config, error) {
	globals := make(map[string]*structpb.Value, len(s.Globals))
	for name, v := range s.Globals {
		value, err := structpb.NewValue(v)
		if err != nil {
			return nil, fmt.Errorf("global %s: %w", name, err)
		}
		globals[name] = value
	}
	enforcement := epdpv2.Config_Schema_ENFORCEMENT_NONE
	switch s.SchemaEnforcement {
	case SchemaWarn:
		enforcement = epdpv2.Config_Schema_ENFORCEMENT_WARN
	case SchemaReject:
		enforcement = epdpv2.Config_Schema_ENFORCEMENT_REJECT
	}
	return &epdpv2.Config{
		Evaluator: &epdpv2.Config_Evaluator{
			Globals: globals, DefaultPolicyVersion: s.DefaultVersion, DefaultScope: s.DefaultScope,
			LenientScopeSearch: s.LenientScopeSearch, StrictEvaluation: s.StrictEvaluation,
		},
		Schema: &epdpv2.Config_Schema{Enforcement: enforcement},
	}, nil
}

// Check answers every input, in order.
func (e *Evaluator) Check(ctx context.Context, in []*enginev1.CheckInput) ([]*enginev1.CheckOutput, *auditv1.AuditTrail, error) {
	return e.table.Check(ctx, in)
}

// Plan answers which resources of a kind the principal may act on.
func (e *Evaluator) Plan(ctx context.Context, in *enginev1.PlanResourcesInput) (*enginev1.PlanResourcesOutput, *auditv1.AuditTrail, error) {
	return e.table.Plan(ctx, in)
}
