// Package fault is the closed set of ways in which an operation can fail.
//
// A feature returns a fault with a stable code of its own ("user.email_taken") and a sentence for
// the reader. Each door maps the eight kinds to its protocol. This package knows no protocol, so no
// HTTP status is here.
//
// Refusals that must leave a trace (a wrong password, a replayed code) are outcomes, not faults: a
// fault rolls its transaction back.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is one of eight kinds of fault. Doors switch over it exhaustively.
type Kind uint8

// The eight kinds.
const (
	Internal        Kind = iota // our mistake, or a part we depend on behaved unexpectedly
	Invalid                     // the request is wrong; Fields may name where
	Unauthenticated             // no session, or a bad proof
	Denied                      // known caller, action not allowed
	NotFound                    // no such thing, or it is another tenant's
	Conflict                    // the state does not allow it (taken, already done, changed meanwhile)
	Limited                     // too many, too large, too fast; try later
	Unavailable                 // a part we need is not there right now; try again
)

// Kinds lists every kind, for tests that prove a mapping complete.
var Kinds = []Kind{Internal, Invalid, Unauthenticated, Denied, NotFound, Conflict, Limited, Unavailable}

// String returns the kind in snake case.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case Unauthenticated:
		return "unauthenticated"
	case Denied:
		return "denied"
	case NotFound:
		return "not_found"
	case Conflict:
		return "conflict"
	case Limited:
		return "limited"
	case Unavailable:
		return "unavailable"
	default:
		return "internal"
	}
}

// Logged reports whether the request's log line has the cause of such a fault. For a refused caller
// it may say more than the answer, and an operator looks for it there.
func (k Kind) Logged() bool {
	return k == Internal || k == Unavailable || k == Unauthenticated || k == Denied
}

// Field describes one wrong field of a request.
type Field struct {
	Name   string // as the caller wrote it: "email", "redirect_uris[0]"
	Reason string // a sentence: what is wrong and what is accepted
	// File says that Name is the path of a file. Line and Column count from 1, and are 0 if
	// unknown.
	File         bool
	Line, Column int
}

// Fault is an error with a kind, a stable code and a sentence.
type Fault struct {
	Kind   Kind
	Code   string // stable, "noun.problem"; part of the API
	Reason string // a sentence for the person who reads it; carries no secret
	Fields []Field
	Quota  *Quota // of a Limited fault: the limit that is used up
	cause  error
}

// Quota is a limit of a tenant that is used up.
type Quota struct {
	Name   string
	Most   int64
	Resets time.Time     // zero if it does not
	Wait   time.Duration // before the caller may try again
}

// Error implements error. It is for logs. People see Reason.
func (f *Fault) Error() string {
	s := f.Code + ": " + f.Reason
	for _, fd := range f.Fields {
		s += "; " + fd.Name + ": " + fd.Reason
	}
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	return s
}

// Unwrap returns the cause, if there is one.
func (f *Fault) Unwrap() error { return f.cause }

// Because returns a copy of f that wraps cause.
func (f *Fault) Because(cause error) *Fault {
	c := *f
	c.cause = cause
	return &c
}

// Is reports whether target is a fault of the same kind and code: errors.Is(err,
// user.ErrEmailTaken).
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Kind == f.Kind && t.Code == f.Code
}

// New returns a fault. It formats reason with args.
func New(kind Kind, code, reason string, args ...any) *Fault {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	return &Fault{Kind: kind, Code: code, Reason: reason}
}

// InvalidField returns an Invalid fault about one field.
func InvalidField(code, field, reason string, args ...any) *Fault {
	f := New(Invalid, code, reason, args...)
	f.Fields = []Field{{Name: field, Reason: f.Reason}}
	return f
}

// Fields collects everything that is wrong with a request, to report it at once. The zero value is
// ready to use.
type Fields []Field

// Add adds a field and the reason why it is wrong.
func (fs *Fields) Add(name, reason string, args ...any) {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	*fs = append(*fs, Field{Name: name, Reason: reason})
}

// Err returns an Invalid fault with all fields, or nil if there are none.
func (fs Fields) Err(code string) error {
	if len(fs) == 0 {
		return nil
	}
	return &Fault{Kind: Invalid, Code: code, Reason: fs[0].Reason, Fields: fs}
}

// Of returns the kind of the first fault in err's chain, or Internal.
func Of(err error) Kind {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Kind
	}
	return Internal
}

// As returns the first fault in err's chain. Any other error becomes an Internal fault whose reason
// does not reveal the cause.
func As(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return New(Internal, "internal",
		"Something went wrong on our side. Try again; if it stays, give the request id to your administrator.").Because(
		err)
}
