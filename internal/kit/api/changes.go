package api

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Changes is a body that has some of T's members: those of a thing to make, or those to change of
// one that exists. T declares its members once, for the answer and for both bodies. A member of
// the answer may be required and unlimited: in a body none is required, and the tag limit is the
// greatest length of a text in characters.
type Changes[T any] struct {
	value T
	given map[string]bool // members of the body
}

// UnmarshalJSON implements json.Unmarshaler. applyNulls deals with the members that are null.
func (c *Changes[T]) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &c.value); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	c.given = map[string]bool{}
	for name := range members {
		c.given[name] = true
	}
	return nil
}

// members returns the T, for applyNulls.
func (c *Changes[T]) members() reflect.Value { return reflect.ValueOf(&c.value).Elem() }

// Apply replaces those members of to that the body has. Each is replaced as a whole.
func (c Changes[T]) Apply(to *T) {
	from, into := reflect.ValueOf(c.value), reflect.ValueOf(to).Elem()
	for name, index := range membersOf(reflect.TypeFor[T]()) {
		if c.given[name] {
			into.FieldByIndex(index).Set(from.FieldByIndex(index))
		}
	}
}

// Value returns a T with the members that the body has.
func (c Changes[T]) Value() T { return c.value }

// Has reports whether the body has a member.
func (c Changes[T]) Has(name string) bool { return c.given[name] }

// Len returns how many members the body has.
func (c Changes[T]) Len() int { return len(c.given) }

// TransformSchema implements huma.SchemaTransformer.
func (Changes[T]) TransformSchema(r huma.Registry, _ *huma.Schema) *huma.Schema {
	t := reflect.TypeFor[T]()
	s := huma.SchemaFromType(r, t)
	s.Required = nil
	for name, index := range membersOf(reflect.TypeFor[T]()) {
		if limit, err := strconv.Atoi(t.FieldByIndex(index).Tag.Get("limit")); err == nil {
			s.Properties[name].MaxLength = &limit
			s.Properties[name].PrecomputeMessages()
		}
	}
	return s
}

// membersOf returns the fields of a struct by the names of their JSON members.
func membersOf(t reflect.Type) map[string][]int {
	members := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			members[name] = f.Index
		}
	}
	return members
}

// typeOfChanges returns the T of a Changes[T], and false for any other type.
func typeOfChanges(t reflect.Type) (reflect.Type, bool) {
	if !strings.HasPrefix(t.Name(), "Changes[") ||
		!reflect.PointerTo(t).Implements(reflect.TypeFor[huma.SchemaTransformer]()) {
		return nil, false
	}
	f, ok := t.FieldByName("value")
	return f.Type, ok
}
