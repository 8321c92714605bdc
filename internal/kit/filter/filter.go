// Package filter says which rows of a list its reader may see. A filter is a condition on named
// attributes. A door takes it from the policies, and a store turns it into SQL of its own.
//
// Invariants:
//
//   - The zero Filter shows nothing: a door that forgets the filter cannot show too much.
//   - SQL text comes from the store's columns only, and values are bound.
//   - An attribute without a column, an unknown operator and a value of the wrong type are errors,
//     never "true".
//
// It knows neither policies nor tables.
package filter

import (
	"fmt"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Filter selects the rows that are shown. It is immutable.
type Filter struct {
	all       bool
	condition *Node
}

// All returns a filter that shows every row.
func All() Filter { return Filter{all: true} }

// Nothing returns the zero Filter, which shows no row.
func Nothing() Filter { return Filter{} }

// ShowsAll reports whether every row is shown.
func (f Filter) ShowsAll() bool { return f.all }

// Where returns a filter that shows the rows for which condition holds.
func Where(condition Node) Filter { return Filter{condition: &condition} }

// Node is one node of a condition: an operator with its operands, an attribute of the
// row, or a value.
type Node struct {
	Operator  string // and, or, not, eq, ne, in, hasIntersection; "" for a leaf
	Operands  []Node
	Attribute string // a leaf that is an attribute: "id", "status"
	Value     any    // a leaf that is a value: string, bool, or a list of strings
}

// Kind is the type of an attribute.
type Kind int

// The kinds of attribute.
const (
	Text Kind = iota
	Bool      // the expression is a condition
	ID        // an id.ID; a text that is none equals no row's
	// a set of ids that is in other rows: the expression is a condition with %s for a list of ids,
	// true when one is in the set
	IDs
)

// Column says how a store reads an attribute.
type Column struct {
	SQL  string
	Kind Kind
}

// Columns are the attributes that a list can be filtered by.
type Columns map[string]Column

// ErrUnsupported refuses a list whose condition cannot be turned into SQL.
var ErrUnsupported = fault.New(fault.Internal, "filter.unsupported",
	"The policies limit this list in a way that it cannot be limited.")

// SQL returns the condition to add to a WHERE clause. It begins with " AND ", or is "" if every row
// is shown. arg binds a value and returns its placeholder. It fails with ErrUnsupported.
func (f Filter) SQL(columns Columns, arg func(v any) string) (string, error) {
	switch {
	case f.all:
		return "", nil
	case f.condition == nil:
		return " AND 1 = 0", nil
	}
	w := writer{columns: columns, arg: arg}
	text, err := w.condition(*f.condition, 0)
	if err != nil {
		return "", err
	}
	return " AND (" + text + ")", nil
}

// Bounds on a condition. Reasonable policies stay far below.
const (
	maxDepth  = 16
	maxValues = 1000
)

type writer struct {
	columns Columns
	arg     func(v any) string
	values  int
}

func unsupported(format string, args ...any) error {
	return ErrUnsupported.Because(fmt.Errorf(format, args...))
}

// condition writes a node that is true or false for a row.
func (w *writer) condition(n Node, depth int) (string, error) {
	if depth > maxDepth {
		return "", unsupported("deeper than %d", maxDepth)
	}
	switch n.Operator {
	case "":
		return w.truth(n)
	case "and", "or":
		if len(n.Operands) == 0 {
			return "", unsupported("%s of nothing", n.Operator)
		}
		parts := make([]string, len(n.Operands))
		for i, o := range n.Operands {
			part, err := w.condition(o, depth+1)
			if err != nil {
				return "", err
			}
			parts[i] = part
		}
		return "(" + strings.Join(parts, " "+strings.ToUpper(n.Operator)+" ") + ")", nil
	case "not":
		if len(n.Operands) != 1 {
			return "", unsupported("not of %d", len(n.Operands))
		}
		part, err := w.condition(n.Operands[0], depth+1)
		return "NOT (" + part + ")", err
	case "eq", "ne", "in", "hasIntersection":
		return w.comparison(n)
	}
	return "", unsupported("operator %q", n.Operator)
}

// truth writes a leaf that is a condition itself.
func (w *writer) truth(n Node) (string, error) {
	if n.Attribute == "" {
		switch n.Value {
		case true:
			return "1 = 1", nil
		case false:
			return "1 = 0", nil
		}
		return "", unsupported("the value %v as a condition", n.Value)
	}
	c, ok := w.columns[n.Attribute]
	if !ok || c.Kind != Bool {
		return "", unsupported("attribute %q as a condition", n.Attribute)
	}
	return c.SQL, nil
}

// comparison writes the comparison of an attribute with a value. Either may come first.
func (w *writer) comparison(n Node) (string, error) {
	if len(n.Operands) != 2 {
		return "", unsupported("%s of %d", n.Operator, len(n.Operands))
	}
	attribute, value := n.Operands[0], n.Operands[1]
	if attribute.Attribute == "" {
		attribute, value = value, attribute
	}
	c, ok := w.columns[attribute.Attribute]
	if !ok || value.Attribute != "" || value.Operator != "" || attribute.Operator != "" {
		return "", unsupported("%s of %q and %q", n.Operator, n.Operands[0].Attribute, n.Operands[1].Attribute)
	}
	switch {
	case n.Operator == "in" && c.Kind == IDs: // "x" in the row's set
		text, ok := value.Value.(string)
		if !ok || attribute.Attribute != n.Operands[1].Attribute {
			return "", unsupported("in")
		}
		return w.oneOf(c, []any{text})
	case n.Operator == "hasIntersection" && c.Kind == IDs, n.Operator == "in" && c.Kind != Bool &&
		attribute.Attribute == n.Operands[0].Attribute:
		list, ok := value.Value.([]any)
		if !ok {
			return "", unsupported("%s of %T", n.Operator, value.Value)
		}
		return w.oneOf(c, list)
	case n.Operator != "eq" && n.Operator != "ne":
		return "", unsupported("%s of %q", n.Operator, attribute.Attribute)
	case c.Kind == Bool:
		b, ok := value.Value.(bool)
		if !ok {
			return "", unsupported("%T for %q", value.Value, attribute.Attribute)
		}
		if b == (n.Operator == "eq") {
			return c.SQL, nil
		}
		return "NOT (" + c.SQL + ")", nil
	case c.Kind == IDs:
		return "", unsupported("%s of a set", n.Operator)
	}
	text, err := w.oneOf(c, []any{value.Value})
	if n.Operator == "ne" {
		text = "NOT (" + text + ")"
	}
	return text, err
}

// oneOf writes the condition that a column holds one of the values.
func (w *writer) oneOf(c Column, values []any) (string, error) {
	var places []string
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			return "", unsupported("a list with %T", v)
		}
		if w.values++; w.values > maxValues {
			return "", unsupported("more than %d values", maxValues)
		}
		if c.Kind == Text {
			places = append(places, w.arg(text))
			continue
		}
		if i, err := id.Parse(text); err == nil && !i.IsZero() {
			places = append(places, w.arg(i))
		}
	}
	switch {
	case len(places) == 0:
		return "1 = 0", nil
	case c.Kind == IDs:
		return fmt.Sprintf(c.SQL, strings.Join(places, ", ")), nil
	}
	return c.SQL + " IN (" + strings.Join(places, ", ") + ")", nil
}
