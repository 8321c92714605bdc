package engine

import (
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// comparisons are the operators that compare values to any depth. A list may refer to another one
// many times, so a line of nested lists takes hours to compare with itself.
var comparisons = map[string]functions.BinaryOp{
	operators.Equals:    types.Equal,
	operators.NotEquals: func(a, b ref.Val) ref.Val { return types.Bool(types.Equal(a, b) != types.True) },
	operators.In: func(x, of ref.Val) ref.Val {
		if of.Type().HasTrait(traits.ContainerType) {
			return of.(traits.Container).Contains(x)
		}
		return types.MaybeNoSuchOverloadErr(of)
	},
}

// comparison is a call that compares two values. It is costed if the left one has elements, or is a
// long text.
type comparison struct {
	interpreter.InterpretableCall
	left, right interpreter.InterpretableV2
	compare     functions.BinaryOp
}

// Eval implements interpreter.Interpretable.
func (c *comparison) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

// Exec implements interpreter.InterpretableV2. It treats errors and unknowns as cel-go's own calls
// do.
func (c *comparison) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	left := c.left.Exec(frame)
	if types.IsError(left) {
		return left
	}
	right := c.right.Exec(frame)
	if types.IsError(right) {
		return right
	}
	unknown, _ := types.MaybeMergeUnknowns(left, nil)
	if unknown, _ = types.MaybeMergeUnknowns(right, unknown); unknown != nil {
		return unknown
	}
	if text := size(left) / textPerStep; text > 0 || hasElements(left) {
		steps := text
		if hasElements(left) {
			steps = comparisonSteps(left)
		}
		if c.Function() == operators.In {
			steps *= count(right)
		}
		if !evaluationIn(frame).take(0, steps) {
			panic(interpreter.EvalCancelledError{Message: errTooMuch.Error(), Cause: interpreter.CostLimitExceeded})
		}
	}
	return types.LabelErrNode(c.ID(), c.compare(left, right))
}

// maxCompared bounds the values that are counted: their steps are more than a mapping may use and
// some hundredths of a second.
const maxCompared = 1 << 20

// textPerStep is the length of text, in bytes, that is compared in a step.
const textPerStep = 1024

// comparisonSteps returns the steps to compare a value with another one: its values to any depth,
// and their texts.
func comparisonSteps(v ref.Val) int64 {
	w := weigh(v)
	return min(never, w.values+w.text/textPerStep)
}

// elements returns the number of values in a value to any depth, itself included.
func elements(v ref.Val) int64 { return weigh(v).values }

// weight is what a value consists of. What occurs twice counts twice.
type weight struct {
	values int64 // itself and its elements to any depth; never if there are more than maxCompared
	text   int64 // bytes of its texts
}

func weigh(v ref.Val) weight {
	var w weight
	if w.add(v); w.values > maxCompared {
		w.values = never
	}
	return w
}

func (w *weight) add(v ref.Val) {
	if w.values++; w.values > maxCompared {
		return
	}
	switch v := v.(type) {
	case types.String, types.Bytes:
		w.text += size(v)
	case *types.Optional:
		if v.HasValue() {
			w.add(v.GetValue())
		}
	case traits.Mapper:
		for i := v.Iterator(); w.values <= maxCompared && i.HasNext() == types.True; {
			key := i.Next()
			w.text += size(key)
			w.add(v.Get(key))
		}
	case traits.Lister:
		for i := v.Iterator(); w.values <= maxCompared && i.HasNext() == types.True; {
			w.add(i.Next())
		}
	case hierarchy:
		for i := types.Int(0); w.values <= maxCompared && i < types.Int(count(v)); i++ {
			w.add(v.Get(i))
		}
	}
}

// hierarchy is a value of Cerbos' function of this name, besides lists and maps.
type hierarchy interface {
	ref.Val
	traits.Indexer
	traits.Sizer
}

// hasElements reports whether a value is a list, a map or a hierarchy, also within an optional.
func hasElements(v ref.Val) bool {
	switch v := v.(type) {
	case hierarchy: // a list or a map too
		return true
	case *types.Optional:
		return v.HasValue()
	}
	return false
}
