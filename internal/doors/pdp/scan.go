package pdp

import (
	"unicode/utf8"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
)

// scan inspects a gRPC message for what generated code accepts and we cannot store: text that is
// not UTF-8, and attributes nested deeper than wire.MaxDepth.
type scan struct {
	notUTF8 bool
	tooDeep bool
	depth   int
}

// err returns the fault for the message, or nil.
func (s *scan) err() error {
	switch {
	case s.notUTF8:
		return invalid("The request contains text that is not UTF-8.")
	case s.tooDeep:
		return wire.ErrTooDeep
	}
	return nil
}

func (s *scan) text(list ...string) {
	for _, t := range list {
		s.notUTF8 = s.notUTF8 || !utf8.ValidString(t)
	}
}

func (s *scan) principal(p *enginev1.Principal) {
	if p != nil {
		s.text(p.Id, p.PolicyVersion, p.Scope)
		s.text(p.Roles...)
		s.attributes(p.Attr)
	}
}

func (s *scan) resource(r *enginev1.Resource) {
	if r != nil {
		s.text(r.Id, r.Kind, r.PolicyVersion, r.Scope)
		s.attributes(r.Attr)
	}
}

func (s *scan) attributes(attr map[string]*structpb.Value) {
	if s.depth++; s.depth > wire.MaxDepth {
		s.tooDeep = true
	} else {
		for name, v := range attr {
			s.notUTF8 = s.notUTF8 || !utf8.ValidString(name)
			s.value(v)
		}
	}
	s.depth--
}

func (s *scan) value(v *structpb.Value) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		s.notUTF8 = s.notUTF8 || !utf8.ValidString(k.StringValue)
	case *structpb.Value_StructValue:
		s.attributes(k.StructValue.GetFields())
	case *structpb.Value_ListValue:
		if s.depth++; s.depth > wire.MaxDepth {
			s.tooDeep = true
		} else {
			for _, x := range k.ListValue.GetValues() {
				s.value(x)
			}
		}
		s.depth--
	}
}

func (s *scan) evaluation(
	subject *authzenv1.Subject, resource *authzenv1.Resource, action *authzenv1.Action,
	context map[string]*structpb.Value,
) {
	s.text(subject.GetType(), subject.GetId(), resource.GetType(), resource.GetId(), action.GetName())
	for _, attributes := range []map[string]*structpb.Value{
		subject.GetProperties(), resource.GetProperties(), action.GetProperties(), context,
	} {
		s.attributes(attributes)
	}
}
