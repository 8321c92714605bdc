package wire

import (
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
)

// writer writes JSON as protojson does: names in camel case, no unset fields, map keys sorted.
//
// It differs in one point. protojson refuses numbers that JSON cannot express, such as a policy's
// 0.0/0.0. The writer writes them as strings ("NaN").
type writer struct {
	b     []byte
	first bool     // no comma is needed before the next element
	keys  []string // reused by sorted
}

func (w *writer) open(c byte) {
	w.b = append(w.b, c)
	w.first = true
}

func (w *writer) close(c byte) {
	w.b = append(w.b, c)
	w.first = false
}

func (w *writer) comma() {
	if !w.first {
		w.b = append(w.b, ',')
	}
	w.first = false
}

// name begins a member of an object.
func (w *writer) name(s string) {
	w.comma()
	w.b = append(appendString(w.b, s), ':')
}

// optional writes a string member, unless s is empty.
func (w *writer) optional(name, s string) {
	if s != "" {
		w.name(name)
		w.b = appendString(w.b, s)
	}
}

// strings writes a member that is a list of strings, unless list is empty.
func (w *writer) strings(name string, list []string) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	w.open('[')
	for _, s := range list {
		w.comma()
		w.b = appendString(w.b, s)
	}
	w.close(']')
}

// sorted returns the keys of m in order. The next call overwrites them.
func sorted[V any](w *writer, m map[string]V) []string {
	keys := w.keys[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	w.keys = keys
	return keys
}

// value writes an attribute or an output.
func (w *writer) value(v *structpb.Value) {
	w.first = false
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		w.b = appendString(w.b, k.StringValue)
	case *structpb.Value_NumberValue:
		w.b = appendNumber(w.b, k.NumberValue)
	case *structpb.Value_BoolValue:
		w.b = strconv.AppendBool(w.b, k.BoolValue)
	case *structpb.Value_StructValue:
		w.open('{')
		fields := k.StructValue.GetFields()
		keys := make([]string, 0, len(fields))
		for name := range fields {
			keys = append(keys, name)
		}
		slices.Sort(keys)
		for _, name := range keys {
			w.name(name)
			w.value(fields[name])
		}
		w.close('}')
	case *structpb.Value_ListValue:
		w.open('[')
		for _, x := range k.ListValue.GetValues() {
			w.comma()
			w.value(x)
		}
		w.close(']')
	default:
		w.b = append(w.b, "null"...)
	}
}

// appendNumber appends f as JavaScript and encoding/json write it.
func appendNumber(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 to e-9
		b = b[:n-1]
	}
	return b
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
