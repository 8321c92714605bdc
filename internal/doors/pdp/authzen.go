package pdp

import (
	"context"
	"net/http"
	"strings"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
)

// Values of evaluations_semantic (AuthZEN 1.0 §7.1.2.1).
const (
	executeAll          = "execute_all"
	denyOnFirstDeny     = "deny_on_first_deny"
	permitOnFirstPermit = "permit_on_first_permit"
)

// maxEvaluations bounds a request of evaluations, as a Cerbos server does.
const maxEvaluations = maxResources * maxActions

// authzenService is the AuthZEN API. It maps requests to Cerbos as a Cerbos server does; see
// authzen_map.go. Sections in the comments below are those of AuthZEN 1.0.
type authzenService struct {
	authzenv1.UnimplementedAuthorizationServiceServer
	d *Door
}

// AccessEvaluation implements authzenv1.AuthorizationServiceServer.
func (s authzenService) AccessEvaluation(
	ctx context.Context, m *authzenv1.AccessEvaluationRequest,
) (*authzenv1.AccessEvaluationResponse, error) {
	var sc scan
	sc.evaluation(m.Subject, m.Resource, m.Action, m.Context)
	return serveCall(ctx, &sc, m, s.evaluate)
}

// AccessEvaluationBatch implements authzenv1.AuthorizationServiceServer.
func (s authzenService) AccessEvaluationBatch(
	ctx context.Context, m *authzenv1.AccessEvaluationBatchRequest,
) (*authzenv1.AccessEvaluationBatchResponse, error) {
	var sc scan
	sc.evaluation(m.Subject, m.Resource, m.Action, m.Context)
	for _, e := range m.Evaluations {
		sc.evaluation(e.GetSubject(), e.GetResource(), e.GetAction(), e.GetContext())
	}
	return serveCall(ctx, &sc, m, s.evaluateBatch)
}

// Metadata implements authzenv1.AuthorizationServiceServer.
func (s authzenService) Metadata(
	ctx context.Context, _ *authzenv1.MetadataRequest,
) (*authzenv1.MetadataResponse, error) {
	return metadataOf(requesterOf(ctx).base), nil
}

// evaluate answers one evaluation (§6).
func (s authzenService) evaluate(
	ctx context.Context, a *requester, m *authzenv1.AccessEvaluationRequest, size int,
) (*authzenv1.AccessEvaluationResponse, error) {
	m.Subject = a.subject(m.Subject)
	if !goodSubject(m.Subject) || !goodObject(m.Resource) || !goodAction(m.Action) || !goodKeys(m.Context) {
		if err := violations(m); err != nil {
			return nil, err
		}
	}
	aux, err := s.auxData(ctx, a, m.Context)
	if err != nil {
		return nil, err
	}
	decided, err := s.decide(ctx, a, []evaluation{{m.Subject, m.Resource, m.Action, m.Context, aux}}, size)
	if err != nil {
		return nil, err
	}
	return decided[0], nil
}

// evaluateAll is evaluateBatch over HTTP. Without evaluations it answers the request as a single
// evaluation (§7.1).
func (s authzenService) evaluateAll(
	ctx context.Context, a *requester, m *authzenv1.AccessEvaluationBatchRequest, size int,
) (proto.Message, error) {
	if len(m.Evaluations) > 0 {
		return s.evaluateBatch(ctx, a, m, size)
	}
	one := &authzenv1.AccessEvaluationRequest{
		Subject: m.Subject, Resource: m.Resource, Action: m.Action, Context: m.Context,
	}
	return s.evaluate(ctx, a, one, size)
}

// evaluateBatch answers evaluations in their order (§7).
func (s authzenService) evaluateBatch(
	ctx context.Context, a *requester, m *authzenv1.AccessEvaluationBatchRequest, size int,
) (*authzenv1.AccessEvaluationBatchResponse, error) {
	m.Subject = a.subject(m.Subject)
	if n := len(m.Evaluations); n > maxEvaluations {
		return nil, invalid("number of evaluations (%d) exceeds configured limit (%d)", n, maxEvaluations)
	}
	decided := make([]*authzenv1.AccessEvaluationResponse, len(m.Evaluations))
	if !goodEvaluations(m) {
		var complete []*authzenv1.AccessEvaluationBatchRequest_Evaluation
		for i, e := range m.Evaluations {
			if err := violations(whole(m, e)); err != nil {
				decided[i] = undecided(err)
			} else {
				complete = append(complete, e)
			}
		}
		if len(complete) == 0 && len(m.Evaluations) > 0 {
			return &authzenv1.AccessEvaluationBatchResponse{
				Evaluations: upToDecisive(decided, m.GetOptions().GetEvaluationsSemantic()),
			}, nil
		}
		m.Evaluations = complete
		if err := violations(m); err != nil {
			return nil, err
		}
	}
	asked, err := s.evaluations(ctx, a, m)
	if err != nil {
		return nil, err
	}
	answers, err := s.decide(ctx, a, asked, size)
	if err != nil {
		return nil, err
	}
	for i := range decided {
		if decided[i] == nil {
			decided[i], answers = answers[0], answers[1:]
		}
	}
	return &authzenv1.AccessEvaluationBatchResponse{
		Evaluations: upToDecisive(decided, m.GetOptions().GetEvaluationsSemantic()),
	}, nil
}

