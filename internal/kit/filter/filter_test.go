package filter_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

var columns = filter.Columns{
	"id":     {SQL: "a.id", Kind: filter.ID},
	"status": {SQL: "a.status", Kind: filter.Text},
	"owner":  {SQL: "EXISTS (SELECT 1)", Kind: filter.Bool},
	"groups": {SQL: "EXISTS (SELECT 1 FROM m WHERE m.g IN (%s))", Kind: filter.IDs},
}

func attr(name string) filter.Node { return filter.Node{Attribute: name} }
func val(v any) filter.Node        { return filter.Node{Value: v} }
func op(name string, operands ...filter.Node) filter.Node {
	return filter.Node{Operator: name, Operands: operands}
}
func list(s ...any) filter.Node { return val(s) }

func TestSQL(t *testing.T) {
	a, b := id.New(), id.New()
	for want, f := range map[string]filter.Filter{
		"":                                  filter.All(),
		" AND 1 = 0":                        filter.Nothing(),
		" AND (a.status IN (active))":       filter.Where(op("eq", attr("status"), val("active"))),
		" AND (NOT (a.status IN (active)))": filter.Where(op("ne", val("active"), attr("status"))),
		" AND (a.id IN (" + a.String() + ", " + b.String() +
			"))": filter.Where(op("in", attr("id"), list(a.String(), "nonsense", b.String()))),
		" AND (1 = 0)":                   filter.Where(op("in", attr("id"), list())),
		" AND (EXISTS (SELECT 1))":       filter.Where(attr("owner")),
		" AND (NOT (EXISTS (SELECT 1)))": filter.Where(op("eq", attr("owner"), val(false))),
		" AND (NOT (NOT (EXISTS (SELECT 1))))": filter.Where(op("not",
			op("ne", attr("owner"), val(true)))),
		" AND ((EXISTS (SELECT 1) OR 1 = 1))": filter.Where(op("or",
			attr("owner"), val(true))),
		" AND ((a.status IN (x) AND (1 = 0 OR a.status IN (y, z))))": filter.Where(op("and",
			op("eq", attr("status"), val("x")), op("or", val(false), op("in", attr("status"), list("y", "z"))))),
		" AND (EXISTS (SELECT 1 FROM m WHERE m.g IN (" + a.String() + ", " + b.String() +
			")))": filter.Where(op("hasIntersection", attr("groups"), list(a.String(), b.String()))),
		" AND (EXISTS (SELECT 1 FROM m WHERE m.g IN (" + b.String() +
			")))": filter.Where(op("in", val(b.String()), attr("groups"))),
		" AND (a.status IN (' OR 1=1 --))": filter.Where(op("eq", attr("status"), val("' OR 1=1 --"))),
	} {
		got, err := f.SQL(columns, func(v any) string { return fmt.Sprint(v) })
		if err != nil {
			t.Errorf("%s: %v", want, errors.Unwrap(err))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Whatever is not known refuses the list.
func TestUnsupported(t *testing.T) {
	deep := attr("owner")
	for range 20 {
		deep = op("not", deep)
	}
	for name, n := range map[string]filter.Node{
		"operator":                  op("gt", attr("status"), val("a")),
		"matches":                   op("matches", attr("status"), val(".*")),
		"nested operator":           op("or", val(true), op("exists", attr("groups"), op("lambda"))),
		"attribute":                 op("eq", attr("secret_hash"), val("a")),
		"attribute for a condition": attr("status"),
		"set for a condition":       attr("groups"),
		"number":                    op("eq", attr("status"), val(1.0)),
		"null":                      op("eq", attr("status"), val(nil)),
		"text for a truth":          op("eq", attr("owner"), val("true")),
		"two attributes":            op("eq", attr("status"), attr("id")),
		"two values":                op("eq", val("a"), val("a")),
		"computed":                  op("eq", op("add", attr("status"), val("x")), val("ax")),
		"computed value":            op("eq", attr("status"), op("add", val("x"), val("y"))),
		"value in a text":           op("in", val("a"), attr("status")),
		"set in a list":             op("in", attr("groups"), list("a")),
		"list with a number":        op("in", attr("status"), list("a", 1.0)),
		"not a list":                op("in", attr("status"), val("a")),
		"equal to a set":            op("eq", attr("groups"), val("a")),
		"and of nothing":            op("and"),
		"not of two":                op("not", attr("owner"), attr("owner")),
		"eq of one":                 op("eq", attr("owner")),
		"value":                     val("yes"),
		"empty":                     {},
		"deep":                      deep,
		"long":                      op("in", attr("status"), val(slices.Repeat([]any{"a"}, 1001))),
	} {
		if got, err := filter.Where(n).SQL(columns, func(any) string { return "?" }); !errors.Is(err,
			filter.ErrUnsupported) || got != "" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestNoFilterShowsNothing(t *testing.T) {
	for _, f := range []filter.Filter{{}, filter.Nothing()} {
		if got, _ := f.SQL(columns, nil); got != " AND 1 = 0" {
			t.Errorf("%q", got)
		}
	}
	if got, _ := filter.All().SQL(columns, nil); strings.Contains(got, "0") {
		t.Errorf("%q", got)
	}
}
