package pdp

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"strconv"
	"unicode/utf8"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// reader reads the JSON of the two requests that matter, a tenth of what protojson costs. It
// reads what every SDK writes; at anything else (an unknown name, a null, a name twice, a
// broken string) it gives up, and protojson reads the whole again and says what is
// wrong. So it must never accept what protojson would not, or understand it otherwise:
// a test and a fuzz target compare the two.
//
// The strings it makes are parts of the body.
type reader struct {
	s     string
	i     int
	depth int
}

// maxDepth is how deep attributes may be nested.
const maxDepth = 100

// gaveUp ends a reading; it never leaves this file.
type gaveUp struct{}

func (r *reader) giveUp() { panic(gaveUp{}) }

// readFast reads body into m. It reports whether it could; when it could not, m is as good as new.
func readFast[M any](body string, m *M, fields func(*reader, *M)) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, mine := p.(gaveUp); !mine {
				panic(p)
			}
			ok = false
		}
	}()
	r := &reader{s: body}
	fields(r, m)
	return true // what follows the object is not looked at, as grpc-gateway does not
}

func readCheckResources(r *reader, m *requestv1.CheckResourcesRequest) {
	var seen uint
	r.object(func(name string) {
		switch name {
		case "requestId", "request_id":
			r.once(&seen, 0)
			m.RequestId = r.text()
		case "includeMeta", "include_meta":
			r.once(&seen, 1)
			m.IncludeMeta = r.boolean()
		case "principal":
			r.once(&seen, 2)
			m.Principal = r.principal()
		case "resources":
			r.once(&seen, 3)
			r.list(func() { m.Resources = append(m.Resources, r.entry()) })
		case "auxData", "aux_data":
			r.once(&seen, 4)
			m.AuxData = r.auxData()
		default:
			r.giveUp()
		}
	})
}

func readPlanResources(r *reader, m *requestv1.PlanResourcesRequest) {
	var seen uint
	r.object(func(name string) {
		switch name {
		case "requestId", "request_id":
			r.once(&seen, 0)
			m.RequestId = r.text()
		case "includeMeta", "include_meta":
			r.once(&seen, 1)
			m.IncludeMeta = r.boolean()
		case "principal":
			r.once(&seen, 2)
			m.Principal = r.principal()
		case "resource":
			r.once(&seen, 3)
			m.Resource = r.planResource()
		case "auxData", "aux_data":
			r.once(&seen, 4)
			m.AuxData = r.auxData()
		case "action":
			r.once(&seen, 5)
			m.Action = r.text() //nolint:staticcheck // still served
		case "actions":
			r.once(&seen, 6)
			r.list(func() { m.Actions = append(m.Actions, r.text()) })
		default:
			r.giveUp()
		}
	})
}

func (r *reader) principal() *enginev1.Principal {
	var seen uint
	p := &enginev1.Principal{}
	r.object(func(name string) {
		switch name {
		case "id":
			r.once(&seen, 0)
			p.Id = r.text()
		case "policyVersion", "policy_version":
			r.once(&seen, 1)
			p.PolicyVersion = r.text()
		case "roles":
			r.once(&seen, 2)
			r.list(func() { p.Roles = append(p.Roles, r.text()) })
		case "attr":
			r.once(&seen, 3)
			p.Attr = r.fields()
		case "scope":
			r.once(&seen, 4)
			p.Scope = r.text()
		default:
			r.giveUp()
		}
	})
	return p
}

func (r *reader) entry() *requestv1.CheckResourcesRequest_ResourceEntry {
	var seen uint
	e := &requestv1.CheckResourcesRequest_ResourceEntry{}
	r.object(func(name string) {
		switch name {
		case "actions":
			r.once(&seen, 0)
			r.list(func() { e.Actions = append(e.Actions, r.text()) })
		case "resource":
			r.once(&seen, 1)
			e.Resource = r.resource()
		default:
			r.giveUp()
		}
	})
	return e
}

