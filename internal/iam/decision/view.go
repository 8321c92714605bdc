package decision

import (
	"maps"
	"slices"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// View is a decision as the API shows it. Its names are Cerbos' own if Cerbos has one.
type View struct {
	ID              id.ID         `json:"id" format:"uuid" doc:"The call id of the answer (cerbosCallId)."`
	At              time.Time     `json:"at"`
	Kind            string        `json:"kind" enum:"check,plan,evaluation,signin,admin"`
	Actor           ActorView     `json:"actor" doc:"The actor that sent the request."`
	ApplicationID   string        `json:"application_id,omitempty" doc:"The application that sent the request, or through which a user did."`
	RequestID       string        `json:"request_id,omitempty" doc:"Ties the record to the answer and the server's log."`
	CallerRequestID string        `json:"caller_request_id,omitempty" doc:"The requestId of the body."`
	Revision        int64         `json:"revision" doc:"The policy revision that answered; 0 is the base policies alone."`
	TookMicros      int64         `json:"took_us" doc:"How long the answer took, in microseconds."`
	PrincipalMode   string        `json:"principal_mode,omitempty" enum:"asserted,directory"`
	Reason          string        `json:"reason,omitempty" doc:"Why everything was denied without asking a policy." example:"principal.suspended"`
	Principal       PrincipalView `json:"principal" doc:"The principal of the request. If there are several it is the first, and each result has its own."`
	Results         []ResultView  `json:"results" doc:"One per resource; in a list, only those that the filter matches."`
	Plan            *PlanView     `json:"plan,omitempty"`
	AuxData         any           `json:"aux_data,omitempty" doc:"The claims of the request's JWT; only when one decision is fetched."`
	Redacted        []string      `json:"redacted,omitempty" doc:"The redaction rules that removed a value. Policies that read it cannot be explained or replayed exactly."`
	Hidden          bool          `json:"hidden,omitempty" doc:"Values of the directory are left out: attributes of people need user.read, their roles role.read."`
	Oversized       bool          `json:"oversized,omitempty" doc:"The input was too large to keep: it has no attributes."`
}

// ActorView is the actor that sent the request.
type ActorView struct {
	Kind     string `json:"kind" enum:"anonymous,user,application,system"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	TenantID string `json:"tenant_id,omitempty" doc:"The actor's own tenant, if it is another one."`
}

// PrincipalView is the principal of the request.
type PrincipalView struct {
	ID            string         `json:"id"`
	Roles         []string       `json:"roles"`
	PolicyVersion string         `json:"policy_version,omitempty"`
	Scope         string         `json:"scope,omitempty"`
	Attr          map[string]any `json:"attr,omitempty" doc:"Only when one decision is fetched."`
}

// ResourceView is a resource of the request.
type ResourceView struct {
	Kind          string         `json:"kind"`
	ID            string         `json:"id,omitempty"`
	PolicyVersion string         `json:"policy_version,omitempty"`
	Scope         string         `json:"scope,omitempty"`
	Attr          map[string]any `json:"attr,omitempty" doc:"Only when one decision is fetched."`
}

// ResultView is the answer about one resource.
type ResultView struct {
	Index                 int            `json:"index" doc:"The index of the resource in the request, from 0."`
	Principal             *PrincipalView `json:"principal,omitempty" doc:"If the request was about several principals."`
	Resource              ResourceView   `json:"resource"`
	Actions               []ActionView   `json:"actions"`
	EffectiveDerivedRoles []string       `json:"effective_derived_roles,omitempty"`
}

// ActionView is the answer about one action.
type ActionView struct {
	Action string `json:"action"`
	Effect string `json:"effect" enum:"EFFECT_ALLOW,EFFECT_DENY"`
	Policy string `json:"policy,omitempty" doc:"The policy that decided." example:"resource.document.vdefault"`
	Scope  string `json:"scope,omitempty" doc:"The scope of that policy."`
}

// PlanView is the request and the answer of a plan.
type PlanView struct {
	Actions  []string     `json:"actions"`
	Resource ResourceView `json:"resource"`
	Filter   string       `json:"filter" enum:"KIND_UNSPECIFIED,KIND_ALWAYS_ALLOWED,KIND_ALWAYS_DENIED,KIND_CONDITIONAL"`
}

// listed returns the view for a list, without attributes.
func listed(r Record) View { return r.view(false) }

func (r *Record) view(attributes bool) View {
	v := View{
		ID: r.ID, At: r.At, Kind: string(r.Kind), RequestID: r.RequestID, Revision: r.Revision,
		TookMicros: r.Took.Microseconds(),
		Actor: ActorView{Kind: string(r.Actor.Kind), ID: r.Actor.ID.String(), Name: r.Actor.Name,
			TenantID: r.Actor.Tenant.String()},
		ApplicationID: askedBy(r.Actor).String(), PrincipalMode: string(r.Mode), Reason: r.Reason,
		Hidden: r.Hidden, Oversized: r.Oversized, Results: []ResultView{},
	}
	for _, m := range r.Redacted {
		if !slices.Contains(v.Redacted, m.Path) {
			v.Redacted = append(v.Redacted, m.Path)
		}
	}
	v.Principal = principalView(r.principal(), attributes)
	if in := r.PlanInput; in != nil {
		res := in.GetResource()
		v.CallerRequestID = in.GetRequestId()
		v.Plan = &PlanView{Actions: planActions(in), Filter: r.PlanOutput.GetFilter().GetKind().String(),
			Resource: ResourceView{Kind: res.GetKind(), PolicyVersion: res.GetPolicyVersion(), Scope: res.GetScope(),
				Attr: attributesView(res.GetAttr(), attributes)}}
		v.AuxData = auxView(attributes, in.GetAuxData())
	}
	for i, in := range r.Inputs {
		v.CallerRequestID = in.GetRequestId()
		if r.shown != nil && !slices.Contains(r.shown, i) {
			continue
		}
		v.Results = append(v.Results, r.result(i, in, attributes))
		v.AuxData = auxView(attributes, in.GetAuxData())
	}
	return v
}

// result returns the view of one input and its answer.
func (r *Record) result(i int, in *enginev1.CheckInput, attributes bool) ResultView {
	res := in.GetResource()
	out := ResultView{Index: i, Actions: []ActionView{},
		Resource: ResourceView{Kind: res.GetKind(), ID: res.GetId(), PolicyVersion: res.GetPolicyVersion(),
			Scope: res.GetScope(), Attr: attributesView(res.GetAttr(), attributes)}}
	if r.PlanInput == nil && r.principalKey() == several {
		p := principalView(in.GetPrincipal(), attributes)
		out.Principal = &p
	}
	effects := r.effectsOf(i)
	for _, action := range slices.Sorted(maps.Keys(effects)) {
		e := effects[action]
		out.Actions = append(out.Actions,
			ActionView{Action: action, Effect: e.GetEffect().String(), Policy: e.GetPolicy(), Scope: e.GetScope()})
	}
	if i < len(r.Outputs) {
		out.EffectiveDerivedRoles = r.Outputs[i].GetEffectiveDerivedRoles()
	}
	return out
}

func principalView(p *enginev1.Principal, attributes bool) PrincipalView {
	return PrincipalView{ID: p.GetId(), Roles: append([]string{}, p.GetRoles()...),
		PolicyVersion: p.GetPolicyVersion(), Scope: p.GetScope(), Attr: attributesView(p.GetAttr(), attributes)}
}

func attributesView(a map[string]*structpb.Value, shown bool) map[string]any {
	if !shown || len(a) == 0 {
		return nil
	}
	return (&structpb.Struct{Fields: a}).AsMap()
}

func auxView(attributes bool, a *enginev1.AuxData) any {
	if !attributes || a == nil {
		return nil
	}
	out := map[string]any{}
	if len(a.GetJwt()) > 0 {
		out["jwt"] = (&structpb.Struct{Fields: a.GetJwt()}).AsMap()
	}
	if len(a.GetJwts()) > 0 {
		jwts := map[string]any{}
		for name, jwt := range a.GetJwts() {
			jwts[name] = (&structpb.Struct{Fields: jwt.GetClaims()}).AsMap()
		}
		out["jwts"] = jwts
	}
	return out
}
