package policy

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cerbos/cerbos-sdk-go/cerbos"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Faults of a remote engine.
var (
	ErrFleet         = fault.New(fault.Unavailable, "policy.engine_unavailable", "The policy engine does not answer. Try again in a moment.")
	ErrRemoteAuxData = fault.New(fault.Invalid, "policy.remote_aux_data", "This deployment asks a remote policy engine, which auxData does not reach. Leave it out.")
)

// remoteBatch is how many resources a Cerbos server takes at once by its default.
const remoteBatch = 50

// Remote is the engine that asks a fleet of Cerbos servers.
//
// A fleet has one set of policies for everybody, so a tenant's are those below the scope that is named by the
// tenant's id, and Gatehouse puts that scope before the one of a request: no caller can leave its tenant. What
// the fleet has in the root scope is above every tenant. The fleet's operator brings the policies there (exported
// revisions, moved below the scope): publishing here does not, and answers say revision 0.
//
// The reserved kinds are answered in this process all the same. A server's own settings (globals, schemas,
// default version) count instead of the tenant's.
type Remote struct {
	*InProcess
	fleet *cerbos.GRPCClient
}

// NewRemote returns the engine that asks the fleet at address, grpc://host:port or grpcs://host:port. It
// connects when it is first asked.
func NewRemote(local *InProcess, address *url.URL) (*Remote, error) {
	options := []cerbos.Opt{cerbos.WithUserAgent("gatehouse"), cerbos.WithConnectTimeout(5 * time.Second), cerbos.WithRetryTimeout(evaluationTime)}
	if address.Scheme == "grpc" {
		options = append(options, cerbos.WithPlaintext())
	}
	fleet, err := cerbos.New(address.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("policy engine %s: %w", address.Redacted(), err)
	}
	return &Remote{local, fleet.With(cerbos.IncludeMeta(true))}, nil
}

// Check implements Engine.
func (r *Remote) Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (Checked, error) {
	out := Checked{Outputs: make([]*enginev1.CheckOutput, len(in))}
	scope := tenantScope(c)
	for from := 0; from < len(in); {
		to := from + 1
		if Reserved(in[from].GetResource().GetKind()) {
			base, err := r.base()
			if err != nil {
				return Checked{}, err
			}
			part, err := answer(ctx, 0, base, in[from:to])
			if err != nil {
				return Checked{}, err
			}
			out.Outputs[from] = part.Outputs[0]
			from = to
			continue
		}
		for to < len(in) && to-from < remoteBatch && !Reserved(in[to].GetResource().GetKind()) && proto.Equal(in[to].GetPrincipal(), in[from].GetPrincipal()) {
			to++
		}
		if err := r.ask(ctx, scope, in[from:to], out.Outputs[from:to]); err != nil {
			return Checked{}, err
		}
		from = to
	}
	return out, nil
}

// ask puts inputs of one principal to the fleet.
func (r *Remote) ask(ctx context.Context, scope tenantScopeName, in []*enginev1.CheckInput, out []*enginev1.CheckOutput) error {
	batch := cerbos.NewResourceBatch()
	for _, input := range in {
		if input.GetAuxData() != nil {
			return ErrRemoteAuxData
		}
		resource := proto.CloneOf(input.GetResource())
		resource.Scope = scope.of(resource.GetScope())
		batch.Add(&cerbos.Resource{Obj: resource}, input.GetActions()...)
	}
	bounded, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	got, err := r.fleet.CheckResources(bounded, scope.principal(in[0].GetPrincipal()), batch)
	if err != nil {
		return unanswered(err)
	}
	if len(got.GetResults()) != len(in) {
		return ErrFleet.Because(fmt.Errorf("%d answers to %d questions", len(got.GetResults()), len(in)))
	}
	for i, entry := range got.GetResults() {
		if entry.GetResource().GetId() != in[i].GetResource().GetId() {
			return ErrFleet.Because(fmt.Errorf("the answer to another question"))
		}
		out[i] = scope.output(in[i], entry)
	}
	return nil
}

// unanswered is ErrFleet with err for the log alone: a status of the fleet's, which names its addresses, is
// none that a door may answer with, nor is the end of our own patience the end of the caller's.
func unanswered(err error) error { return ErrFleet.Because(errors.New(err.Error())) }