// whole returns an evaluation of a batch with the members that it takes from the request.
func whole(m *authzenv1.AccessEvaluationBatchRequest,
	e *authzenv1.AccessEvaluationBatchRequest_Evaluation) *authzenv1.AccessEvaluationRequest {
	context := m.Context
	if len(e.GetContext()) > 0 {
		context = e.Context
	}
	return &authzenv1.AccessEvaluationRequest{Subject: or(e.GetSubject(), m.Subject),
		Resource: or(e.GetResource(), m.Resource), Action: or(e.GetAction(), m.Action), Context: context}
}

// undecided answers an evaluation that breaks a rule: it is denied, and its context says why.
func undecided(err error) *authzenv1.AccessEvaluationResponse {
	denied := false
	text := strings.ToValidUTF8(status.Convert(err).Message(), "\uFFFD")
	return &authzenv1.AccessEvaluationResponse{Decision: &denied, Context: map[string]*structpb.Value{
		"error": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"status": structpb.NewNumberValue(http.StatusBadRequest), "message": structpb.NewStringValue(text)}})}}
}

// upToDecisive cuts the list after the first answer that ends it by semantic. All were decided,
// which costs less than one after the other.
func upToDecisive(
	decided []*authzenv1.AccessEvaluationResponse, semantic string,
) []*authzenv1.AccessEvaluationResponse {
	if semantic != denyOnFirstDeny && semantic != permitOnFirstPermit {
		return decided
	}
	for i, r := range decided {
		if r.GetDecision() == (semantic == permitOnFirstPermit) {
			return decided[:i+1]
		}
	}
	return decided
}

// evaluation is one complete question.
type evaluation struct {
	subject  *authzenv1.Subject
	resource *authzenv1.Resource
	action   *authzenv1.Action
	context  map[string]*structpb.Value
	aux      *enginev1.AuxData // of the context
}

// evaluations returns the questions of a batch. The members of the request stand in for those that
// an evaluation omits.
func (s authzenService) evaluations(
	ctx context.Context, a *requester, m *authzenv1.AccessEvaluationBatchRequest,
) ([]evaluation, error) {
	shared, err := s.auxData(ctx, a, m.Context)
	if err != nil {
		return nil, err
	}
	asked := make([]evaluation, len(m.Evaluations))
	for i, e := range m.Evaluations {
		asked[i] = evaluation{
			or(e.Subject, m.Subject), or(e.Resource, m.Resource), or(e.Action, m.Action), m.Context, shared,
		}
		if len(e.Context) > 0 {
			asked[i].context = e.Context
			if asked[i].aux, err = s.auxData(ctx, a, e.Context); err != nil {
				return nil, err
			}
		}
	}
	return asked, nil
}

func or[T any](own, shared *T) *T {
	if own != nil {
		return own
	}
	return shared
}

// decide answers evaluations in one check.
func (s authzenService) decide(
	ctx context.Context, a *requester, asked []evaluation, size int,
) ([]*authzenv1.AccessEvaluationResponse, error) {
	inputs := make([]*enginev1.CheckInput, len(asked))
	principals := map[*authzenv1.Subject]*enginev1.Principal{}
	for i, e := range asked {
		p, ok := principals[e.subject]
		if !ok {
			p = principalOf(e.subject)
			principals[e.subject] = p
		}
		inputs[i] = &enginev1.CheckInput{
			RequestId: cerbosText(e.context, "requestId"), Principal: p, AuxData: e.aux,
			Actions: []string{e.action.Name}, Resource: resourceOf(e.resource, e.action, e.context),
		}
	}
	call, outputs, err := s.d.check(ctx, a, decision.Evaluation, inputs, size)
	if err != nil {
		return nil, err
	}
	decided := make([]*authzenv1.AccessEvaluationResponse, len(asked))
	for i, out := range outputs {
		allowed := allows(out, asked[i].action.Name)
		decided[i] = &authzenv1.AccessEvaluationResponse{Decision: &allowed}
		if asked[i].context["cerbos.includeMeta"].GetBoolValue() {
			decided[i].Context = metaOf(call, inputs[i], out)
		}
	}
	return decided, nil
}

func allows(out *enginev1.CheckOutput, action string) bool {
	return out.GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
}
