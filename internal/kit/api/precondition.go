package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Preconditions are a request's If-Match and If-None-Match (RFC 9110 §13.1). The zero value is
// none.
type Preconditions struct {
	match     tags
	noneMatch tags
}

// tags are the value of one of the headers.
type tags struct {
	given bool
	any   bool     // the value is *
	list  []string // opaque tags without quotes
	weak  []string
}

// unreadTag is a tag that no header can list.
const unreadTag = "\x00"

// maxTags is how many entity tags a header may list.
const maxTags = 100

// Faults of a request's preconditions.
var (
	ErrPrecondition = fault.New(fault.Conflict, "request.precondition_failed",
		"Your If-Match or If-None-Match does not hold: this was changed since you read it, or exists already. "+
			"Read it again and repeat what you wanted.")
	errUnconditional = fault.New(fault.Conflict, "request.unconditional",
		"This operation has no version to compare. Leave out If-Match and If-None-Match.")
)

// ReadPreconditions reads the preconditions of a request. It fails with an Invalid fault that names
// the header.
func ReadPreconditions(h http.Header) (Preconditions, error) {
	var p Preconditions
	for name, into := range map[string]*tags{"If-Match": &p.match, "If-None-Match": &p.noneMatch} {
		text := strings.TrimSpace(strings.Join(h.Values(name), ","))
		if text == "" {
			continue
		}
		var ok bool
		if *into, ok = readTags(text); !ok {
			return Preconditions{}, fault.InvalidField("request.invalid", name,
				"This must be * or a list of at most 100 entity tags in quotes, each as an ETag header gave it.")
		}
	}
	return p, nil
}

// readTags parses * or a list of entity tags (RFC 9110 §8.8.3). It takes a tag without quotes too,
// because a version in a body has none.
func readTags(text string) (tags, bool) {
	t := tags{given: true}
	if text == "*" {
		t.any = true
		return t, true
	}
	for n := 0; text != ""; n++ {
		text = strings.TrimLeft(text, ", \t")
		if text == "" {
			break
		}
		rest, weak := strings.CutPrefix(text, "W/")
		var tag string
		if after, quoted := strings.CutPrefix(rest, `"`); quoted {
			var closed bool
			if tag, text, closed = strings.Cut(after, `"`); !closed {
				return tags{}, false
			}
		} else {
			tag, text = rest, ""
			if i := strings.IndexAny(rest, ", \t"); i >= 0 {
				tag, text = rest[:i], rest[i:]
			}
		}
		if n == maxTags || tag == "*" || strings.Trim(text, " \t") != "" && strings.TrimLeft(text, " \t")[0] != ',' {
			return tags{}, false
		}
		if weak {
			t.weak = append(t.weak, tag)
		} else {
			t.list = append(t.list, tag)
		}
	}
	return t, len(t.list)+len(t.weak) > 0
}

// Given reports whether there is a precondition.
func (p Preconditions) Given() bool { return p.match.given || p.noneMatch.given }

// Check fails with ErrPrecondition unless the state of the thing meets the preconditions. exists
// says whether it exists, tag is its strong entity tag. A weak tag never matches for a change (RFC
// 9110 §13.1.1).
func (p Preconditions) Check(exists bool, tag string) error {
	if m := p.match; m.given && !(exists && (m.any || m.hasVersion(tag))) {
		return ErrPrecondition
	}
	if m := p.noneMatch; m.given && exists && (m.any || m.matches(tag)) {
		return ErrPrecondition
	}
	return nil
}

// hasVersion compares strongly (RFC 9110 §8.8.3.2), without the part of a tag that use changes.
func (t tags) hasVersion(tag string) bool {
	return slices.ContainsFunc(t.list, func(has string) bool { return sameVersion(has, tag) })
}

// matches compares weakly (RFC 9110 §8.8.3.2).
func (t tags) matches(tag string) bool {
	return slices.Contains(t.list, tag) || slices.Contains(t.weak, tag)
}

// Tagged is an output that knows its entity tag. The tag of another one is a digest of its JSON.
type Tagged interface {
	EntityTag() string // without quotes
}

// tagOf returns the entity tag of an output. If use alone changes some of its members, the tag has
// two parts: the version, which only a change changes, and a digest of all. Such members have the
// struct tag version:"-", as last_sign_in of a user.
func tagOf(out any) string {
	if t, ok := out.(Tagged); ok {
		return t.EntityTag()
	}
	b, _ := json.Marshal(out) // as it is about to be sent
	tag := digestTag(b)
	if changeable, ok := withoutUse(out); ok {
		b, _ = json.Marshal(changeable)
		tag = digestTag(b) + partOfTag + tag
	}
	return tag
}

