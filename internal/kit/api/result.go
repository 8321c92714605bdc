package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// A caller may be allowed to change a thing and not to read it. The answer of a change then has
// only the members that are tagged always, such as the id and a new secret. This is the one place
// that decides it, for all operations.

// visible returns what of an output the caller may see.
func (r Request) visible(out any) any {
	if !r.change || r.Reads {
		return out
	}
	b, err := json.Marshal(out)
	var members map[string]json.RawMessage
	if err != nil || json.Unmarshal(b, &members) != nil {
		return struct{}{}
	}
	always := alwaysOf(reflect.TypeOf(out))
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return !slices.Contains(always, name) })
	return members
}

// alwaysOf returns the members of a type that every caller of a change sees.
func alwaysOf(t reflect.Type) []string {
	var names []string
	if t = pointedTo(t); t.Kind() != reflect.Struct {
		return nil
	}
	for name, index := range membersOf(t) {
		if t.FieldByIndex(index).Tag.Get("always") == "true" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// describeResult describes the answer of a change for callers who may not read the thing: it
// requires only the members that they see.
func (o Operation) describeResult(doc *huma.OpenAPI) {
	if o.Method == http.MethodGet || o.ReadAction() == o.Action {
		return
	}
	op := operationOf(doc, o.Op)
	answer := op.Responses[strconv.Itoa(o.Status)].Content["application/json"]
	if answer == nil || answer.Schema.Ref == "" {
		return
	}
	schemas := doc.Components.Schemas
	name := answer.Schema.Ref[strings.LastIndexByte(answer.Schema.Ref, '/')+1:]
	result := *schemas.Map()[name]
	always := alwaysOf(o.output)
	result.Required = slices.DeleteFunc(slices.Clone(result.Required), func(member string) bool {
		return !slices.Contains(always, member)
	})
	only := "nothing"
	if len(always) > 0 {
		only = "only " + strings.Join(always, ", ")
	}
	result.Description = "The answer of a change. Without the action " + o.ReadAction() + " it has " + only + "."
	if other := schemas.Map()[name+"Result"]; other != nil && other.Description != result.Description {
		panic("api: two types are described as " + name + "Result")
	}
	schemas.Map()[name+"Result"] = &result
	answer.Schema = &huma.Schema{Ref: strings.TrimSuffix(answer.Schema.Ref, name) + name + "Result"}
}