// Plan implements Engine.
func (r *Remote) Plan(ctx context.Context, c caller.Caller, in *enginev1.PlanResourcesInput) (Planned, error) {
	if Reserved(in.GetResource().GetKind()) {
		base, err := r.base()
		if err != nil {
			return Planned{}, err
		}
		output, err := base.Plan(ctx, in)
		return Planned{0, output}, err
	}
	if in.GetAuxData() != nil {
		return Planned{}, ErrRemoteAuxData
	}
	scope := tenantScope(c)
	resource := &enginev1.Resource{
		Kind: in.GetResource().GetKind(), Attr: in.GetResource().GetAttr(),
		PolicyVersion: in.GetResource().GetPolicyVersion(), Scope: scope.of(in.GetResource().GetScope()),
	}
	bounded, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	got, err := r.fleet.PlanResources(bounded, scope.principal(in.GetPrincipal()), &cerbos.Resource{Obj: resource}, in.GetActions()...)
	if err != nil {
		return Planned{}, unanswered(err)
	}
	matched := map[string]string{}
	for action, s := range got.GetMeta().GetMatchedScopes() {
		matched[action] = scope.without(s)
	}
	return Planned{Output: &enginev1.PlanResourcesOutput{
		RequestId: in.GetRequestId(), Action: in.GetAction(), Actions: in.GetActions(),
		Kind: in.GetResource().GetKind(), PolicyVersion: in.GetResource().GetPolicyVersion(), Scope: in.GetResource().GetScope(),
		Filter: got.GetFilter(), FilterDebug: got.GetMeta().GetFilterDebug(), MatchedScopes: matched, ValidationErrors: got.GetValidationErrors(),
	}}, nil
}

// tenantScopeName is the scope on the fleet above all of a tenant's.
type tenantScopeName string

func tenantScope(c caller.Caller) tenantScopeName { return tenantScopeName(c.Tenant.String()) }

// of returns the fleet's scope for one of the tenant's.
func (t tenantScopeName) of(scope string) string {
	if scope == "" || scope == "." {
		return string(t)
	}
	return string(t) + "." + strings.TrimPrefix(scope, ".")
}

// without is the way back. The root scope of the fleet, which is above the tenant's, looks like it.
func (t tenantScopeName) without(scope string) string {
	return strings.TrimPrefix(strings.TrimPrefix(scope, string(t)), ".")
}

// policy takes the tenant's scope out of a policy's name, such as resource.doc.vdefault/{tenant}.acme.
func (t tenantScopeName) policy(name string) string {
	before, scope, scoped := strings.Cut(name, "/")
	if scope = t.without(scope); !scoped || scope == "" {
		return before
	}
	return before + "/" + scope
}

func (t tenantScopeName) principal(p *enginev1.Principal) *cerbos.Principal {
	p = proto.CloneOf(p)
	p.Scope = t.of(p.GetScope())
	return &cerbos.Principal{Obj: p}
}

func (t tenantScopeName) output(in *enginev1.CheckInput, entry *responsev1.CheckResourcesResponse_ResultEntry) *enginev1.CheckOutput {
	out := &enginev1.CheckOutput{
		RequestId: in.GetRequestId(), ResourceId: in.GetResource().GetId(), Actions: map[string]*enginev1.CheckOutput_ActionEffect{},
		EffectiveDerivedRoles: entry.GetMeta().GetEffectiveDerivedRoles(), ValidationErrors: entry.GetValidationErrors(), Outputs: entry.GetOutputs(),
	}
	for _, o := range out.Outputs { // resource.doc.vdefault/{tenant}.acme#rule
		if policy, rule, named := strings.Cut(o.GetSrc(), "#"); named {
			o.Src = t.policy(policy) + "#" + rule
		}
	}
	for action, effect := range entry.GetActions() {
		meta := entry.GetMeta().GetActions()[action]
		out.Actions[action] = &enginev1.CheckOutput_ActionEffect{Effect: effect, Policy: t.policy(meta.GetMatchedPolicy()), Scope: t.without(meta.GetMatchedScope())}
	}
	return out
}
