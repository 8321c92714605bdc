package pdp

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"math"
	"slices"
	"strconv"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	schemav1 "github.com/cerbos/cerbos/api/genpb/cerbos/schema/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// writer writes the JSON of the two answers that matter as protojson does: names in camel case,
// nothing that is unset, map keys sorted. One thing it does that protojson refuses to: a number
// that JSON has no form for, such as a policy's 0.0/0.0, is written as text ("NaN").
type writer struct {
	b     []byte
	first bool // of the object or list at hand: no comma yet
	keys  []string
}

func (w *writer) open(c byte) {
	w.b = append(w.b, c)
	w.first = true
}

func (w *writer) close(c byte) {
	w.b = append(w.b, c)
	w.first = false
}

func (w *writer) comma() {
	if !w.first {
		w.b = append(w.b, ',')
	}
	w.first = false
}

// name begins a member. It is one of ours, or a key of a map.
func (w *writer) name(s string) {
	w.comma()
	w.b = append(appendText(w.b, s), ':')
}

// member writes a member that is text, unless it is empty.
func (w *writer) member(name, s string) {
	if s != "" {
		w.name(name)
		w.b = appendText(w.b, s)
	}
}

func (w *writer) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	w.open('[')
	for _, s := range list {
		w.comma()
		w.b = appendText(w.b, s)
	}
	w.close(']')
}

// sorted returns the keys of a map in order. They are good until it is called again.
func sorted[V any](w *writer, m map[string]V) []string {
	keys := w.keys[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	w.keys = keys
	return keys
}

func writeCheckResources(m *responsev1.CheckResourcesResponse) []byte {
	w := &writer{b: make([]byte, 0, 128+256*len(m.Results))}
	w.open('{')
	w.member("requestId", m.RequestId)
	if len(m.Results) > 0 {
		w.name("results")
		w.open('[')
		for _, r := range m.Results {
			w.comma()
			w.result(r)
		}
		w.close(']')
	}
	w.member("cerbosCallId", m.CerbosCallId)
	w.close('}')
	return w.b
}

func (w *writer) result(r *responsev1.CheckResourcesResponse_ResultEntry) {
	w.open('{')
	w.name("resource")
	w.open('{')
	w.member("id", r.Resource.Id)
	w.member("kind", r.Resource.Kind)
	w.member("policyVersion", r.Resource.PolicyVersion)
	w.member("scope", r.Resource.Scope)
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
				w.member("matchedPolicy", m.Actions[a].GetMatchedPolicy())
				w.member("matchedScope", m.Actions[a].GetMatchedScope())
				w.close('}')
			}
			w.close('}')
		}
		w.texts("effectiveDerivedRoles", m.EffectiveDerivedRoles)
		w.close('}')
	}
	if len(r.Outputs) > 0 {
		w.name("outputs")
		w.open('[')
		for _, o := range r.Outputs {
			w.comma()
			w.open('{')
			w.member("src", o.Src)
			if o.Val != nil {
				w.name("val")
				w.value(o.Val)
			}
			w.member("action", o.Action)
			w.member("error", o.Error)
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
		w.member("path", e.Path)
		w.member("message", e.Message)
		if e.Source != schemav1.ValidationError_SOURCE_UNSPECIFIED {
			w.member("source", e.Source.String())
		}
		w.close('}')
	}
	w.close(']')
}

func writePlanResources(m *responsev1.PlanResourcesResponse) []byte {
	w := &writer{b: make([]byte, 0, 512)}
	w.open('{')
	w.member("requestId", m.RequestId)
	w.member("action", m.Action) //nolint:staticcheck // still served
	w.member("resourceKind", m.ResourceKind)
	w.member("policyVersion", m.PolicyVersion)
	if f := m.Filter; f != nil {
		w.name("filter")
		w.open('{')
		if f.Kind != enginev1.PlanResourcesFilter_KIND_UNSPECIFIED {
			w.member("kind", f.Kind.String())
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
		w.member("filterDebug", p.FilterDebug)
		w.member("matchedScope", p.MatchedScope) //nolint:staticcheck // still served
		if len(p.MatchedScopes) > 0 {
			w.name("matchedScopes")
			w.open('{')
			for _, a := range sorted(w, p.MatchedScopes) {
				w.name(a)
				w.b = appendText(w.b, p.MatchedScopes[a])
			}
			w.close('}')
		}
		w.close('}')
	}
	w.validationErrors(m.ValidationErrors)
	w.member("cerbosCallId", m.CerbosCallId)
	w.texts("actions", m.Actions)
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
		w.b = appendText(w.b, n.Variable)
	case *enginev1.PlanResourcesFilter_Expression_Operand_Expression:
		w.name("expression")
		w.open('{')
		w.member("operator", n.Expression.GetOperator())
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

func (w *writer) value(v *structpb.Value) {
	w.first = false
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		w.b = appendText(w.b, k.StringValue)
	case *structpb.Value_NumberValue:
		w.b = appendNumber(w.b, k.NumberValue)
	case *structpb.Value_BoolValue:
		w.b = strconv.AppendBool(w.b, k.BoolValue)
	case *structpb.Value_StructValue:
		w.open('{')
		fields := k.StructValue.GetFields()
		keys := make([]string, 0, len(fields))
		for name := range fields {
			keys = append(keys, name)
		}
		slices.Sort(keys)
		for _, name := range keys {
			w.name(name)
			w.value(fields[name])
		}
		w.close('}')
	case *structpb.Value_ListValue:
		w.open('[')
		for _, x := range k.ListValue.GetValues() {
			w.comma()
			w.value(x)
		}
		w.close(']')
	default:
		w.b = append(w.b, "null"...)
	}
}

// appendNumber writes a number as JavaScript and encoding/json do.
func appendNumber(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 to e-9
		b = b[:n-1]
	}
	return b
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
