package engine

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
)

type testPerson struct {
	Name       string           `cel:"name"`
	Attributes *structpb.Struct `cel:"attributes"`
}

type testVars struct {
	User   testPerson `cel:"user"`
	Groups []string   `cel:"groups"`
}

var testLanguage = NewLanguage(testVars{User: testPerson{"Ada", &structpb.Struct{}}, Groups: []string{"admins"}})

// evaluateTest returns the value of an expression for a person in so many groups with long names.
func evaluateTest(t *testing.T, source string, groups int) (any, *Budget, error) {
	t.Helper()
	attributes, _ := structpb.NewStruct(map[string]any{"floor": 3, "tags": []any{"a", nil}})
	vars := testVars{User: testPerson{"Ada", attributes}}
	for i := range groups {
		vars.Groups = append(vars.Groups, fmt.Sprintf("g%d%s", i, strings.Repeat("x", 100)))
	}
	x, err := testLanguage.Compile(source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	b := NewBudget()
	defer b.End()
	v, _, err := x.Evaluate(b, vars)
	return v, b, err
}

// Every kind of value that JSON has, and the errors of those that it does not have.
func TestExpressionValues(t *testing.T) {
	for source, want := range map[string]any{
		`true`: true, `null`: nil, `3`: int64(3), `3u`: uint64(3), `1.5`: 1.5, `user.name`: "Ada",
		`user.attributes.floor`: 3.0, `user.attributes.tags`: []any{"a", nil},
		`user.attributes[?"none"].orValue("z")`: "z", `"g" in groups`: false, `groups.size()`: int64(2),
		`{"a": {"b": [1]}}`:                 map[string]any{"a": map[string]any{"b": []any{int64(1)}}},
		`timestamp("2026-01-02T03:04:05Z")`: "2026-01-02T03:04:05Z",
	} {
		got, _, err := evaluateTest(t, source, 2)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", source, err, diff)
		}
	}
	for source, want := range map[string]string{
		`{1: 2}`: "a key that is not a text", `1.0 / 0.0`: "JSON has no number", `b"x"`: "JSON does not have",
		`type(1)`: "JSON does not have", `user`: "JSON does not have", `groups[99]`: "index out of bounds",
		`user.attributes.none`: "no such key", `optional.none()`: "JSON does not have",
		`[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]`: "deeper than",
		`groups + groups + groups + groups`:     "more than 8192 bytes",
	} {
		if v, _, err := evaluateTest(t, source, 30); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", source, v, err)
		}
	}
}

// An expression that would cost much has no value, and what it costs is bounded.
func TestGreedyExpressions(t *testing.T) {
	for _, source := range []string{
		`groups.map(a, groups.map(b, a + b)).size()`,
		`groups.exists(a, groups.exists(b, groups.exists(c, a + b == c)))`,
		`[1, 2, 3, 4, 5, 6, 7, 8].map(i, groups.join("")).join("")`,
		`groups.all(g, g.matches("(x{1,900}){1,1}y") || true)`,
		`lists.range(100000000)`, `lists.range(40000).map(i, user.name)`,
		`user.name.replace("", groups.join("")).replace("", groups.join(""))`,
		doubling(`a9 == a9`), doubling(`a9 != a8 + a8`), doubling(`a9 in [a9]`), doubling(`sets.contains([a9], [a9])`),
		doubling(`[a9, a9].distinct()`), doubling(`{"a": optional.of(a9)} == {"a": optional.of(a9)}`),
		`lists.range(900).all(i, "a".matches("(?i)[` + strings.Repeat("B-\U0001e942", 30) + `]" + string(i)) || true)`,
		`lists.range(900).all(i, regex.extract("a", r"[` + strings.Repeat(`\pL`, 300) +
			`]" + string(i)).hasValue() || true)`,
		`cel.bind(a, groups + groups, cel.bind(b, a + a, cel.bind(c, b + b, [c, c, c, c, c, c, c, c])))`,
	} {
		began := time.Now()
		v, b, err := evaluateTest(t, source, 500)
		if took := time.Since(began); err == nil || took > evaluationTime || b.running.made > budgetMade {
			t.Errorf("%s: %.30v %v after %v", source, v, err, took)
		}
	}
}

