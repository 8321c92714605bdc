package pdp

//lint:file-ignore SA1019 Clients still send and read what Cerbos has deprecated.

import (
	"errors"
	"fmt"
	"slices"

	"buf.build/go/protovalidate"
	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// The default limits of a Cerbos server.
const (
	maxResources = 50 // in a request
	maxActions   = 50 // on a resource
)

// Cerbos' messages carry the rules of a request (buf.validate). Applying them by reflection costs
// more than the decision. So the functions below recognise usual messages that keep the rules, and
// protovalidate judges the others, in Cerbos' own words. The functions may be stricter than the
// rules, never laxer: a test compares the two.

func goodCheckResources(m *requestv1.CheckResourcesRequest) bool {
	if m.RequestContext != nil || !goodPrincipal(m.Principal) || !goodAuxData(m.AuxData) || len(m.Resources) == 0 {
		return false
	}
	for _, e := range m.Resources {
		if e == nil || !goodNames(e.Actions) || !goodResource(e.Resource) {
			return false
		}
	}
	return true
}

func goodPlanResources(m *requestv1.PlanResourcesRequest) bool {
	r := m.Resource
	one := m.Action != "" //nolint:staticcheck // still served
	return m.RequestContext == nil && goodPrincipal(m.Principal) && goodAuxData(m.AuxData) &&
		one == (len(m.Actions) == 0) && len(m.Actions) <= 20 && (one || goodNames(m.Actions)) &&
		r != nil && r.Kind != "" && goodVersion(r.PolicyVersion) && goodScope(r.Scope)
}

func goodPrincipal(p *enginev1.Principal) bool {
	return p != nil && p.Id != "" && goodVersion(p.PolicyVersion) && goodNames(p.Roles) && goodKeys(p.Attr) &&
		goodScope(p.Scope)
}

func goodResource(r *enginev1.Resource) bool {
	return r != nil && r.Kind != "" && r.Id != "" && goodVersion(r.PolicyVersion) && goodKeys(r.Attr) &&
		goodScope(r.Scope)
}

func goodAuxData(a *requestv1.AuxData) bool {
	return a == nil || len(a.Jwts) == 0 && (a.Jwt == nil || a.Jwt.Token != "")
}

func goodSubject(s *authzenv1.Subject) bool {
	return s != nil && s.Type != "" && s.Id != "" && goodKeys(s.Properties)
}

func goodObject(r *authzenv1.Resource) bool {
	return r != nil && r.Type != "" && r.Id != "" && goodKeys(r.Properties)
}

func goodAction(a *authzenv1.Action) bool {
	return a != nil && a.Name != "" && goodKeys(a.Properties)
}

func goodEvaluations(m *authzenv1.AccessEvaluationBatchRequest) bool {
	switch m.GetOptions().GetEvaluationsSemantic() {
	case "", executeAll, denyOnFirstDeny, permitOnFirstPermit:
	default:
		return false
	}
	for _, e := range m.Evaluations {
		if e == nil || !goodSubject(or(e.Subject, m.Subject)) || !goodObject(or(e.Resource, m.Resource)) ||
			!goodAction(or(e.Action, m.Action)) || !goodKeys(e.Context) {
			return false
		}
	}
	return len(m.Evaluations) > 0 && goodKeys(m.Context) &&
		(m.Subject == nil || goodSubject(m.Subject)) && (m.Resource == nil || goodObject(m.Resource)) &&
		(m.Action == nil || goodAction(m.Action))
}

// goodNames reports whether list has at least one name, and each is unique and not empty.
func goodNames(list []string) bool {
	if len(list) == 0 || len(list) > maxActions {
		return false
	}
	for i, s := range list {
		if s == "" || slices.Contains(list[:i], s) {
			return false
		}
	}
	return true
}

func goodKeys(attr map[string]*structpb.Value) bool {
	_, empty := attr[""]
	return !empty
}

// word reports whether c is one of \w.
func word(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func goodVersion(s string) bool {
	for i := range len(s) {
		if !word(s[i]) {
			return false
		}
	}
	return true
}

// goodScope matches ^(^$|\.|[0-9a-zA-Z][\w\-]*(\.\w[\w\-]*)*)$.
func goodScope(s string) bool {
	if s == "" || s == "." {
		return true
	}
	if s[0] == '_' {
		return false
	}
	begins := true
	for i := range len(s) {
		switch c := s[i]; {
		case word(c):
			begins = false
		case begins, c != '-' && c != '.':
			return false
		case c == '.':
			begins = true
		}
	}
	return !begins
}

// violations returns the rules that m breaks, as a Cerbos server answers them, or nil.
func violations(m proto.Message) error {
	err := protovalidate.Validate(m)
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return err
	}
	st := status.New(codes.InvalidArgument, invalid.Error())
	if with, err := st.WithDetails(invalid.ToProto()); err == nil {
		st = with
	}
	return st.Err()
}

func invalid(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, fmt.Sprintf(format, args...))
}

// limitResources refuses a batch that is too large, in Cerbos' words.
func limitResources(n int) error {
	if n > maxResources {
		return invalid("number of resources in batch (%d) exceeds configured limit (%d)", n, maxResources)
	}
	return nil
}

func limitActions(n int) error {
	if n > maxActions {
		return invalid("number of actions (%d) exceeds configured limit (%d)", n, maxActions)
	}
	return nil
}
