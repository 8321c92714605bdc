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

// maxCompared bounds the elements that elements counts: their steps are more than a mapping may use
// and some hundredths of a second.
const maxCompared = 1 << 20

// elements returns the number of values in a value to any depth, itself included. An element that
// occurs twice counts twice. It returns never if there are more than maxCompared.
func elements(v ref.Val) int64 {
	left := int64(maxCompared)
	if countElements(v, &left); left < 0 {
		return never
	}
	return maxCompared - left
}

func countElements(v ref.Val, left *int64) {
	if *left--; *left < 0 || !hasElements(v) {
		return
	}
	if o, ok := v.(*types.Optional); ok {
		countElements(o.GetValue(), left)
		return
	}
	m, isMap := v.(traits.Mapper)
	for i := v.(traits.Iterable).Iterator(); *left >= 0 && i.HasNext() == types.True; {
		x := i.Next()
		if isMap {
			x = m.Get(x)
		}
		countElements(x, left)
	}
}

// hasElements reports whether a value is a list or a map, also within an optional.
func hasElements(v ref.Val) bool {
	switch v := v.(type) {
	case traits.Lister, traits.Mapper:
		return true
	case *types.Optional:
		return v.HasValue()
	}
	return false
}
