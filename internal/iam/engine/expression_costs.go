package engine

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// uncheckedCosts counts calls as CEL does for an expression whose types are checked: it knows such
// calls by their overloads, and here they have none.
type uncheckedCosts struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (uncheckedCosts) CallCost(function, overload string, args []ref.Val, _ ref.Val) *uint64 {
	cost := int64(1)
	switch function {
	case operators.In:
		if _, ok := args[1].(traits.Lister); ok {
			cost += count(args[1])
		}
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		cost += min(size(args[0]), size(args[1])) / 10
	case operators.Add, "startsWith", "endsWith":
		cost += textSize(args[0])/10 + textSize(args[1])/10
	case "string", "bytes", "strings.quote", "format":
		cost += textSize(args[0]) / 10
	case "contains":
		cost += textSize(args[0]) / 10 * (textSize(args[1])/10 + 1)
	default:
		if overload != "" {
			return nil // CEL knows it
		}
	}
	c := uint64(cost)
	return &c
}

// textSize is size for texts and bytes, and 0 for all other values.
func textSize(v ref.Val) int64 {
	if _, ok := v.(traits.Iterable); ok {
		return 0
	}
	return size(v)
}
