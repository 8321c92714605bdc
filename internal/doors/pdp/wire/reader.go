package wire

import (
	"strconv"
	"unicode/utf8"
)

// reader reads the JSON that every SDK writes for the two requests that matter.
//
// It stops at anything else: an unknown name, a null, a name twice, a broken string. Then protojson
// reads the whole body again and says what is wrong. So the reader must never accept what protojson
// refuses, and must understand the rest the same way.
//
// The strings that it returns are parts of the body.
type reader struct {
	s     string
	i     int
	depth int
}

// stopped is the panic that ends a reading. readFast recovers it.
type stopped struct{}

// fallBack leaves the body to protojson.
func (r *reader) fallBack() { panic(stopped{}) }

// readFast reads body into m and reports whether it could. Otherwise m holds a part of the request.
func readFast[M any](body string, m *M, fields func(*reader, *M)) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, mine := p.(stopped); !mine {
				panic(p)
			}
			ok = false
		}
	}()
	r := &reader{s: body}
	fields(r, m)
	return true // what follows the object is ignored, as grpc-gateway does
}

// once falls back if a field comes a second time.
func (r *reader) once(seen *uint, field uint) {
	if *seen&(1<<field) != 0 {
		r.fallBack()
	}
	*seen |= 1 << field
}

// next skips white space and returns the byte after it without consuming it.
func (r *reader) next() byte {
	for r.i < len(r.s) {
		switch c := r.s[r.i]; c {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return c
		}
	}
	r.fallBack()
	return 0
}

// expect consumes c after white space.
func (r *reader) expect(c byte) {
	if r.next() != c {
		r.fallBack()
	}
	r.i++
}

// object reads an object. field reads the value of one member.
func (r *reader) object(field func(name string)) {
	r.expect('{')
	if r.next() == '}' {
		r.i++
		return
	}
	for {
		name := r.str()
		r.expect(':')
		field(name)
		if r.next() == '}' {
			r.i++
			return
		}
		r.expect(',')
	}
}

// list reads an array. element reads one element.
func (r *reader) list(element func()) {
	r.expect('[')
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
		r.expect(',')
	}
}

// literal consumes w.
func (r *reader) literal(w string) {
	if len(r.s)-r.i < len(w) || r.s[r.i:r.i+len(w)] != w {
		r.fallBack()
	}
	r.i += len(w)
}

func (r *reader) boolean() bool {
	if r.next() == 't' {
		r.literal("true")
		return true
	}
	r.literal("false")
	return false
}

// str reads a string.
func (r *reader) str() string {
	r.expect('"')
	start, ascii := r.i, true
	for ; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			s := r.s[start:r.i]
			r.i++
			if !ascii && !utf8.ValidString(s) {
				r.fallBack()
			}
			return s
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			r.fallBack()
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.fallBack()
	return ""
}

// escaped reads the rest of a string that began at start, from its first backslash.
func (r *reader) escaped(start int) string {
	b := append(make([]byte, 0, r.i-start+32), r.s[start:r.i]...)
	for r.i < len(r.s) {
		c := r.s[r.i]
		r.i++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				r.fallBack()
			}
			return string(b)
		case c < ' ':
			r.fallBack()
		case c != '\\':
			b = append(b, c)
		case r.i == len(r.s):
			r.fallBack()
		default:
			c = r.s[r.i]
			r.i++
			b = r.escape(b, c)
		}
	}
	r.fallBack()
	return ""
}

// escape appends the character that a backslash and c stand for. protojson reads surrogates.
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
			r.fallBack()
		}
		n, err := strconv.ParseUint(r.s[r.i:r.i+4], 16, 16)
		if err != nil || n >= 0xd800 && n < 0xe000 {
			r.fallBack()
		}
		r.i += 4
		return utf8.AppendRune(b, rune(n))
	}
	r.fallBack()
	return nil
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
	if short { // the most common: a whole number that a float64 holds exactly
		n := 0.0
		for _, c := range []byte(r.s[start:r.i]) {
			n = n*10 + float64(c-'0')
		}
		return n
	}
	f, err := strconv.ParseFloat(r.s[start:r.i], 64)
	if err != nil {
		r.fallBack()
	}
	return f
}

// peek returns the next byte without consuming it, or 0 at the end.
func (r *reader) peek() byte {
	if r.i < len(r.s) {
		return r.s[r.i]
	}
	return 0
}

// digits consumes one digit or more.
func (r *reader) digits() {
	start := r.i
	for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
		r.i++
	}
	if r.i == start {
		r.fallBack()
	}
}