func (r *reader) resource() *enginev1.Resource {
	var seen uint
	out := &enginev1.Resource{}
	r.object(func(name string) {
		switch name {
		case "kind":
			r.once(&seen, 0)
			out.Kind = r.text()
		case "policyVersion", "policy_version":
			r.once(&seen, 1)
			out.PolicyVersion = r.text()
		case "id":
			r.once(&seen, 2)
			out.Id = r.text()
		case "attr":
			r.once(&seen, 3)
			out.Attr = r.fields()
		case "scope":
			r.once(&seen, 4)
			out.Scope = r.text()
		default:
			r.giveUp()
		}
	})
	return out
}

func (r *reader) planResource() *enginev1.PlanResourcesInput_Resource {
	var seen uint
	out := &enginev1.PlanResourcesInput_Resource{}
	r.object(func(name string) {
		switch name {
		case "kind":
			r.once(&seen, 0)
			out.Kind = r.text()
		case "policyVersion", "policy_version":
			r.once(&seen, 1)
			out.PolicyVersion = r.text()
		case "attr":
			r.once(&seen, 2)
			out.Attr = r.fields()
		case "scope":
			r.once(&seen, 3)
			out.Scope = r.text()
		default:
			r.giveUp()
		}
	})
	return out
}

func (r *reader) auxData() *requestv1.AuxData {
	var seen uint
	a := &requestv1.AuxData{}
	r.object(func(name string) {
		if name != "jwt" {
			r.giveUp()
		}
		r.once(&seen, 0)
		a.Jwt = &requestv1.AuxData_JWT{}
		var inner uint
		r.object(func(name string) {
			switch name {
			case "token":
				r.once(&inner, 0)
				a.Jwt.Token = r.text()
			case "keySetId", "key_set_id":
				r.once(&inner, 1)
				a.Jwt.KeySetId = r.text()
			default:
				r.giveUp()
			}
		})
	})
	return a
}

// once gives up when a field comes again.
func (r *reader) once(seen *uint, field uint) {
	if *seen&(1<<field) != 0 {
		r.giveUp()
	}
	*seen |= 1 << field
}

// next skips white space and returns the byte after it without taking it.
func (r *reader) next() byte {
	for r.i < len(r.s) {
		switch c := r.s[r.i]; c {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return c
		}
	}
	r.giveUp()
	return 0
}

func (r *reader) take(c byte) {
	if r.next() != c {
		r.giveUp()
	}
	r.i++
}

func (r *reader) object(field func(name string)) {
	r.take('{')
	if r.next() == '}' {
		r.i++
		return
	}
	for {
		name := r.text()
		r.take(':')
		field(name)
		if r.next() == '}' {
			r.i++
			return
		}
		r.take(',')
	}
}

func (r *reader) list(element func()) {
	r.take('[')
	if r.next() == ']' {
		r.i++
		return
	}
	for {
		element()
		if r.next() == ']' {
			r.i++
			return
		}
		r.take(',')
	}
}

func (r *reader) word(w string) {
	if len(r.s)-r.i < len(w) || r.s[r.i:r.i+len(w)] != w {
		r.giveUp()
	}
	r.i += len(w)
}

func (r *reader) boolean() bool {
	if r.next() == 't' {
		r.word("true")
		return true
	}
	r.word("false")
	return false
}

// text reads a string.
func (r *reader) text() string {
	r.take('"')
	start, ascii := r.i, true
	for ; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			s := r.s[start:r.i]
			r.i++
			if !ascii && !utf8.ValidString(s) {
				r.giveUp()
			}
			return s
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			r.giveUp()
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.giveUp()
	return ""
}

// escaped reads on in a string that began at start, from its first backslash.
func (r *reader) escaped(start int) string {
	b := append(make([]byte, 0, r.i-start+32), r.s[start:r.i]...)
	for r.i < len(r.s) {
		c := r.s[r.i]
		r.i++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				r.giveUp()
			}
			return string(b)
		case c < ' ':
			r.giveUp()
		case c != '\\':
			b = append(b, c)
		case r.i == len(r.s):
			r.giveUp()
		default:
			c = r.s[r.i]
			r.i++
			b = r.escape(b, c)
		}
	}
	r.giveUp()
	return ""
}

