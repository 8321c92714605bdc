package engine

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// kinds is a set of CEL's types. It has those of the values that an expression may have. An
// expression of no kind has no value.
type kinds uint16

const (
	nullKind kinds = 1 << iota
	boolKind
	intKind
	uintKind
	doubleKind
	stringKind
	bytesKind
	listKind
	mapKind
	timestampKind
	durationKind
	otherKind // a type, a message, or one of Cerbos' own

	anyKind    = otherKind<<1 - 1
	numberKind = intKind | uintKind | doubleKind
	// jsonKind has what an attribute may be. Each number there is a double.
	jsonKind = nullKind | boolKind | doubleKind | stringKind | listKind | mapKind
)

// kindsOfType returns the kinds that an argument of a declared type takes.
func kindsOfType(t *types.Type) kinds {
	switch t.Kind() {
	case types.DynKind, types.AnyKind, types.TypeParamKind:
		return anyKind
	case types.NullTypeKind:
		return nullKind
	case types.BoolKind:
		return boolKind
	case types.IntKind:
		return intKind
	case types.UintKind:
		return uintKind
	case types.DoubleKind:
		return doubleKind
	case types.StringKind:
		return stringKind
	case types.BytesKind:
		return bytesKind
	case types.ListKind:
		return listKind
	case types.MapKind:
		return mapKind
	case types.TimestampKind:
		return timestampKind
	case types.DurationKind:
		return durationKind
	}
	return otherKind
}

// kindsOf returns the kind of a value, and those of its elements.
func kindsOf(v ref.Val) (kinds, kinds) {
	var elements kinds
	switch of := v.(type) {
	case traits.Mapper:
		for it := of.Iterator(); it.HasNext() == types.True; {
			elements |= asElement(of.Get(it.Next()))
		}
		return mapKind, elements
	case traits.Lister:
		for it := of.Iterator(); it.HasNext() == types.True; {
			elements |= asElement(it.Next())
		}
		return listKind, elements
	}
	if t, ok := v.Type().(*types.Type); ok {
		return kindsOfType(t), 0
	}
	return otherKind, 0
}

// asElement returns the kinds of a value within a list or a map.
func asElement(v ref.Val) kinds {
	own, elements := kindsOf(v)
	return residual{kinds: own, elements: elements}.asElement()
}

// declarations are the functions of CEL, by name. The environment copies them for each caller.
var declarations = sync.OnceValue(func() map[string]*decls.FunctionDecl { return Environment().Functions() })

// ordering are the functions that compare the elements of a list, which must be of one kind.
var ordering = map[string]bool{"sort": true, "@sortByAssociatedKeys": true, "math.@max": true, "math.@min": true}

// called returns the kinds of a call's result and of its elements, by CEL's own declarations. There
// are none if no declared overload takes the arguments. The index of an element may be any number.
//
// A database has one kind of number. If the result depends on whether a number is whole, there are
// none either: a check fails for one of the two, and a filter cannot tell.
func called(function string, member bool, args []residual) (kinds, kinds) {
	declared := declarations()[function]
	if declared == nil {
		return anyKind, anyKind
	}
	if ordering[function] && slices.ContainsFunc(args, func(r residual) bool {
		return bits.OnesCount(uint(r.elements&numberKind)) > 1
	}) {
		return 0, 0
	}
	var result, elements kinds
	for _, o := range declared.OverloadDecls() {
		if o.IsMemberFunction() == member && takes(o, args) {
			own, of := resultOf(function, o, args)
			result, elements = result|own, elements|of
		}
	}
	if result == 0 || function == operators.Index {
		return result, elements
	}
	some, all := false, true
	eachChoice(args, 0, func() {
		fits := false
		for _, o := range declared.OverloadDecls() {
			fits = fits || o.IsMemberFunction() == member && takes(o, args)
		}
		some, all = some || fits, all && fits
	})
	if some && !all {
		return 0, 0
	}
	return result, elements
}

// eachChoice calls f with every choice of one kind of number for each argument that may be one.
func eachChoice(args []residual, i int, f func()) {
	if i == len(args) {
		f()
		return
	}
	own := args[i].kinds
	if own&numberKind == 0 {
		eachChoice(args, i+1, f)
		return
	}
	for _, number := range []kinds{intKind, uintKind, doubleKind} {
		if own&number != 0 {
			args[i].kinds = number
			eachChoice(args, i+1, f)
		}
	}
	args[i].kinds = own
}

// takes reports whether an overload takes the arguments.
func takes(o *decls.OverloadDecl, args []residual) bool {
	if len(o.ArgTypes()) != len(args) {
		return false
	}
	for i, t := range o.ArgTypes() {
		if kindsOfType(t)&args[i].kinds == 0 {
			return false
		}
	}
	return true
}

// resultOf returns the kinds of an overload's result and of its elements.
func resultOf(function string, o *decls.OverloadDecl, args []residual) (kinds, kinds) {
	result := o.ResultType()
	if function == "dyn" || function == "id" {
		return args[0].kinds, args[0].elements
	}
	// parameter returns the kinds that a type parameter stands for.
	parameter := func(t *types.Type) kinds {
		if t.Kind() != types.TypeParamKind {
			return kindsOfType(t)
		}
		var out kinds
		for i, of := range o.ArgTypes() {
			switch {
			case of.Kind() == types.TypeParamKind && of.TypeName() == t.TypeName():
				out |= args[i].kinds
			case len(of.Parameters()) > 0 && of.Parameters()[len(of.Parameters())-1].TypeName() == t.TypeName():
				out |= args[i].elements
			}
		}
		return out
	}
	own := parameter(result)
	if of := result.Parameters(); len(of) > 0 {
		return own, parameter(of[len(of)-1])
	}
	if own&(listKind|mapKind) == 0 {
		return own, 0
	}
	if function == operators.Index && args[0].elements&^jsonKind == 0 {
		return own, jsonKind // of attributes
	}
	return own, anyKind
}

// numbers is one set for all kinds of numbers, which are equal to each other.
func (k kinds) comparable() kinds {
	if k&numberKind != 0 {
		return k | numberKind
	}
	return k
}
