package decision

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// How a rule changes the value at its path.
const (
	Drop = "drop" // the value is not stored
	Hash = "hash" // a keyed hash is stored: it shows which values are equal, and nothing else
)

// Rule names a value of an input that is not stored as it is.
type Rule struct {
	Path string `json:"path" minLength:"1" maxLength:"500" example:"principal.attr.email" doc:"principal.attr.…, resource.attr.… or auxData.jwt.…, down to the attribute. A * matches every name, \\. is a dot in a name. The rule applies to all elements of a list."`
	How  string `json:"how" enum:"drop,hash" doc:"drop omits the value; hash stores a keyed hash of it, which is equal for equal values."`
}

// The parts of an input that have attributes.
const (
	ofPrincipal = "principal.attr"
	ofResource  = "resource.attr"
	ofAuxData   = "auxData.jwt"
)

// rule is a parsed Rule.
type rule struct {
	Rule
	part  string
	names []string // never empty
}

func compile(rules []Rule) ([]rule, error) {
	out := make([]rule, 0, len(rules))
	for _, r := range rules {
		c, err := r.compile()
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (r Rule) compile() (rule, error) {
	if r.How != Drop && r.How != Hash {
		//lint:ignore ST1005 The sentence is shown as it is.
		return rule{}, errors.New("How must be drop or hash.")
	}
	for _, part := range []string{ofPrincipal, ofResource, ofAuxData} {
		rest, ok := strings.CutPrefix(r.Path, part+".")
		if !ok {
			continue
		}
		names := splitPath(rest)
		if len(r.Path) > 500 || len(names) > 20 || slices.Contains(names, "") {
			break
		}
		return rule{r, part, names}, nil
	}
	//lint:ignore ST1005 The sentence is shown as it is.
	return rule{}, errors.New(
		"A path begins with principal.attr, resource.attr or auxData.jwt and goes down to an attribute, such as " +
			"principal.attr.email or resource.attr.owner.*.")
}

// splitPath splits at dots that do not follow a backslash.
func splitPath(s string) []string {
	var names []string
	var name strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			name.WriteByte(s[i])
		case s[i] == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(s[i])
		}
	}
	return append(names, name.String())
}

// redact applies the rules to r, in copies because messages are shared. hash returns the text that
// replaces a hashed value.
func (r *Record) redact(rules []rule, hash func([]byte) string) {
	if len(rules) == 0 {
		return
	}
	x := redactor{rules: rules, hash: hash, marks: map[Mark]bool{}}
	if r.PlanInput != nil {
		in := shallowPlan(r.PlanInput)
		in.Principal, in.AuxData = x.principal(in.Principal), x.auxData(in.AuxData)
		if in.Resource != nil {
			in.Resource = &enginev1.PlanResourcesInput_Resource{Kind: in.Resource.Kind,
				PolicyVersion: in.Resource.PolicyVersion, Scope: in.Resource.Scope,
				Attr: x.attr(ofResource, 0, in.Resource.Attr)}
		}
		r.PlanInput = in
	}
	if r.PlanOutput != nil && len(x.marks) > 0 { // a condition can repeat attributes of the principal
		r.withoutCondition()
	}
	r.Inputs = slices.Clone(r.Inputs)
	var shared, sharedAs *enginev1.CheckInput
	for i, in := range r.Inputs {
		out := &enginev1.CheckInput{RequestId: in.GetRequestId(), Resource: in.GetResource(),
			Principal: in.GetPrincipal(), Actions: in.GetActions(), AuxData: in.GetAuxData()}
		if shared != nil && shared.Principal == in.Principal && shared.AuxData == in.AuxData {
			out.Principal, out.AuxData = sharedAs.Principal, sharedAs.AuxData
		} else {
			out.Principal, out.AuxData = x.principal(in.GetPrincipal()), x.auxData(in.GetAuxData())
			shared, sharedAs = in, out
		}
		if res := in.GetResource(); res != nil {
			out.Resource = &enginev1.Resource{Kind: res.Kind, PolicyVersion: res.PolicyVersion, Id: res.Id,
				Scope: res.Scope, Attr: x.attr(ofResource, i, res.Attr)}
		}
		r.Inputs[i] = out
	}
	r.Redacted = slices.SortedFunc(maps.Keys(x.marks), func(a, b Mark) int {
		if a.Input != b.Input {
			return a.Input - b.Input
		}
		return strings.Compare(a.Path, b.Path)
	})
}

// withoutCondition removes all but the kind from the answer of a plan.
func (r *Record) withoutCondition() {
	r.PlanOutput = &enginev1.PlanResourcesOutput{
		Filter: &enginev1.PlanResourcesFilter{Kind: r.PlanOutput.GetFilter().GetKind()}}
}

