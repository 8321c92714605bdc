package wire

import "google.golang.org/protobuf/types/known/structpb"

// fields reads an object of values.
func (r *reader) attributes() map[string]*structpb.Value {
	if r.depth++; r.depth > MaxDepth {
		r.fallBack()
	}
	m := make(map[string]*structpb.Value)
	r.object(func(name string) {
		if _, twice := m[name]; twice {
			r.fallBack()
		}
		m[name] = r.value()
	})
	r.depth--
	return m
}

// Each type holds a value and its kind in one allocation.
type (
	stringValue struct {
		v structpb.Value
		k structpb.Value_StringValue
	}
	numberValue struct {
		v structpb.Value
		k structpb.Value_NumberValue
	}
	boolValue struct {
		v structpb.Value
		k structpb.Value_BoolValue
	}
	listValue struct {
		v structpb.Value
		k structpb.Value_ListValue
		l structpb.ListValue
	}
	structValue struct {
		v structpb.Value
		k structpb.Value_StructValue
		s structpb.Struct
	}
)

func (r *reader) value() *structpb.Value {
	switch r.next() {
	case '"':
		x := &stringValue{}
		x.k.StringValue = r.str()
		x.v.Kind = &x.k
		return &x.v
	case 't', 'f':
		x := &boolValue{}
		x.k.BoolValue = r.boolean()
		x.v.Kind = &x.k
		return &x.v
	case 'n':
		r.literal("null")
		return structpb.NewNullValue()
	case '{':
		x := &structValue{}
		x.s.Fields = r.attributes()
		x.k.StructValue = &x.s
		x.v.Kind = &x.k
		return &x.v
	case '[':
		if r.depth++; r.depth > MaxDepth {
			r.fallBack()
		}
		x := &listValue{}
		r.list(func() { x.l.Values = append(x.l.Values, r.value()) })
		r.depth--
		x.k.ListValue = &x.l
		x.v.Kind = &x.k
		return &x.v
	}
	x := &numberValue{}
	x.k.NumberValue = r.number()
	x.v.Kind = &x.k
	return &x.v
}