// partOfTag separates the parts of a tag. Digests do not contain it.
const partOfTag = "."

// withoutUse returns a copy of out in which the members with version:"-" are zero. It reports
// whether there are any.
func withoutUse(out any) (any, bool) {
	t := reflect.TypeOf(out)
	if t == nil || t.Kind() != reflect.Struct {
		return nil, false
	}
	var c reflect.Value
	for _, f := range reflect.VisibleFields(t) {
		if f.Tag.Get("version") != "-" {
			continue
		}
		if !c.IsValid() {
			c = reflect.New(t).Elem()
			c.Set(reflect.ValueOf(out))
		}
		c.FieldByIndex(f.Index).SetZero()
	}
	if !c.IsValid() {
		return nil, false
	}
	return c.Interface(), true
}

// sameVersion reports whether two tags have the same version.
func sameVersion(a, b string) bool {
	a, _, use := strings.Cut(a, partOfTag)
	b, _, with := strings.Cut(b, partOfTag)
	return a == b && use == with
}

func digestTag(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Change declares an operation on one thing that has an entity tag, and so takes preconditions.
// show returns the thing as the operation that reads it does, and locks it until the transaction
// ends. It runs only if there are preconditions. fn runs in the same Update.
func Change[I, V, O any](op Op, show func(ctx context.Context, tx *db.Tx, req Request, in *I) (V, error),
	fn func(ctx context.Context, tx *db.Tx, req Request, in *I) (O, error)) Operation {
	op.Versioned = true
	return Write(op, func(ctx context.Context, tx *db.Tx, req Request, in *I) (O, error) {
		if err := CheckShown(ctx, tx, req, in, show); err != nil {
			var none O
			return none, err
		}
		return fn(ctx, tx, req, in)
	})
}

// ChangeAfter is Change for an operation that first does something slow, such as calling an
// address. prepare runs before the transaction, and only for a caller who is allowed the action.
func ChangeAfter[I, P, V, O any](op Op, prepare func(ctx context.Context, req Request, in *I) (P, error),
	show func(ctx context.Context, tx *db.Tx, req Request, in *I) (V, error),
	fn func(ctx context.Context, tx *db.Tx, req Request, in *I, prepared P) (O, error)) Operation {
	op.Versioned = true
	return WriteAfter(op, prepare, func(ctx context.Context, tx *db.Tx, req Request, in *I, prepared P) (O, error) {
		if err := CheckShown(ctx, tx, req, in, show); err != nil {
			var none O
			return none, err
		}
		return fn(ctx, tx, req, in, prepared)
	})
}

// CheckShown checks the preconditions of a request against what show returns, as Change does.
func CheckShown[I, V any](ctx context.Context, tx *db.Tx, req Request, in *I,
	show func(ctx context.Context, tx *db.Tx, req Request, in *I) (V, error)) error {
	if !req.Preconditions.Given() {
		return nil
	}
	v, err := show(ctx, tx, req, in)
	if err != nil {
		return err // such as a NotFound fault, which says more than 412
	}
	return req.Check(v)
}

// Check checks the preconditions of a request against a thing, as the operation that reads it shows
// it.
func (r Request) Check(shown any) error {
	switch {
	case !r.Preconditions.Given():
		return nil
	case !r.Reads: // a caller who may not read the thing must not guess it by its tag
		return r.Preconditions.Check(true, unreadTag)
	}
	return r.Preconditions.Check(true, tagOf(shown))
}

// conditional answers a GET by 304 if the client has the representation already (RFC 9110 §13.1.2).
type conditional struct {
	humaContext
	has         tags
	tag         string
	notModified bool
}

// humaContext is embedded under a name that is not one of its methods.
type humaContext = huma.Context

// SetHeader implements huma.Context.
func (c *conditional) SetHeader(name, value string) {
	if name == "ETag" {
		c.tag = strings.Trim(value, `"`)
	}
	c.humaContext.SetHeader(name, value)
}

// SetStatus implements huma.Context. The headers are set before.
func (c *conditional) SetStatus(status int) {
	if status == http.StatusOK && c.tag != "" && (c.has.any || c.has.matches(c.tag)) {
		c.notModified = true
		status = http.StatusNotModified
	}
	c.humaContext.SetStatus(status)
}

// BodyWriter implements huma.Context.
func (c *conditional) BodyWriter() io.Writer {
	if c.notModified {
		return io.Discard
	}
	return c.humaContext.BodyWriter()
}