// doubling binds a9 to a list of 8 lists of 8 lists, and so on: 1 << 30 elements in 300 bytes.
func doubling(inner string) string {
	for i := 9; i > 0; i-- {
		inner = fmt.Sprintf("cel.bind(a%d, [%s], %s)", i, strings.Repeat(fmt.Sprintf("a%d,", i-1), 8), inner)
	}
	return "cel.bind(a0, [1,2,3,4,5,6,7,8], " + inner + ")"
}

// CEL counts what a call has built. So a call that would build too much is not made.
func TestACostlyCallIsNotMade(t *testing.T) {
	for _, source := range []string{`lists.range(200000).size()`, `[1, 2].map(i, lists.range(25000)).size()`} {
		if _, b, err := evaluateTest(t, source, 0); err == nil || !b.running.over {
			t.Errorf("%s: %v after %d bytes", source, err, b.running.made)
		}
	}
}

// The values of one token together are bounded too.
func TestTheResultsOfABudget(t *testing.T) {
	x, err := testLanguage.Compile(`groups`)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBudget()
	defer b.End()
	vars := testVars{Groups: []string{strings.Repeat("x", 6000)}}
	for i, want := range []bool{true, true, false} {
		if _, _, err := x.Evaluate(b, vars); (err == nil) != want {
			t.Errorf("value %d: %v", i, err)
		}
	}
}

// The time on the clock is the last bound.
func TestAnExpressionEndsWithItsTime(t *testing.T) {
	x, err := testLanguage.Compile(`groups.all(g, g != "")`)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBudget()
	defer b.End()
	b.running.At = time.Now()
	if v, _, err := x.Evaluate(b, testVars{Groups: make([]string, 500)}); err == nil {
		t.Errorf("%v", v)
	}
}

// An error names the place. What belongs to conditions has no name, and text that is nested deeply
// is refused in little time.
func TestExpressionsThatDoNotCompile(t *testing.T) {
	for source, want := range map[string]Wrong{
		`P.id`: {1, 1, "undeclared reference to 'P'"}, `user.nmae`: {1, 5, "undefined field 'nmae'"},
		"groups.map(g,\n g + 1)":           {2, 4, "no such overload"},
		`true ? request.principal.id : ""`: {1, 8, "undeclared"},
		`groups.map(g, g) == g`:            {1, 21, "undeclared reference to 'g'"},
		`has(user.nmae)`:                   {1, 4, "undefined field 'nmae'"},
		`cel.bind(user, 1, @evaluation)`:   {1, 19, "Syntax error"},
		`user.name.siez()`:                 {1, 15, "undeclared reference to 'siez'"},
		`size(1, 2)`:                       {1, 5, "found no matching overload for 'size'"},
		`base64.encode()`:                  {1, 14, "found no matching overload for 'base64.encode'"},
		`user.name + 1`:                    {1, 11, "no such overload"},
		`"a".matches("(")`:                 {1, 13, "missing closing )"},
		`timestamp("noon")`:                {1, 10, "invalid RFC 3339"},
		`none.Such{}`:                      {1, 10, "it creates a none.Such, which no mapping can"},
		`google.protobuf.ListValue{}`:      {1, 26, "which no mapping can"},
		strings.Repeat("(", 4000):          {1, 1, "recursion limit"},
		strings.Repeat("a.", 2000):         {1, 1, "recursion depth"},
		strings.Repeat("-", 4000):          {1, 4001, "Syntax error"},
		strings.Repeat("[1].map(x,", 400):  {1, 1, "recursion limit"},
		strings.Repeat("1", 17_000):        {1, 1, "size exceeds limit"},
	} {
		began := time.Now()
		b := NewBudget()
		err := testLanguage.Check(b, source)
		b.End()
		wrong, ok := errors.AsType[Wrong](err)
		if !ok || wrong.Line != want.Line || wrong.Column != want.Column ||
			!strings.Contains(wrong.Reason, want.Reason) {
			t.Errorf("%.30s: %v", source, err)
		}
		if took := time.Since(began); took > evaluationTime {
			t.Errorf("%.30s: %v", source, took)
		}
	}
}

