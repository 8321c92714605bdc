package pdp

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// maxCandidates is how many users one search for subjects decides about. Its decision record has
// that many questions, each with its principal.
const maxCandidates = 100

// userType is the type of the subjects that the directory has.
const userType = "user"

var (
	errSearchOthers = fault.New(fault.Denied, "search.user",
		"The access token is a user's, and speaks of that user only. "+
			"To search for others, send an application's own token.")
	errAsserted = status.Error(codes.Unimplemented,
		"Subjects are searched in the directory, and this application's principals are not from there: its "+
			"principal_mode is asserted. "+evaluationsPath+" takes many candidates at once.")
)

type foundSubject struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// searchSubjects answers which users of the directory may do an action (§8.4). A page may have few
// results or none, and still a token.
func (s authzenService) searchSubjects(ctx context.Context, a *requester, body string) ([]byte, error) {
	switch {
	case !a.token.User.IsZero():
		return nil, errSearchOthers
	case !a.fromDirectory():
		return nil, errAsserted
	}
	q, after, err := s.readSubjectSearch(a, body)
	if err != nil {
		return nil, err
	}
	if q.Subject.Type != userType { // the directory has no others
		return (&found[foundSubject]{}).json()
	}
	aux, err := s.auxData(ctx, a, q.Context)
	if err != nil {
		return nil, err
	}
	start := s.d.Clock.Now()
	page, err := s.d.Principals.Users(ctx, a.caller, a.about(principalOf(q.Subject)), after, maxCandidates)
	if err != nil {
		return nil, err
	}
	resource, inputs := resourceOf(q.Resource, q.Action, q.Context), make([]*enginev1.CheckInput, len(page.Principals))
	for i, p := range page.Principals {
		inputs[i] = &enginev1.CheckInput{
			RequestId: cerbosText(q.Context, "requestId"), Principal: p, AuxData: aux,
			Actions: []string{q.Action.Name}, Resource: resource,
		}
	}
	var answer found[foundSubject]
	last, more := page.Last, page.More
	if len(inputs) > 0 {
		made := newDecision(a, decision.Evaluation, inputs, q.size+len(inputs)<<10, start)
		_, outputs, err := s.d.checkResolved(ctx, a, made, start)
		if err != nil {
			return nil, err
		}
		for i, p := range page.Principals {
			if q.limit >= 0 && len(answer.Results) == q.limit {
				last, more = lastOf(answer.Results, after), true
				break
			}
			if allows(outputs[i], q.Action.Name) {
				answer.Results = append(answer.Results, foundSubject{userType, p.Id})
			}
		}
	}
	if more {
		answer.Page.Next = q.next(a, searchSubjectPath, string(last[:]))
	}
	return answer.json()
}

// readSubjectSearch reads and validates a search for subjects. It returns the user after whom the
// page starts, zero for the first page.
func (s authzenService) readSubjectSearch(a *requester, body string) (*search, id.ID, error) {
	var after id.ID
	q, err := readSearch(body)
	if err != nil {
		return nil, after, err
	}
	if q.Subject != nil {
		q.Subject.Id = "-" // the id of a request is ignored
	}
	if err := violations(q.AccessEvaluationRequest); err != nil {
		return nil, after, err
	}
	position, err := q.position(a, searchSubjectPath)
	if err != nil {
		return nil, after, err
	}
	if position != "" && after.Scan([]byte(position)) != nil {
		return nil, after, errToken
	}
	return q, after, nil
}

// lastOf returns the id of the last subject in list, or after if list is empty.
func lastOf(list []foundSubject, after id.ID) id.ID {
	if len(list) == 0 {
		return after
	}
	last, err := id.Parse(list[len(list)-1].ID)
	if err != nil {
		panic("pdp: " + err.Error())
	}
	return last
}
