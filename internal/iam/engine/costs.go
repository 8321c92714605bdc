package engine

import (
	"math/bits"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// callCost estimates a CEL call before it runs: bytes allocated, and steps of about 0.1 µs, such as
// a comparison of two values. It may estimate too much.
type callCost func(args []ref.Val) (bytes, steps int64)

// callCosts has the functions whose calls may cost more than their arguments, or copy them. All
// others return a number, a time, a boolean or a part of their arguments, in time linear in their
// size.
var callCosts = map[string]callCost{
	operators.Add:    sum,
	"cel.@mapInsert": insertion,

	"lists.range": func(a []ref.Val) (int64, int64) { return 24 * min(max(0, number(a[0])), never), 0 },
	"flatten":     func(a []ref.Val) (int64, int64) { return whole(a[0], 0), 0 },
	"distinct": func(a []ref.Val) (int64, int64) {
		return size(a[0]), comparisonSteps(a[0]) * count(a[0])
	},
	"sort":                  sorting,
	"@sortByAssociatedKeys": sorting,
	"slice":                 copying,
	"reverse":               copying,

	"sets.contains": comparing,
	"sets.equivalent": func(a []ref.Val) (int64, int64) {
		return 0, comparisonSteps(a[0])*count(a[1]) + comparisonSteps(a[1])*count(a[0])
	},
	"sets.intersects":  comparing,
	"isSubset":         comparing,
	"is_subset":        comparing,
	"hasIntersection":  comparing,
	"has_intersection": comparing,
	"intersect":        comparing,
	"except":           comparing,

	"replace":   replacing,
	"join":      joining,
	"joinPath":  joining,
	"split":     splitting,
	"hierarchy": dividing,
	"format": func(a []ref.Val) (int64, int64) { // a number may have hundreds of digits
		n := count(a[1])
		return size(a[0]) + 2*whole(a[1], 0) + 512*n, 150 * n
	},
	"json.encode":   func(a []ref.Val) (int64, int64) { return 2 * whole(a[0], 0), 0 },
	"charAt":        func(a []ref.Val) (int64, int64) { return 8, size(a[0]) / 128 },
	"substring":     substring,
	"indexOf":       finding,
	"lastIndexOf":   finding,
	"lowerAscii":    copying,
	"upperAscii":    copying,
	"trim":          copying,
	"strings.quote": copying,
	"base64.encode": copying,
	"base64.decode": copying,
	"string":        copying,
	"bytes":         copying,
	"matches":       matching,
	"regex.extract": matching,
	"regex.replace": rewriting,
	"regex.extractAll": func(a []ref.Val) (int64, int64) {
		_, steps := matching(a)
		return 16 * size(a[0]), steps
	},
	"pathMatch": func(a []ref.Val) (int64, int64) { return 0, (1 + size(a[0])) * size(a[1]) / 16 },
	"pathMatchAnyOf": func(a []ref.Val) (int64, int64) {
		w := weigh(a[1])
		return 0, min(never, 1+size(a[0])) * min(never, w.values+w.text/16)
	},

	"spiffeMatchOneOf": holding,
}

// never is more than any evaluation may use, and small enough to be multiplied by the size of a
// text.
const never = 1 << 36

// size estimates the bytes of a value without those of its elements.
func size(v ref.Val) int64 {
	switch v := v.(type) {
	case types.String:
		return int64(len(v))
	case types.Bytes:
		return int64(len(v))
	case traits.Mapper:
		return 48 * count(v)
	case traits.Lister:
		return 16 * count(v)
	}
	return 16
}

// count returns the number of elements of a value.
func count(v ref.Val) int64 {
	if s, ok := v.(traits.Sizer); ok {
		if n, ok := s.Size().(types.Int); ok {
			return int64(n)
		}
	}
	return 0
}

func number(v ref.Val) int64 {
	if n, ok := v.(types.Int); ok {
		return int64(n)
	}
	return 0
}

func text(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// whole estimates the bytes of a value with all its elements, added to before. An element that
// occurs twice counts twice. It stops at more than an evaluation may use.
func whole(v ref.Val, before int64) int64 {
	total := before + size(v)
	if it, ok := v.(traits.Iterable); ok {
		m, isMap := v.(traits.Mapper)
		for i := it.Iterator(); total <= maxMade && i.HasNext() == types.True; {
			x := i.Next()
			total = whole(x, total)
			if isMap {
				if value, ok := m.Find(x); ok {
					total = whole(value, total)
				}
			}
		}
	}
	return total
}

func copying(a []ref.Val) (int64, int64) { return 2 * size(a[0]), 0 }

// comparing costs functions that compare each element of one list with each of another.
func comparing(a []ref.Val) (int64, int64) {
	return 16 * min(count(a[0]), count(a[1])), comparisonSteps(a[0]) * count(a[1])
}

// sorting costs a list, and its keys if they are another list. Each element is compared as often as
// the list can be halved.
func sorting(a []ref.Val) (int64, int64) {
	steps := 20 * count(a[0])
	for _, v := range a {
		steps += comparisonSteps(v) * int64(bits.Len64(uint64(count(v))))
	}
	return 2 * size(a[0]), steps
}

// everyElements is the number of elements after which a growing list or map is costed again.
const everyElements = 1024

// sum costs _+_. A loop appends its elements one by one to a list of its own. Such a list is costed
// every everyElements, and elements that are lists themselves at once.
func sum(a []ref.Val) (int64, int64) {
	switch l := a[0].(type) {
	case types.String, types.Bytes:
		return size(a[0]) + size(a[1]), 0
	case traits.MutableLister:
		return grown(l, 80) + inner(a[1]), 0
	case traits.Lister:
		// The sum refers to both lists, and each access walks through all lists that it is made
		// of. So it costs what a copy would.
		n := count(a[0]) + count(a[1])
		if n > maxElements {
			return never, 0
		}
		return 128 + 16*n, 0
	}
	return 0, 0
}

// grown estimates the bytes that a loop added to its list or map since the last time, at each bytes
// an element.
func grown(v ref.Val, each int64) int64 {
	if n := count(v); n > 0 && n%everyElements == 0 {
		return everyElements * each
	}
	return 0
}

// inner estimates the bytes of those elements of a list that are lists or maps.
func inner(v ref.Val) int64 {
	l, ok := v.(traits.Lister)
	if !ok {
		return 0
	}
	bytes := int64(0)
	for i := types.Int(0); i < types.Int(count(l)); i++ {
		bytes += container(l.Get(i))
	}
	return bytes
}

// container is size for lists and maps, and 0 for all other values.
func container(v ref.Val) int64 {
	switch v.(type) {
	case traits.Lister, traits.Mapper:
		return size(v)
	}
	return 0
}

// insertion costs an entry of a map that a loop creates.
func insertion(a []ref.Val) (int64, int64) {
	return grown(a[0], 160) + container(a[len(a)-1]), 0
}

func replacing(a []ref.Val) (int64, int64) {
	s, old := text(a[0]), text(a[1])
	n := int64(strings.Count(s, old))
	if len(a) == 4 && number(a[3]) >= 0 {
		n = min(n, number(a[3]))
	}
	return int64(len(s)) + n*max(0, int64(len(text(a[2])))-int64(len(old))), 0
}

func joining(a []ref.Val) (int64, int64) {
	bytes := whole(a[0], 0)
	if len(a) == 2 {
		bytes += count(a[0]) * int64(len(text(a[1])))
	}
	return bytes, 0
}

func splitting(a []ref.Val) (int64, int64) {
	s, by := text(a[0]), "."
	if len(a) >= 2 {
		by = text(a[1])
	}
	n := int64(strings.Count(s, by)) + 1
	if len(a) == 3 && number(a[2]) >= 0 {
		n = min(n, number(a[2]))
	}
	return 32 * n, 0
}

// dividing costs a hierarchy, of a text or of a list of texts.
func dividing(a []ref.Val) (int64, int64) {
	if hasElements(a[0]) {
		return holding(a)
	}
	return splitting(a)
}

// holding costs a value that holds the texts of a list. Questions to the value take time linear in
// their length, and cost nothing more.
func holding(a []ref.Val) (int64, int64) {
	w := weigh(a[0])
	return 32 * count(a[0]), min(never, w.values+w.text/16)
}

func substring(a []ref.Val) (int64, int64) {
	n := size(a[0]) - number(a[1])
	if len(a) == 3 {
		n = min(n, number(a[2])-number(a[1]))
	}
	return 2 * max(0, n), size(a[0]) / 128
}

// finding costs a search for a text, which starts again at every character.
func finding(a []ref.Val) (int64, int64) {
	return 4 * (size(a[0]) + size(a[1])), size(a[0]) * size(a[1]) / 8
}

// matching costs a search for a regular expression: Go steps through the text with one state for
// each instruction of the expression.
func matching(a []ref.Val) (int64, int64) {
	pattern := text(a[1])
	n := instructions(pattern)
	return 0, parsing(pattern) + n + searching(a[0], n)
}

func searching(in ref.Val, instructions int64) int64 {
	return instructions/16 + size(in)*instructions/16
}

func rewriting(a []ref.Val) (int64, int64) {
	_, steps := matching(a)
	s := int64(len(text(a[0])))
	// at worst every character is replaced, and each replacement repeats the text at every other
	// character
	return s + (s+1)*2*int64(len(text(a[2]))), steps
}

// Bounds on a regular expression.
const (
	maxPattern = 16 << 10  // bytes
	maxParsing = 1_000_000 // steps to read it
)

// instructions estimates the size of a regular expression's program; never if it is too large, 0 if
// the expression is wrong.
func instructions(pattern string) int64 {
	if len(pattern) > maxPattern || parsing(pattern) > maxParsing {
		return never
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	return programSize(re)
}

// parsing estimates the steps to read a regular expression. A class of 3 bytes such as \pL has 600
// ranges, and without regard to case each letter of a range is looked up.
func parsing(pattern string) int64 {
	const class, folded = 1000, 0x1e943 // no letter after folded has another case
	n := int64(len(pattern)) + class*int64(strings.Count(pattern, `\p`)+strings.Count(pattern, `\P`))
	if !foldsRE.MatchString(pattern) {
		return n
	}
	for _, end := range strings.Split(pattern, "-")[1:] {
		last, at := utf8.DecodeRuneInString(end)
		if last == '\\' {
			if last, _ = utf8.DecodeRuneInString(end[at:]); last == 'x' || last >= '0' && last <= '7' {
				last = folded
			}
		}
		n += min(int64(last), folded)
	}
	return n
}

// foldsRE finds the flag i of regular expressions.
var foldsRE = regexp.MustCompile(`\(\?[a-zA-Z]*i`)

func programSize(re *syntax.Regexp) int64 {
	n := int64(1)
	switch re.Op {
	case syntax.OpLiteral:
		n = int64(len(re.Rune))
	case syntax.OpCharClass:
		n = int64(1 + len(re.Rune)/8)
	}
	for _, sub := range re.Sub {
		n += programSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= int64(max(1, re.Min, re.Max))
	}
	return min(n, never)
}
