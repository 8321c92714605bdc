package pdp

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
)

// A Cerbos server's limits, as it has them unless it is configured otherwise.
const (
	maxResources = 50 // in a request
	maxActions   = 50 // on a resource
)

// The rules of a request are those that Cerbos' messages carry (buf.validate). Applying them
// by reflection costs more than the decision itself, so what follows the rules is
// recognised by the functions below, and whatever does not is given to protovalidate, which
// says why in Cerbos' own words. They may be stricter than the rules, never laxer: a test
// compares the two.

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
	return p != nil && p.Id != "" && goodVersion(p.PolicyVersion) && goodNames(p.Roles) && goodKeys(p.Attr) && goodScope(p.Scope)
}

func goodResource(r *enginev1.Resource) bool {
	return r != nil && r.Kind != "" && r.Id != "" && goodVersion(r.PolicyVersion) && goodKeys(r.Attr) && goodScope(r.Scope)
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
		if e == nil || !goodSubject(or(e.Subject, m.Subject)) || !goodObject(or(e.Resource, m.Resource)) || !goodAction(or(e.Action, m.Action)) || !goodKeys(e.Context) {
			return false
		}
	}
	return len(m.Evaluations) > 0 && (m.Subject == nil || goodSubject(m.Subject)) && (m.Resource == nil || goodObject(m.Resource)) &&
		(m.Action == nil || goodAction(m.Action)) && goodKeys(m.Context)
}

// goodNames reports whether the list has names, none of them empty and none twice.
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

// violations returns what protovalidate says against a message, as a Cerbos server answers it; nil when it
// has nothing to say.
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

// fewResources refuses a batch that is too large, in Cerbos' words.
func fewResources(n int) error {
	if n > maxResources {
		return invalid("number of resources in batch (%d) exceeds configured limit (%d)", n, maxResources)
	}
	return nil
}

func fewActions(n int) error {
	if n > maxActions {
		return invalid("number of actions (%d) exceeds configured limit (%d)", n, maxActions)
	}
	return nil
}

// scan looks at what generated code lets pass and nothing behind it could store or bear: text
// that is not UTF-8, and attributes nested without end.
type scan struct {
	bad   bool // not UTF-8
	depth int
	deep  bool
}

func (s *scan) err() error {
	switch {
	case s.bad:
		return invalid("The request contains text that is not UTF-8.")
	case s.deep:
		return wire.ErrTooDeep
	}
	return nil
}

func (s *scan) text(list ...string) {
	for _, t := range list {
		s.bad = s.bad || !utf8.ValidString(t)
	}
}

func (s *scan) principal(p *enginev1.Principal) {
	if p != nil {
		s.text(p.Id, p.PolicyVersion, p.Scope)
		s.text(p.Roles...)
		s.fields(p.Attr)
	}
}

func (s *scan) resource(r *enginev1.Resource) {
	if r != nil {
		s.text(r.Id, r.Kind, r.PolicyVersion, r.Scope)
		s.fields(r.Attr)
	}
}

func (s *scan) fields(attr map[string]*structpb.Value) {
	if s.depth++; s.depth > wire.MaxDepth {
		s.deep = true
	} else {
		for name, v := range attr {
			s.bad = s.bad || !utf8.ValidString(name)
			s.value(v)
		}
	}
	s.depth--
}

func (s *scan) value(v *structpb.Value) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		s.bad = s.bad || !utf8.ValidString(k.StringValue)
	case *structpb.Value_StructValue:
		s.fields(k.StructValue.GetFields())
	case *structpb.Value_ListValue:
		if s.depth++; s.depth > wire.MaxDepth {
			s.deep = true
		} else {
			for _, x := range k.ListValue.GetValues() {
				s.value(x)
			}
		}
		s.depth--
	}
}
