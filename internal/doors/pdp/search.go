package pdp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Paths of the searches (AuthZEN 1.0 §8, §10.1).
const (
	searchSubjectPath  = "/access/v1/search/subject"
	searchResourcePath = "/access/v1/search/resource"
	searchActionPath   = "/access/v1/search/action"
)

const (
	// maxCandidates is how many users a request for subjects looks at: so many questions are in its
	// decision record, each with its principal.
	maxCandidates = 100
	// maxNamed is how many actions of a kind a search asks about.
	maxNamed = 500

	userType = "user" // the type of subjects whom the directory knows

	// namedOnly of a request's context wants the actions that policies name although the subject
	// may do others; unnamed of the answer's says which those are.
	namedOnly = "gatehouse.namedActions"
	unnamed   = "gatehouse.unnamedActions"
)

var (
	errSearchOthers = fault.New(fault.Denied, "search.user", "The access token is a user's, and speaks of that user only. To search for others takes an application's own token.")
	errChanging     = fault.New(fault.Unavailable, "search.changing", "The policies were published anew while the search went on. Try again.")
	errToken        = invalid("page.token is not one of ours. Send the next_token of the answer before, unchanged, or leave it out to begin again.")
	errTokenOf      = invalid("page.token belongs to another search. Send it with the request that it answered, in which nothing but page.token has changed, or leave it out to begin again.")

	errAsserted  = status.Error(codes.Unimplemented, "Subjects are searched in the directory, and this application's principals are not from there: its principal_mode is asserted. "+evaluationsPath+" takes many candidates at once.")
	errResources = status.Error(codes.Unimplemented, "Resources are not searched here: they are the application's. "+
		"POST /api/plan/resources gives the condition that a resource must meet, for a query of the application's own; "+evaluationsPath+" takes many candidates at once.")
)

// search is a request of one, read.
type search struct {
	*authzenv1.AccessEvaluationRequest
	token string
	limit int // results at most; -1 where the request says nothing
	size  int // of the body
}

func readSearch(body string) (*search, error) {
	m := &authzenv1.AccessEvaluationRequest{}
	page, err := wire.ReadSearch(body, m)
	if err != nil {
		return nil, err
	}
	return &search{AccessEvaluationRequest: m, token: page.Token, limit: page.Limit, size: len(body)}, nil
}

// tokenVersion is the first byte of a token, so that its form can change one day.
const tokenVersion = 1

// A token is a version, the limit of the first request, a digest of what the search is, and a
// position. It is no permission: a forged one moves its reader within what the search would show anyway.
const tokenHead = 1 + 2 + 16

// open reads the token and returns where to go on. Its limit counts where the request has none, as in the
// specification's example.
func (q *search) open(a *asker, path string) (after string, err error) {
	if q.token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(q.token)
	if err != nil || len(raw) < tokenHead || raw[0] != tokenVersion {
		return "", errToken
	}
	limit := int(binary.BigEndian.Uint16(raw[1:])) - 1
	if q.limit < 0 {
		q.limit = limit
	}
	if digest := q.digest(a, path); limit != q.limit || !slices.Equal(raw[3:tokenHead], digest) {
		return "", errTokenOf
	}
	return string(raw[tokenHead:]), nil
}

// next is the token with which the search goes on after a position.
func (q *search) next(a *asker, path, after string) string {
	raw := binary.BigEndian.AppendUint16([]byte{tokenVersion}, uint16(q.limit+1))
	return base64.RawURLEncoding.EncodeToString(append(append(raw, q.digest(a, path)...), after...))
}

// digest stands for all of a request but its page.
func (q *search) digest(a *asker, path string) []byte {
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(q.AccessEvaluationRequest)
	if err != nil { // text that is not UTF-8, which the reading refuses
		panic("pdp: " + err.Error())
	}
	sum := sha256.Sum256(slices.Concat(a.caller.Tenant[:], []byte(path), text))
	return sum[:16]
}

