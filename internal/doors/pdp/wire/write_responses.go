package wire

//lint:file-ignore SA1019 Clients still read what Cerbos has deprecated.

import (
	"strconv"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	schemav1 "github.com/cerbos/cerbos/api/genpb/cerbos/schema/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Write returns m as JSON. m holds strings, effects and values that were read from JSON, or is the
// answer to a check or a plan.
func Write(m proto.Message) []byte {
	switch m := m.(type) {
	case *responsev1.CheckResourcesResponse:
		return writeCheckResources(m)
	case *responsev1.PlanResourcesResponse:
		return writePlanResources(m)
	}
	b, err := protojson.Marshal(m)
	if err != nil {
		panic("wire: " + err.Error())
	}
	return b
}

func writeCheckResources(m *responsev1.CheckResourcesResponse) []byte {
	w := &writer{b: make([]byte, 0, 128+256*len(m.Results))}
	w.open('{')
	w.optional("requestId", m.RequestId)
	if len(m.Results) > 0 {
		w.name("results")
		w.open('[')
		for _, r := range m.Results {
			w.comma()
			w.result(r)
		}
		w.close(']')
	}
	w.optional("cerbosCallId", m.CerbosCallId)
	w.close('}')
	return w.b
}

func (w *writer) result(r *responsev1.CheckResourcesResponse_ResultEntry) {
	w.open('{')
	w.name("resource")
	w.open('{')
	w.optional("id", r.Resource.Id)
	w.optional("kind", r.Resource.Kind)
	w.optional("policyVersion", r.Resource.PolicyVersion)
	w.optional("scope", r.Resource.Scope)
	w.close('}')
	if len(r.Actions) > 0 {
		w.name("actions")
		w.open('{')
		for _, a := range sorted(w, r.Actions) {
			w.name(a)
			w.effect(r.Actions[a])
		}
		w.close('}')
	}
	w.validationErrors(r.ValidationErrors)
	if m := r.Meta; m != nil {
		w.name("meta")
		w.open('{')
		if len(m.Actions) > 0 {
			w.name("actions")
			w.open('{')
			for _, a := range sorted(w, m.Actions) {
				w.name(a)
				w.open('{')
				w.optional("matchedPolicy", m.Actions[a].GetMatchedPolicy())
				w.optional("matchedScope", m.Actions[a].GetMatchedScope())
				w.close('}')
			}
			w.close('}')
		}
		w.strings("effectiveDerivedRoles", m.EffectiveDerivedRoles)
		w.close('}')
	}
	if len(r.Outputs) > 0 {
		w.name("outputs")
		w.open('[')
		for _, o := range r.Outputs {
			w.comma()
			w.open('{')
			w.optional("src", o.Src)
			if o.Val != nil {
				w.name("val")
				w.value(o.Val)
			}
			w.optional("action", o.Action)
			w.optional("error", o.Error)
			w.close('}')
		}
		w.close(']')
	}
	w.close('}')
}

func (w *writer) effect(e effectv1.Effect) {
	name, known := effectv1.Effect_name[int32(e)]
	if !known {
		w.b = strconv.AppendInt(w.b, int64(e), 10)
		return
	}
	w.b = append(append(append(w.b, '"'), name...), '"')
}

func (w *writer) validationErrors(list []*schemav1.ValidationError) {
	if len(list) == 0 {
		return
	}
	w.name("validationErrors")
	w.open('[')
	for _, e := range list {
		w.comma()
		w.open('{')
		w.optional("path", e.Path)
		w.optional("message", e.Message)
		if e.Source != schemav1.ValidationError_SOURCE_UNSPECIFIED {
			w.optional("source", e.Source.String())
		}
		w.close('}')
	}
	w.close(']')
}

func writePlanResources(m *responsev1.PlanResourcesResponse) []byte {
	w := &writer{b: make([]byte, 0, 512)}
	w.open('{')
	w.optional("requestId", m.RequestId)
	w.optional("action", m.Action) //nolint:staticcheck // still served
	w.optional("resourceKind", m.ResourceKind)
	w.optional("policyVersion", m.PolicyVersion)
	if f := m.Filter; f != nil {
		w.name("filter")
		w.open('{')
		if f.Kind != enginev1.PlanResourcesFilter_KIND_UNSPECIFIED {
			w.optional("kind", f.Kind.String())
		}
		if f.Condition != nil {
			w.name("condition")
			w.operand(f.Condition)
		}
		w.close('}')
	}
	if p := m.Meta; p != nil {
		w.name("meta")
		w.open('{')
		w.optional("filterDebug", p.FilterDebug)
		w.optional("matchedScope", p.MatchedScope) //nolint:staticcheck // still served
		if len(p.MatchedScopes) > 0 {
			w.name("matchedScopes")
			w.open('{')
			for _, a := range sorted(w, p.MatchedScopes) {
				w.name(a)
				w.b = appendString(w.b, p.MatchedScopes[a])
			}
			w.close('}')
		}
		w.close('}')
	}
	w.validationErrors(m.ValidationErrors)
	w.optional("cerbosCallId", m.CerbosCallId)
	w.strings("actions", m.Actions)
	w.close('}')
	return w.b
}

func (w *writer) operand(o *enginev1.PlanResourcesFilter_Expression_Operand) {
	w.open('{')
	switch n := o.Node.(type) {
	case *enginev1.PlanResourcesFilter_Expression_Operand_Value:
		w.name("value")
		w.value(n.Value)
	case *enginev1.PlanResourcesFilter_Expression_Operand_Variable:
		w.name("variable")
		w.b = appendString(w.b, n.Variable)
	case *enginev1.PlanResourcesFilter_Expression_Operand_Expression:
		w.name("expression")
		w.open('{')
		w.optional("operator", n.Expression.GetOperator())
		if len(n.Expression.GetOperands()) > 0 {
			w.name("operands")
			w.open('[')
			for _, x := range n.Expression.GetOperands() {
				w.comma()
				w.operand(x)
			}
			w.close(']')
		}
		w.close('}')
	}
	w.close('}')
}