func shallowPlan(in *enginev1.PlanResourcesInput) *enginev1.PlanResourcesInput {
	//nolint:staticcheck // older clients send action
	return &enginev1.PlanResourcesInput{RequestId: in.RequestId, Action: in.Action, Actions: in.Actions,
		Principal: in.Principal, Resource: in.Resource, AuxData: in.AuxData}
}

type redactor struct {
	rules []rule
	hash  func([]byte) string
	marks map[Mark]bool
}

func (x *redactor) principal(p *enginev1.Principal) *enginev1.Principal {
	if p == nil {
		return nil
	}
	return &enginev1.Principal{Id: p.Id, PolicyVersion: p.PolicyVersion, Roles: p.Roles, Scope: p.Scope,
		Attr: x.attr(ofPrincipal, -1, p.Attr)}
}

func (x *redactor) auxData(a *enginev1.AuxData) *enginev1.AuxData {
	if a == nil {
		return nil
	}
	out := &enginev1.AuxData{Jwt: x.attr(ofAuxData, -1, a.Jwt)}
	for name, jwt := range a.Jwts {
		if out.Jwts == nil {
			out.Jwts = make(map[string]*enginev1.AuxData_JWT, len(a.Jwts))
		}
		out.Jwts[name] = &enginev1.AuxData_JWT{Claims: x.attr(ofAuxData, -1, jwt.GetClaims())}
	}
	return out
}

// attr applies every rule about the part to its attributes.
func (x *redactor) attr(part string, input int, attr map[string]*structpb.Value) map[string]*structpb.Value {
	for _, r := range x.rules {
		if r.part != part {
			continue
		}
		if changed, hit := x.fields(attr, r.names, r.How); hit {
			attr = changed
			x.marks[Mark{input, r.Path}] = true
		}
	}
	return attr
}

// fields returns attr without the value at path, and whether it was there.
func (x *redactor) fields(attr map[string]*structpb.Value, path []string, how string) (map[string]*structpb.Value,
	bool) {
	names := []string{path[0]}
	if path[0] == "*" {
		names = slices.Collect(maps.Keys(attr))
	}
	var out map[string]*structpb.Value
	for _, name := range names {
		v, ok := attr[name]
		if !ok {
			continue
		}
		if len(path) > 1 {
			if v, ok = x.value(v, path[1:], how); !ok {
				continue
			}
		} else {
			v = x.instead(v, how)
		}
		if out == nil {
			out = maps.Clone(attr)
		}
		if v == nil {
			delete(out, name)
		} else {
			out[name] = v
		}
	}
	return out, out != nil
}

// value is fields for a value that may be a map, or a list of maps.
func (x *redactor) value(v *structpb.Value, path []string, how string) (*structpb.Value, bool) {
	switch v.GetKind().(type) {
	case *structpb.Value_StructValue:
		if fields, hit := x.fields(v.GetStructValue().GetFields(), path, how); hit {
			return structpb.NewStructValue(&structpb.Struct{Fields: fields}), true
		}
	case *structpb.Value_ListValue:
		var out []*structpb.Value
		for i, e := range v.GetListValue().GetValues() {
			if changed, hit := x.value(e, path, how); hit {
				if out == nil {
					out = slices.Clone(v.GetListValue().GetValues())
				}
				out[i] = changed
			}
		}
		if out != nil {
			return structpb.NewListValue(&structpb.ListValue{Values: out}), true
		}
	}
	return v, false
}

// instead returns the value to store in place of v; nil for none.
func (x *redactor) instead(v *structpb.Value, how string) *structpb.Value {
	if how == Drop {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
	if err != nil {
		return nil
	}
	return structpb.NewStringValue(x.hash(b))
}

// strip removes all attributes of an input that is too large.
func (r *Record) strip() {
	r.Oversized = true
	bare := []rule{
		{Rule{Path: ofPrincipal + ".*", How: Drop}, ofPrincipal, []string{"*"}},
		{Rule{Path: ofResource + ".*", How: Drop}, ofResource, []string{"*"}},
		{Rule{Path: ofAuxData + ".*", How: Drop}, ofAuxData, []string{"*"}},
	}
	r.redact(bare, nil)
	if r.PlanOutput != nil {
		r.withoutCondition()
	}
	r.Redacted = nil // their paths may be too large themselves
}

// hashText is the form of a hash in a record.
func hashText(keyID string, sum [32]byte) string {
	return "hash:" + keyID + ":" + base64.RawURLEncoding.EncodeToString(sum[:16])
}
