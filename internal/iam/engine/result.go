package engine

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Bounds on the value of an expression.
const (
	maxResult = 8 << 10 // bytes as JSON
	maxDepth  = 16      // of lists and maps
)

var errLargeResult = fmt.Errorf("its value has more than %d bytes as JSON, or lists within lists deeper than %d",
	maxResult, maxDepth)

var errLargeResults = fmt.Errorf("the values of all mappings have more than %d bytes as JSON", budgetResults)

// jsonOf returns a value of CEL as it stands in JSON, and takes its size from budget. A list may
// refer to another one many times, so its bytes are counted while they are copied.
func jsonOf(v ref.Val, budget *int) (any, error) {
	left := maxResult
	out, err := copyJSON(v, &left, maxDepth)
	if err != nil {
		return nil, err
	}
	if *budget < maxResult-left {
		return nil, errLargeResults
	}
	*budget -= maxResult - left
	return out, nil
}

func copyJSON(v ref.Val, left *int, depth int) (any, error) {
	if *left -= jsonSize(v); *left < 0 || depth == 0 {
		return nil, errLargeResult
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errors.New("JSON has no number for its value")
		}
		return float64(v), nil
	case types.String:
		if !utf8.ValidString(string(v)) {
			return nil, errors.New("its value is not valid UTF-8")
		}
		return string(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339), nil
	case traits.Mapper:
		out := map[string]any{}
		for i := v.Iterator(); i.HasNext() == types.True; {
			key := i.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, errors.New("a map in its value has a key that is not a text")
			}
			var err error
			if *left -= jsonSize(key) + 1; *left < 0 {
				return nil, errLargeResult
			}
			if out[string(name)], err = copyJSON(v.Get(key), left, depth-1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case traits.Lister:
		out := []any{}
		for i := v.Iterator(); i.HasNext() == types.True; {
			x, err := copyJSON(i.Next(), left, depth-1)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case *types.Err:
		return nil, v
	}
	return nil, fmt.Errorf("its value is a %s, which JSON does not have", v.Type().TypeName())
}

// jsonSize estimates the bytes of a value in JSON, without those of its elements.
func jsonSize(v ref.Val) int {
	if s, ok := v.(types.String); ok {
		return len(s) + 3
	}
	return 5
}
