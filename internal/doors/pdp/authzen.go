package pdp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Paths of AuthZEN 1.0 (§10.1) below a tenant's base.
const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
)

// Values of evaluations_semantic (§7.1.2.1).
const (
	executeAll          = "execute_all"
	denyOnFirstDeny     = "deny_on_first_deny"
	permitOnFirstPermit = "permit_on_first_permit"
)

// maxEvaluations bounds a request of evaluations as a Cerbos server does.
const maxEvaluations = maxResources * maxActions

// authzenService is the AuthZEN API, mapped to Cerbos' as a Cerbos server maps it: a subject is
// a principal with its properties as attributes, its type as its role unless the property
// cerbos.roles lists them; a resource likewise; cerbos.policyVersion and cerbos.scope are
// properties; cerbos.requestId, cerbos.auxData and cerbos.includeMeta are in the context.
type authzenService struct {
	authzenv1.UnimplementedAuthorizationServiceServer
	d *Door
}

// AccessEvaluation implements authzenv1.AuthorizationServiceServer.
func (s authzenService) AccessEvaluation(ctx context.Context, m *authzenv1.AccessEvaluationRequest) (*authzenv1.AccessEvaluationResponse, error) {
	var sc scan
	sc.evaluation(m.Subject, m.Resource, m.Action, m.Context)
	return called(ctx, &sc, m, s.evaluate)
}

// AccessEvaluationBatch implements authzenv1.AuthorizationServiceServer.
func (s authzenService) AccessEvaluationBatch(ctx context.Context, m *authzenv1.AccessEvaluationBatchRequest) (*authzenv1.AccessEvaluationBatchResponse, error) {
	var sc scan
	sc.evaluation(m.Subject, m.Resource, m.Action, m.Context)
	for _, e := range m.Evaluations {
		sc.evaluation(e.GetSubject(), e.GetResource(), e.GetAction(), e.GetContext())
	}
	return called(ctx, &sc, m, s.evaluateBatch)
}

// Metadata implements authzenv1.AuthorizationServiceServer.
func (s authzenService) Metadata(ctx context.Context, _ *authzenv1.MetadataRequest) (*authzenv1.MetadataResponse, error) {
	return metadataOf(askerOf(ctx).base), nil
}

func (s *scan) evaluation(subject *authzenv1.Subject, resource *authzenv1.Resource, action *authzenv1.Action, context map[string]*structpb.Value) {
	s.text(subject.GetType(), subject.GetId(), resource.GetType(), resource.GetId(), action.GetName())
	for _, fields := range []map[string]*structpb.Value{subject.GetProperties(), resource.GetProperties(), action.GetProperties(), context} {
		s.fields(fields)
	}
}

// evaluate answers one evaluation (§6).
func (s authzenService) evaluate(ctx context.Context, a *asker, m *authzenv1.AccessEvaluationRequest, size int) (*authzenv1.AccessEvaluationResponse, error) {
	m.Subject = a.subject(m.Subject)
	if !goodSubject(m.Subject) || !goodObject(m.Resource) || !goodAction(m.Action) || !goodKeys(m.Context) {
		if err := violations(m); err != nil {
			return nil, err
		}
	}
	asked := []evaluation{{m.Subject, m.Resource, m.Action, m.Context, nil}}
	aux, err := s.auxData(ctx, a, m.Context)
	if err != nil {
		return nil, err
	}
	asked[0].aux = aux
	decided, err := s.decide(ctx, a, asked, size)
	if err != nil {
		return nil, err
	}
	return decided[0], nil
}

// evaluateAll is evaluateBatch over HTTP. Without evaluations it answers the request as a single
// evaluation (§7.1).
func (s authzenService) evaluateAll(ctx context.Context, a *asker, m *authzenv1.AccessEvaluationBatchRequest, size int) (proto.Message, error) {
	if len(m.Evaluations) > 0 {
		return s.evaluateBatch(ctx, a, m, size)
	}
	one := &authzenv1.AccessEvaluationRequest{Subject: m.Subject, Resource: m.Resource, Action: m.Action, Context: m.Context}
	return s.evaluate(ctx, a, one, size)
}

// evaluateBatch answers evaluations in their order (§7). What one does not say is the request's own.
func (s authzenService) evaluateBatch(ctx context.Context, a *asker, m *authzenv1.AccessEvaluationBatchRequest, size int) (*authzenv1.AccessEvaluationBatchResponse, error) {
	m.Subject = a.subject(m.Subject)
	if !goodEvaluations(m) {
		if err := violations(m); err != nil {
			return nil, err
		}
	}
	if n := len(m.Evaluations); n > maxEvaluations {
		return nil, invalid("number of evaluations (%d) exceeds configured limit (%d)", n, maxEvaluations)
	}
	shared, err := s.auxData(ctx, a, m.Context)
	if err != nil {
		return nil, err
	}
	asked := make([]evaluation, len(m.Evaluations))
	for i, e := range m.Evaluations {
		asked[i] = evaluation{or(e.Subject, m.Subject), or(e.Resource, m.Resource), or(e.Action, m.Action), m.Context, shared}
		if len(e.Context) > 0 {
			asked[i].context = e.Context
			if asked[i].aux, err = s.auxData(ctx, a, e.Context); err != nil {
				return nil, err
			}
		}
	}
	decided, err := s.decide(ctx, a, asked, size)
	if err != nil {
		return nil, err
	}
	// All were asked, which costs less than one after the other; the first to decide ends the list.
	if semantic := m.GetOptions().GetEvaluationsSemantic(); semantic == denyOnFirstDeny || semantic == permitOnFirstPermit {
		for i, r := range decided {
			if r.GetDecision() == (semantic == permitOnFirstPermit) {
				decided = decided[:i+1]
				break
			}
		}
	}
	return &authzenv1.AccessEvaluationBatchResponse{Evaluations: decided}, nil
}