// growing returns an expression whose types grow by a factor of n at each of 8 levels: {} gets a
// type with n copies of that of the level before.
func growing(n int) string {
	source := "true"
	for level := 7; level >= 0; level-- {
		key := "groups"
		if level > 0 {
			key = fmt.Sprint("m", level-1)
		}
		var parts []string
		for k := range n {
			parts = append(parts, fmt.Sprintf("m%d%s=={}", level, strings.Repeat("["+key+"]", k+1)))
		}
		source = fmt.Sprintf("cel.bind(m%d,{},[%s]==[] && %s)", level, strings.Join(parts, ","), source)
	}
	return source
}

// To compile an expression is bounded whatever its shape. A type checker would never end at some of
// these, and the macros of others multiply their text at every level.
func TestTheWorkToCompileIsBounded(t *testing.T) {
	nest := func(inner, before, after string) string {
		return strings.Repeat(before, 40) + inner + strings.Repeat(after, 40)
	}
	const large = "regular expressions are too large"
	const most = programBytes + maxNodes*nodeBytes + maxInstructions*instructionBytes
	for source, want := range map[string]string{
		growing(3):  "",
		growing(5):  "",
		growing(12): "",
		nest("optional.of(1)", "", ".optMap(x, x)"):                        "expression count exceeds limit",
		nest("optional.of(1)", "", ".optFlatMap(x, x)"):                    "expression count exceeds limit",
		nest("1", "[", "].map(a, {a: a})"):                                 "",
		nest("1", "[1].transformMapEntry(k, v, {v: ", "})"):                "",
		nest("groups", "", ".map(a, a)"):                                   "",
		nest("1", "cel.bind(a, ", `, {a: a, [a]: a})`):                     "",
		nest("1", `{"a": [`, `].exists_one(a, a)}`):                        "",
		nest("[1]", "", ".sortBy(x, x)"):                                   "",
		"[" + strings.Repeat("groups.map(a,a),", 250) + "]":                "",
		"[" + strings.Repeat("groups.sortBy(a,[a]),", 750) + "]":           "expression count exceeds limit",
		`"a".matches("a{1000}b{1000}")`:                                    "",
		`"a".matches("` + strings.Repeat("(a{100}b{100}){10}", 9) + `")`:   large,
		`"a".matches("(?i)[` + strings.Repeat("B-\U0001e942", 600) + `]")`: large,
		`"a".matches(r"[` + strings.Repeat(`\pL`, 1300) + `]")`:            large,
		"[" + strings.Repeat(`"a".matches("a{1000}"),`, 17) + "]":          large,
		"[" + strings.Repeat(`"a".matches(string("a{1000}")),`, 17) + "]":  large,
	} {
		began := time.Now()
		var x *Expression[testVars]
		var err error
		ended := make(chan struct{})
		go func() {
			x, err = testLanguage.Compile(source)
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatalf("%.60s: compiles for ever", source)
		}
		switch {
		case want == "" && (err != nil || x.Size() > most),
			want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.60s: %v", source, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%.60s: %v", source, took)
		}
	}
}

// Size is what the cache of expressions counts, so it must not be less than what is kept.
func TestTheSizeOfAnExpression(t *testing.T) {
	for _, source := range []string{
		`1`, `"admins" in groups ? "Admin" : "Viewer"`, growing(5),
		"[" + strings.Repeat(`groups.exists(g, g == "a"),`, 140) + "]",
		"[" + strings.Repeat("user.attributes"+strings.Repeat(".a", 30)+",", 50) + "]",
		"[" + strings.Repeat(`'a'.matches('(?i)[a-z]+b'),`, 100) + "]",
		`"a".matches("` + strings.Repeat("a{1000}", 7) + `")`,
		`"a".matches("(?i)[\\pL\\pN]{40}")`,
	} {
		const many = 8
		var kept [3][many]*Expression[testVars]
		each := int64(math.MaxInt64) // the least of three, because other goroutines allocate too
		for round := range kept {
			before := heapBytes()
			for i := range many {
				x, err := testLanguage.Compile(source)
				if err != nil {
					t.Fatalf("%.60s: %v", source, err)
				}
				kept[round][i] = x
			}
			each = min(each, (heapBytes()-before)/many)
		}
		if size := kept[0][0].Size(); each > size {
			t.Errorf("%.60s keeps %d bytes, counts %d", source, each, size)
		}
		runtime.KeepAlive(kept)
	}
}

// heapBytes returns the bytes of all living values.
func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
