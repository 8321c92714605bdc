package api

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// nullMember begins the text of the error for null in a member that cannot be null.
const nullMember = "null member "

// applyNulls gives the nulls of a body their meaning, after encoding/json has skipped them. In a
// merge patch null empties the member (RFC 7396 §2). It fails for a member that cannot be empty,
// and for every null of another body. A member that may have any form may contain nulls.
func applyNulls(data []byte, into any, mergePatch bool) error {
	if !bytes.Contains(data, []byte("null")) {
		return nil
	}
	var body any
	if err := json.Unmarshal(data, &body); err != nil {
		return err
	}
	if name := nullIn(reflect.ValueOf(into).Elem(), body, "", mergePatch); name != "" {
		return sentence(nullMember + name)
	}
	return nil
}

// nullIn returns the name of the first member of value that may not be null and is. name is that of
// value itself.
func nullIn(value reflect.Value, body any, name string, mergePatch bool) string {
	for value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}
	if value.CanAddr() {
		if c, ok := value.Addr().Interface().(interface{ members() reflect.Value }); ok {
			value = c.members()
		} else if isText(value.Type()) {
			return ""
		}
	}
	switch body := body.(type) {
	case map[string]any:
		if value.Kind() == reflect.Struct {
			return nullInStruct(value, body, name, mergePatch)
		}
	case []any:
		if value.Kind() != reflect.Slice || value.Type().Elem().Kind() == reflect.Interface {
			return ""
		}
		for i, item := range body[:min(len(body), value.Len())] {
			child := fmt.Sprintf("%s[%d]", name, i)
			if item == nil {
				return child
			}
			if found := nullIn(value.Index(i), item, child, false); found != "" {
				return found
			}
		}
	}
	return ""
}

func nullInStruct(value reflect.Value, body map[string]any, name string, mergePatch bool) string {
	fields := membersOf(value.Type())
	for _, member := range slices.Sorted(maps.Keys(body)) {
		index, ok := fields[member]
		if !ok {
			continue
		}
		child := member
		if name != "" {
			child = name + "." + member
		}
		field := value.FieldByIndex(index)
		if body[member] != nil {
			// A Changes merges. Any other member is replaced as a whole.
			_, merges := typeOfChanges(pointedTo(field.Type()))
			if found := nullIn(field, body[member], child, merges); found != "" {
				return found
			}
			continue
		}
		none, ok := emptied(value.Type().FieldByIndex(index))
		if !mergePatch || !ok {
			return child
		}
		field.Set(none)
	}
	return ""
}

// emptied returns the empty text, list or object that null stands for in a field. It reports
// whether the field may be empty.
func emptied(f reflect.StructField) (reflect.Value, bool) {
	for _, demand := range []string{"enum", "pattern", "minLength", "minItems"} {
		if f.Tag.Get(demand) != "" {
			return reflect.Value{}, false
		}
	}
	inner := reflect.New(pointedTo(f.Type)).Elem()
	if _, ok := typeOfChanges(inner.Type()); ok {
		return reflect.Value{}, false
	}
	switch inner.Kind() {
	case reflect.String:
	case reflect.Slice:
		inner.Set(reflect.MakeSlice(inner.Type(), 0, 0))
	case reflect.Map:
		inner.Set(reflect.MakeMap(inner.Type()))
	case reflect.Struct:
		if isText(inner.Type()) { // such as a time
			return reflect.Value{}, false
		}
	default:
		return reflect.Value{}, false
	}
	if f.Type.Kind() == reflect.Pointer {
		inner = inner.Addr()
	}
	return inner, true
}

// describeNulls adds null to the members of a merge patch that it empties.
func describeNulls(schemas huma.Registry, schema *huma.Schema, patch reflect.Type) {
	if schema.Ref != "" {
		schema = schemas.SchemaFromRef(schema.Ref)
	}
	if of, ok := typeOfChanges(patch); ok {
		patch = of
	}
	for name, index := range membersOf(patch) {
		f := patch.FieldByIndex(index)
		member := schema.Properties[name]
		if _, merges := typeOfChanges(pointedTo(f.Type)); merges {
			describeNulls(schemas, member, pointedTo(f.Type))
			continue
		}
		if _, ok := emptied(f); !ok {
			continue
		}
		if member.Ref != "" { // others refer to it, and take no null
			own := *schemas.SchemaFromRef(member.Ref)
			own.Description = cmp.Or(member.Description, own.Description)
			member, schema.Properties[name] = &own, &own
		}
		member.Nullable = true
		member.PrecomputeMessages()
	}
}

func pointedTo(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// isText reports whether JSON has values of the type as texts: it has no members.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