// found is the answer to a search.
type found[T any] struct {
	Page struct {
		Next  string `json:"next_token"`
		Count int    `json:"count"`
	} `json:"page"`
	Context map[string]any `json:"context,omitempty"`
	Results []T            `json:"results"`
}

func (f *found[T]) json() ([]byte, error) {
	f.Page.Count = len(f.Results)
	if f.Results == nil {
		f.Results = []T{}
	}
	return json.Marshal(f)
}

type foundSubject struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type foundAction struct {
	Name string `json:"name"`
}

// searchSubjects answers who may do an action (§8.4): users of the directory, each with the
// roles and attributes that they have there. A page may have few results, or none, and a token.
func (s authzenService) searchSubjects(ctx context.Context, a *asker, body string) ([]byte, error) {
	switch {
	case !a.token.User.IsZero():
		return nil, errSearchOthers
	case !a.fromDirectory():
		return nil, errAsserted
	}
	q, err := readSearch(body)
	if err != nil {
		return nil, err
	}
	if q.Subject != nil {
		q.Subject.Id = "-" // one that the request has counts for nothing
	}
	if err := violations(q.AccessEvaluationRequest); err != nil {
		return nil, err
	}
	if q.Subject.Type != userType {
		return nil, invalid("subject.type: subjects of the type %q are not known here. The directory has users: send %q.", q.Subject.Type, userType)
	}
	var after id.ID
	if position, err := q.open(a, searchSubjectPath); err != nil {
		return nil, err
	} else if position != "" && after.Scan([]byte(position)) != nil {
		return nil, errToken
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
	resource, inputs := resourceOf(q.Resource), make([]*enginev1.CheckInput, len(page.Principals))
	for i, p := range page.Principals {
		inputs[i] = &enginev1.CheckInput{RequestId: textOf(q.Context, "requestId"), Actions: []string{q.Action.Name}, Principal: p, Resource: resource, AuxData: aux}
	}
	var answer found[foundSubject]
	last, more := page.Last, page.More
	if len(inputs) > 0 {
		_, outputs, err := s.d.decided(ctx, a, s.d.begin(a, decision.Evaluation, inputs, q.size+len(inputs)<<10, start), nil, "", start)
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

// lastOf is the id of the last of those found, or after where there is none.
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

func allows(out *enginev1.CheckOutput, action string) bool {
	return out.GetActions()[action].GetEffect() == effectv1.Effect_EFFECT_ALLOW
}

// searchActions answers what a subject may do to a resource (§8.6), of the actions that the policies name.
// Where the subject may do others as well, whose number has no end, there is no answer unless the request wants
// that one: a list would hide them.
func (s authzenService) searchActions(ctx context.Context, a *asker, body string) ([]byte, error) {
	q, err := readSearch(body)
	if err != nil {
		return nil, err
	}
	q.Subject, q.Action = a.subject(q.Subject), &authzenv1.Action{Name: "-"} // which is not the request's to say
	if err := violations(q.AccessEvaluationRequest); err != nil {
		return nil, err
	}
	after, err := q.open(a, searchActionPath)
	if err != nil {
		return nil, err
	}
	aux, err := s.auxData(ctx, a, q.Context)
	if err != nil {
		return nil, err
	}
	in := &enginev1.CheckInput{RequestId: textOf(q.Context, "requestId"), Principal: principalOf(q.Subject), Resource: resourceOf(q.Resource), AuxData: aux}
	names, open, err := s.d.mayDo(ctx, a, in, q.size)
	if err != nil {
		return nil, err
	}
	var answer found[foundAction]
	if len(open) > 0 {
		if !q.Context[namedOnly].GetBoolValue() {
			return nil, status.Errorf(codes.Unimplemented, "The subject may do actions that no policy names: any of the form %q. They have no list. %s says which of those that you know are allowed; "+
				"with \"context\": {%q: true} this answers those that are named.", open[0], evaluationsPath, namedOnly)
		}
		answer.Context = map[string]any{unnamed: open}
	}
	for _, name := range names {
		if after != "" && name <= after {
			continue
		}
		if q.limit >= 0 && len(answer.Results) == q.limit {
			if q.limit > 0 {
				after = answer.Results[q.limit-1].Name
			}
			answer.Page.Next = q.next(a, searchActionPath, after)
			break
		}
		answer.Results = append(answer.Results, foundAction{name})
	}
	return answer.json()
}

// searchResources answers the one search (§8.5) for which nobody here has the candidates: an empty list
// would say that nothing was found.
func (s authzenService) searchResources(context.Context, *asker, string) ([]byte, error) {
	return nil, errResources
}

// mayDo returns the actions that in's principal may do to its resource: those that policies name, sorted, and
// patterns of others. The decision about the named ones is recorded.
func (d *Door) mayDo(ctx context.Context, a *asker, in *enginev1.CheckInput, size int) (names, open []string, err error) {
	start := d.Clock.Now()
	resolved, outcome, err := d.Principals.Resolve(ctx, a.caller, a.about(in.Principal))
	if err != nil {
		return nil, nil, err
	}
	in.Principal = resolved
	for range 3 {
		known, err := d.Actions.Actions(ctx, a.caller, in.Resource.Kind)
		if err != nil {
			return nil, nil, err
		}
		if known.Unclear != "" {
			return nil, nil, status.Errorf(codes.Unimplemented, "A policy for %q names actions by %q, and which those are cannot be said. %s says which of those that you know are allowed.", in.Resource.Kind, known.Unclear, evaluationsPath)
		}
		if n := len(known.Names); n > maxNamed {
			return nil, nil, status.Errorf(codes.Unimplemented, "The policies name %d actions of %q, more than the %d that are searched. %s says which of those that you know are allowed.", n, in.Resource.Kind, maxNamed, evaluationsPath)
		}
		asked, examples := askedOf(in, known)
		if len(asked) == 0 && len(examples) == 0 {
			return nil, nil, nil
		}
		made := d.begin(a, decision.Evaluation, asked, size, start)
		if outcome.Denied() {
			made.Reason = reasonOf(outcome)
			for _, in := range asked {
				made.Outputs = append(made.Outputs, denied(in))
			}
		} else {
			checked, err := d.Engine.Check(ctx, a.caller, slices.Concat(asked, examples))
			if err != nil {
				return nil, nil, err
			}
			if checked.Revision != known.Revision {
				continue // published between the two questions
			}
			made.Revision, made.Outputs = checked.Revision, checked.Outputs[:len(asked)]
			for _, out := range checked.Outputs[len(asked):] {
				for _, other := range known.Others {
					if allows(out, other.Example) {
						open = append(open, other.Pattern)
					}
				}
			}
		}
		for _, out := range made.Outputs {
			for action := range out.Actions {
				if allows(out, action) {
					names = append(names, action)
				}
			}
		}
		if len(asked) > 0 {
			d.record(a, made, start)
		}
		slices.Sort(names)
		return names, open, nil
	}
	return nil, nil, errChanging
}

// askedOf makes of in the questions about the named actions, and those about examples of others, which
// are not recorded.
func askedOf(in *enginev1.CheckInput, known policy.Actions) (asked, examples []*enginev1.CheckInput) {
	about := func(actions []string) (of []*enginev1.CheckInput) {
		n := len(actions)
		if known.Apart {
			n = 1
		}
		for some := range slices.Chunk(actions, max(n, 1)) {
			of = append(of, &enginev1.CheckInput{RequestId: in.RequestId, Principal: in.Principal, Resource: in.Resource, AuxData: in.AuxData, Actions: some})
		}
		return of
	}
	others := make([]string, len(known.Others))
	for i, o := range known.Others {
		others[i] = o.Example
	}
	return about(known.Names), about(others)
}
