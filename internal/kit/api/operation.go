package api

import (
	"context"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Op describes an operation.
type Op struct {
	Method      string // "GET", "POST", "PUT", "PATCH", "DELETE"
	Path        string // below the API's prefix: "/users/{id}"
	ID          string // the operation's name in generated clients: "create-user"
	Action      string // what the caller must be allowed to do: "user.create"
	Tag         string // the heading in the description: "Users"
	Summary     string // "Create a user"
	Description string // more, where the summary does not say it all; Markdown
	Status      int    // of success; 0 means 200, or 204 when the output is None
	Platform    bool   // exists only in the platform tenant
	Everyone    bool   // needs no Action: every admitted caller may read it
	Filtered    bool   // a list that shows only what Request.Filter lets through
	// Reads is the action that a caller needs to see all of a change's answer. "" means read of the
	// same noun. Action itself means that the answer shows nothing but what the caller did.
	Reads string
	// Versioned says that the operation takes If-Match and If-None-Match. Another change refuses
	// them.
	Versioned bool
	// Body is the maximum size, in bytes, of an input's RawBody. It is read into memory as a whole.
	// 0 means the limit of kit/web.
	Body     int64
	Accepts  []string // media types of a RawBody besides the one of its tag
	Produces []string // media types of an output that is a File or a Stream
	Errors   []int    // statuses of its failures that not every operation of its method has
	// AtOnce is how many requests of all operations that set it a tenant may have in progress. What
	// costs much memory or CPU then hurts only that tenant. 0 means any number.
	AtOnce int

	table  bool // the output is a Table
	tagged bool // a GET whose answer has an ETag: a change of the same path takes it
}

// ReadAction returns the action that a caller needs to see all of the answer.
func (op Op) ReadAction() string {
	if op.Reads != "" {
		return op.Reads
	}
	noun, _, _ := strings.Cut(op.Action, ".")
	return noun + ".read"
}

// Tag groups operations in the API document: "Users".
type Tag string

// Op returns an operation of the tag. The description is joined from its sentences.
func (t Tag) Op(method, path, name, action, summary string, description ...string) Op {
	return Op{Method: method, Path: path, ID: name, Action: action, Tag: string(t), Summary: summary,
		Description: strings.Join(description, " ")}
}

// Rights say which actions the caller of an operation may do. role.Set implements them.
type Rights interface {
	Allows(action string) bool
}

// Request is the admitted caller of one operation. The zero Request allows nothing and shows
// nothing.
type Request struct {
	Caller caller.Caller
	Rights Rights
	Filter filter.Filter // of an operation with Filtered: what of the list the caller may see

	// Reads says that the caller may see all of the answer (Op.ReadAction). Otherwise the answer of
	// a change has only the members that are tagged always.
	Reads         bool
	Preconditions Preconditions // of an operation with Versioned

	change bool   // the operation is not a GET
	claim  *claim // of an Idempotency-Key
}

// Require fails with a Denied fault unless the caller may do action. It is for a second action
// besides the one that guards the operation.
func (r Request) Require(action string) error {
	if r.Rights == nil || !r.Rights.Allows(action) {
		return Denied(action)
	}
	return nil
}

// Denied returns the fault for a caller whose roles do not allow action.
func Denied(action string) *fault.Fault {
	return fault.New(fault.Denied, "action.denied", "None of your roles allows %s.", action)
}

// Operation is an Op with the function that does it.
type Operation struct {
	Op
	output reflect.Type
	bind   func(a huma.API, m *Mount, op Op)
}

// None is the output of an operation without an answer (204).
type None struct{}

// File is the output of an operation that returns bytes instead of JSON.
type File struct {
	ContentType string // "application/zip"
	Name        string // under which a browser saves it; "" to show it
	ETag        string // without quotes; "" for a digest of Content
	Content     []byte
}

// file is how huma wants a File.
type file struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	ETag        string `header:"ETag"`
	Body        []byte
}

// answer returns the file as huma wants it, with an ETag if it is tagged.
func (f File) answer(tagged bool) *file {
	a := &file{ContentType: f.ContentType, Disposition: disposition(f.Name), Body: f.Content}
	if f.ETag == "" {
		f.ETag = digestTag(f.Content)
	}
	if tagged {
		a.ETag = `"` + f.ETag + `"`
	}
	if a.Body == nil {
		a.Body = []byte{} // huma takes nil for no answer
	}
	return a
}

