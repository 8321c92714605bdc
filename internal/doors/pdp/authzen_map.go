package pdp

import (
	"context"
	"fmt"
	"strings"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// How AuthZEN maps to Cerbos, as in a Cerbos server:
//
//   - A subject is a principal, and its properties are attributes. Its type is its role, unless the
//     property cerbos.roles lists roles.
//   - A resource is a resource, and its properties are attributes.
//   - The properties cerbos.policyVersion and cerbos.scope are the fields of that name.
//   - The context has cerbos.requestId, cerbos.auxData and cerbos.includeMeta.
//
// A Cerbos server ignores the rest of the context and the properties of the action. Here conditions
// read them as R.attr.authzen.context and R.attr.authzen.action.

// cerbosText returns the string member cerbos.name, or "".
func cerbosText(m map[string]*structpb.Value, name string) string {
	return m["cerbos."+name].GetStringValue()
}

func resourceOf(r *authzenv1.Resource, action *authzenv1.Action,
	context map[string]*structpb.Value) *enginev1.Resource {
	out := &enginev1.Resource{
		Kind: r.Type, Id: r.Id, Attr: r.Properties,
		PolicyVersion: cerbosText(r.Properties, "policyVersion"), Scope: cerbosText(r.Properties, "scope"),
	}
	own := map[string]*structpb.Value{}
	for name, v := range context {
		if !strings.HasPrefix(name, "cerbos.") && !strings.HasPrefix(name, "gatehouse.") {
			own[name] = v
		}
	}
	asked := map[string]*structpb.Value{}
	if len(own) > 0 {
		asked["context"] = structpb.NewStructValue(&structpb.Struct{Fields: own})
	}
	if properties := action.GetProperties(); len(properties) > 0 {
		asked["action"] = structpb.NewStructValue(&structpb.Struct{Fields: properties})
	}
	if len(asked) > 0 {
		attr := map[string]*structpb.Value{authzenAttr: structpb.NewStructValue(&structpb.Struct{Fields: asked})}
		for name, v := range r.Properties {
			if name != authzenAttr {
				attr[name] = v
			}
		}
		out.Attr = attr
	}
	return out
}

// authzenAttr is the attribute of the resource that has what AuthZEN says beside it.
const authzenAttr = "authzen"

func principalOf(s *authzenv1.Subject) *enginev1.Principal {
	p := &enginev1.Principal{
		Id: s.Id, Attr: s.Properties,
		PolicyVersion: cerbosText(s.Properties, "policyVersion"), Scope: cerbosText(s.Properties, "scope"),
	}
	for _, v := range s.Properties["cerbos.roles"].GetListValue().GetValues() {
		if r := v.GetStringValue(); r != "" {
			p.Roles = append(p.Roles, r)
		}
	}
	if len(p.Roles) == 0 {
		p.Roles = []string{s.Type}
	}
	return p
}

// subject returns the subject of a request. If the request names none, it is the user of the token.
func (a *requester) subject(s *authzenv1.Subject) *authzenv1.Subject {
	if s == nil && !a.token.User.IsZero() {
		return &authzenv1.Subject{Type: userType, Id: a.token.User.String()}
	}
	return s
}

// metaOf returns the context of an answer: Cerbos' answer to the same question.
func metaOf(call id.ID, in *enginev1.CheckInput, out *enginev1.CheckOutput) map[string]*structpb.Value {
	resp := results(in.RequestId, call.String(), []*enginev1.CheckInput{in}, []*enginev1.CheckOutput{out}, true)
	v := &structpb.Value{}
	if err := v.UnmarshalJSON(wire.Write(resp)); err != nil {
		panic(fmt.Sprintf("pdp: an answer of ours cannot be read: %v", err))
	}
	return map[string]*structpb.Value{"cerbos.response": v}
}

// auxData verifies cerbos.auxData of a context, which is {"jwt": {"token", "keySetId"}} or
// {"jwts": {name: {…}}}.
func (s authzenService) auxData(
	ctx context.Context, a *requester, context map[string]*structpb.Value,
) (*enginev1.AuxData, error) {
	v, ok := context["cerbos.auxData"]
	if !ok {
		return nil, nil
	}
	fields := v.GetStructValue().GetFields()
	in := &requestv1.AuxData{}
	if j := fields["jwt"]; j != nil {
		in.Jwt = auxJWT(j)
	}
	for name, j := range fields["jwts"].GetStructValue().GetFields() {
		if in.Jwts == nil {
			in.Jwts = map[string]*requestv1.AuxData_JWT{}
		}
		in.Jwts[name] = auxJWT(j)
	}
	return s.d.Engine.AuxData(ctx, a.caller, in)
}

func auxJWT(v *structpb.Value) *requestv1.AuxData_JWT {
	f := v.GetStructValue().GetFields()
	keySet := f["key_set_id"]
	if keySet == nil {
		keySet = f["keySetId"]
	}
	return &requestv1.AuxData_JWT{Token: f["token"].GetStringValue(), KeySetId: keySet.GetStringValue()}
}
