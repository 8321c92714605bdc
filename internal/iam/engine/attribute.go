package engine

import "google.golang.org/protobuf/types/known/structpb"

// Texts returns a list of strings as the value of an attribute.
func Texts(list []string) *structpb.Value {
	values := make([]*structpb.Value, len(list))
	for i, s := range list {
		values[i] = structpb.NewStringValue(s)
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}