func or[T any](own, shared *T) *T {
	if own != nil {
		return own
	}
	return shared
}

// evaluation is one question, complete.
type evaluation struct {
	subject  *authzenv1.Subject
	resource *authzenv1.Resource
	action   *authzenv1.Action
	context  map[string]*structpb.Value
	aux      *enginev1.AuxData // of the context
}

// subject is the subject of a request; of one by a user's token that names none, that user.
func (a *asker) subject(s *authzenv1.Subject) *authzenv1.Subject {
	if s == nil && !a.token.User.IsZero() {
		return &authzenv1.Subject{Type: "user", Id: a.token.User.String()}
	}
	return s
}

// decide answers evaluations in one check.
func (s authzenService) decide(ctx context.Context, a *asker, asked []evaluation, size int) ([]*authzenv1.AccessEvaluationResponse, error) {
	inputs := make([]*enginev1.CheckInput, len(asked))
	principals := map[*authzenv1.Subject]*enginev1.Principal{}
	for i, e := range asked {
		p, ok := principals[e.subject]
		if !ok {
			p = principalOf(e.subject)
			principals[e.subject] = p
		}
		inputs[i] = &enginev1.CheckInput{
			RequestId: textOf(e.context, "requestId"), Actions: []string{e.action.Name}, Principal: p, AuxData: e.aux,
			Resource: resourceOf(e.resource),
		}
	}
	call, outputs, err := s.d.check(ctx, a, decision.Evaluation, inputs, size)
	if err != nil {
		return nil, err
	}
	decided := make([]*authzenv1.AccessEvaluationResponse, len(asked))
	for i, out := range outputs {
		allowed := out.Actions[asked[i].action.Name].GetEffect() == effectv1.Effect_EFFECT_ALLOW
		decided[i] = &authzenv1.AccessEvaluationResponse{Decision: &allowed}
		if asked[i].context["cerbos.includeMeta"].GetBoolValue() {
			decided[i].Context = metaOf(call, inputs[i], out)
		}
	}
	return decided, nil
}

// metaOf is an answer's context where the request wanted one: Cerbos' answer to the same question.
func metaOf(call id.ID, in *enginev1.CheckInput, out *enginev1.CheckOutput) map[string]*structpb.Value {
	text := wire.Write(results(in.RequestId, call.String(), []*enginev1.CheckInput{in}, []*enginev1.CheckOutput{out}, true))
	v := &structpb.Value{}
	if err := v.UnmarshalJSON(text); err != nil {
		panic(fmt.Sprintf("pdp: an answer of ours cannot be read: %v", err))
	}
	return map[string]*structpb.Value{"cerbos.response": v}
}

func textOf(m map[string]*structpb.Value, name string) string {
	return m["cerbos."+name].GetStringValue()
}

func resourceOf(r *authzenv1.Resource) *enginev1.Resource {
	return &enginev1.Resource{Kind: r.Type, Id: r.Id, Attr: r.Properties, PolicyVersion: textOf(r.Properties, "policyVersion"), Scope: textOf(r.Properties, "scope")}
}

func principalOf(s *authzenv1.Subject) *enginev1.Principal {
	p := &enginev1.Principal{Id: s.Id, Attr: s.Properties, PolicyVersion: textOf(s.Properties, "policyVersion"), Scope: textOf(s.Properties, "scope")}
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

// auxData reads cerbos.auxData of a context: {"jwt": {"token", "keySetId"}} or {"jwts": {name: {…}}}.
func (s authzenService) auxData(ctx context.Context, a *asker, context map[string]*structpb.Value) (*enginev1.AuxData, error) {
	v, ok := context["cerbos.auxData"]
	if !ok {
		return nil, nil
	}
	token := func(v *structpb.Value) *requestv1.AuxData_JWT {
		f := v.GetStructValue().GetFields()
		set := f["key_set_id"]
		if set == nil {
			set = f["keySetId"]
		}
		return &requestv1.AuxData_JWT{Token: f["token"].GetStringValue(), KeySetId: set.GetStringValue()}
	}
	fields := v.GetStructValue().GetFields()
	in := &requestv1.AuxData{}
	if j := fields["jwt"]; j != nil {
		in.Jwt = token(j)
	}
	for name, j := range fields["jwts"].GetStructValue().GetFields() {
		if in.Jwts == nil {
			in.Jwts = map[string]*requestv1.AuxData_JWT{}
		}
		in.Jwts[name] = token(j)
	}
	return s.d.AuxData.AuxData(ctx, a.caller, in)
}

// metadata is the description of the decision point (§9), which names only what it can do.
func (d *Door) metadata(w http.ResponseWriter, r *http.Request) {
	allowOrigins(w.Header())
	w.Header().Set("Cache-Control", "public, max-age=300")
	base := web.SiteOf(r).Base
	doc := struct {
		*authzenv1.MetadataResponse        // whose names in JSON are the specification's
		SearchSubject               string `json:"search_subject_endpoint"`
		SearchAction                string `json:"search_action_endpoint"`
	}{metadataOf(base), base + searchSubjectPath, base + searchActionPath}
	body, err := json.Marshal(doc)
	if err != nil {
		refuse(w, r, err)
		return
	}
	d.answer(w, r, body)
}

// metadataOf is what the gRPC service, which has no searches, says of itself.
func metadataOf(base string) *authzenv1.MetadataResponse {
	return &authzenv1.MetadataResponse{PolicyDecisionPoint: base, AccessEvaluationEndpoint: base + evaluationPath, AccessEvaluationsEndpoint: base + evaluationsPath}
}