// disposition returns the Content-Disposition for a file that a browser saves under a name, or "".
func disposition(name string) string {
	if name == "" {
		return ""
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// Page is the part of an input that pages a list. Embed it in the input.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items a page holds at most."`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before. Leave it out for the first page."`
}

// Request returns the requested page. It fails with an Invalid fault that names the cursor.
func (p Page) Request() (page.Request, error) {
	r, err := page.Parse("", p.Cursor)
	if p.Limit > 0 {
		r.Limit = min(p.Limit, page.MaxLimit)
	}
	return r, err
}

// ByID is the input of an operation on one thing.
type ByID struct {
	ID id.ID `path:"id" format:"uuid" doc:"The id that the create operation answered."`
}

// Read declares an operation that changes nothing. fn runs in a View.
func Read[I, O any](op Op, fn func(ctx context.Context, tx *db.Tx, req Request, in *I) (O, error)) Operation {
	return Call(op, func(ctx context.Context, d *db.DB, req Request, in *I) (O, error) {
		return db.Read(ctx, d, req.Caller, func(tx *db.Tx) (O, error) { return fn(ctx, tx, req, in) })
	})
}

// Write declares an operation that changes something. fn runs in an Update, so it may run more than
// once and must not do anything slow.
func Write[I, O any](op Op, fn func(ctx context.Context, tx *db.Tx, req Request, in *I) (O, error)) Operation {
	return Call(op, func(ctx context.Context, d *db.DB, req Request, in *I) (O, error) {
		return db.Write(ctx, d, req.Caller, func(tx *db.Tx) (O, error) {
			out, err := fn(ctx, tx, req, in)
			if err == nil {
				err = req.Keep(ctx, tx, out)
			}
			return out, err
		})
	})
}

// WriteAfter is Write for an operation that first does something slow, such as hashing a password.
// prepare runs before the transaction, and only for a caller who is allowed the action.
func WriteAfter[I, P, O any](op Op, prepare func(ctx context.Context, req Request, in *I) (P, error),
	fn func(ctx context.Context, tx *db.Tx, req Request, in *I, prepared P) (O, error)) Operation {
	return Call(op, func(ctx context.Context, d *db.DB, req Request, in *I) (O, error) {
		prepared, err := prepare(ctx, req, in)
		if err != nil {
			var none O
			return none, err
		}
		return db.Write(ctx, d, req.Caller, func(tx *db.Tx) (O, error) {
			out, err := fn(ctx, tx, req, in, prepared)
			if err == nil {
				err = req.Keep(ctx, tx, out)
			}
			return out, err
		})
	})
}

// Call declares an operation that opens its own transactions, over system tables or several of
// them.
func Call[I, O any](op Op, fn func(ctx context.Context, d *db.DB, req Request, in *I) (O, error)) Operation {
	var out O
	_, none := any(out).(None)
	_, op.table = any(out).(Table)
	if op.Status == 0 {
		op.Status = http.StatusOK
		if none {
			op.Status = http.StatusNoContent
		}
	}
	return Operation{Op: op, output: reflect.TypeFor[O](), bind: func(a huma.API, m *Mount, op Op) {
		fn := func(ctx context.Context, d *db.DB, req Request, in *I) (O, error) {
			out, err := fn(ctx, d, req, in)
			if err == nil {
				m.keepAfter(ctx, req, out)
			}
			return out, err
		}
		if none {
			register(a, m, op, func(ctx context.Context, in *I) (*struct{}, error) {
				_, err := fn(ctx, m.DB, requestOf(ctx), in)
				return nil, err
			})
			return
		}
		if _, ok := any(out).(File); ok {
			register(a, m, op, func(ctx context.Context, in *I) (*file, error) {
				out, err := fn(ctx, m.DB, requestOf(ctx), in)
				if err != nil {
					return nil, err
				}
				f := any(out).(File).answer(op.tagged)
				if !op.tagged {
					return f, nil
				}
				return f, requestOf(ctx).Preconditions.Check(true, strings.Trim(f.ETag, `"`))
			})
			return
		}
		if _, ok := any(out).(Stream); ok {
			register(a, m, op, func(ctx context.Context, in *I) (*stream, error) {
				out, err := fn(ctx, m.DB, requestOf(ctx), in)
				if err != nil {
					return nil, err
				}
				return any(out).(Stream).answer(), nil
			})
			return
		}
		if op.tagged {
			register(a, m, op, func(ctx context.Context, in *I) (*taggedBody[O], error) {
				out, err := fn(ctx, m.DB, requestOf(ctx), in)
				if err != nil {
					return nil, err
				}
				tag := tagOf(out)
				return &taggedBody[O]{`"` + tag + `"`, out}, requestOf(ctx).Preconditions.Check(true, tag)
			})
			return
		}
		register(a, m, op, func(ctx context.Context, in *I) (*body[O], error) {
			out, err := fn(ctx, m.DB, requestOf(ctx), in)
			if err != nil {
				return nil, err
			}
			return &body[O]{Body: out}, nil
		})
	}}
}

// body is how huma wants an output.
type body[O any] struct{ Body O }

// taggedBody is how huma wants an output with an entity tag.
type taggedBody[O any] struct {
	ETag string `header:"ETag" doc:"Changes with what is shown. Send it as If-None-Match to read again, or as If-Match to change it."`
	Body O
}