// escape appends what a backslash and c stand for. Surrogates are left to protojson.
func (r *reader) escape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\', '/':
		return append(b, c)
	case 'b':
		return append(b, '\b')
	case 'f':
		return append(b, '\f')
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
		if len(r.s)-r.i < 4 {
			r.giveUp()
		}
		n, err := strconv.ParseUint(r.s[r.i:r.i+4], 16, 16)
		if err != nil || n >= 0xd800 && n < 0xe000 {
			r.giveUp()
		}
		r.i += 4
		return utf8.AppendRune(b, rune(n))
	}
	r.giveUp()
	return nil
}

// fields reads an object of values.
func (r *reader) fields() map[string]*structpb.Value {
	if r.depth++; r.depth > maxDepth {
		r.giveUp()
	}
	m := make(map[string]*structpb.Value)
	r.object(func(name string) {
		if _, twice := m[name]; twice {
			r.giveUp()
		}
		m[name] = r.value()
	})
	r.depth--
	return m
}

// A value and its kind, in one piece of memory.
type (
	textValue struct {
		v structpb.Value
		k structpb.Value_StringValue
	}
	numberValue struct {
		v structpb.Value
		k structpb.Value_NumberValue
	}
	boolValue struct {
		v structpb.Value
		k structpb.Value_BoolValue
	}
	listValue struct {
		v structpb.Value
		k structpb.Value_ListValue
		l structpb.ListValue
	}
	structValue struct {
		v structpb.Value
		k structpb.Value_StructValue
		s structpb.Struct
	}
)

func (r *reader) value() *structpb.Value {
	switch r.next() {
	case '"':
		x := &textValue{}
		x.k.StringValue = r.text()
		x.v.Kind = &x.k
		return &x.v
	case 't', 'f':
		x := &boolValue{}
		x.k.BoolValue = r.boolean()
		x.v.Kind = &x.k
		return &x.v
	case 'n':
		r.word("null")
		return structpb.NewNullValue()
	case '{':
		x := &structValue{}
		x.s.Fields = r.fields()
		x.k.StructValue = &x.s
		x.v.Kind = &x.k
		return &x.v
	case '[':
		if r.depth++; r.depth > maxDepth {
			r.giveUp()
		}
		x := &listValue{}
		r.list(func() { x.l.Values = append(x.l.Values, r.value()) })
		r.depth--
		x.k.ListValue = &x.l
		x.v.Kind = &x.k
		return &x.v
	}
	x := &numberValue{}
	x.k.NumberValue = r.number()
	x.v.Kind = &x.k
	return &x.v
}

// number reads a number by the grammar of RFC 8259 §6.
func (r *reader) number() float64 {
	start := r.i
	if r.peek() == '-' {
		r.i++
	}
	whole := r.i
	if r.peek() == '0' {
		r.i++
	} else {
		r.digits()
	}
	short := r.i-whole <= 15 && whole == start
	if r.peek() == '.' {
		short = false
		r.i++
		r.digits()
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		short = false
		r.i++
		if c := r.peek(); c == '+' || c == '-' {
			r.i++
		}
		r.digits()
	}
	if short { // the commonest: a whole number that a float64 holds
		n := 0.0
		for _, c := range []byte(r.s[start:r.i]) {
			n = n*10 + float64(c-'0')
		}
		return n
	}
	f, err := strconv.ParseFloat(r.s[start:r.i], 64)
	if err != nil {
		r.giveUp()
	}
	return f
}

// peek returns the byte at hand, 0 at the end.
func (r *reader) peek() byte {
	if r.i < len(r.s) {
		return r.s[r.i]
	}
	return 0
}

func (r *reader) digits() {
	start := r.i
	for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
		r.i++
	}
	if r.i == start {
		r.giveUp()
	}
}
