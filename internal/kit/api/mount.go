package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Gate decides whether the sender of a request may do an operation. The door that mounts the
// operations implements it.
type Gate interface {
	// Admit returns the caller of the operation and the caller's rights. It fails with an
	// Unauthenticated, Denied or NotFound fault.
	Admit(r *http.Request, op Op) (Request, error)
}

// Mount puts operations on a mux.
type Mount struct {
	Mux    humago.Mux
	Prefix string // "/api/v1"
	Title  string
	About  string // Markdown, at the head of the description
	DB     *db.DB
	Ring   *secret.KeyRing // seals the answers of calls with an Idempotency-Key
	Gate   Gate
	// Answer returns the HTTP status of a fault and the headers to add to its answer.
	Answer func(context.Context, *fault.Fault) (status int, header http.Header)
	// KeysOfCaller and KeysOfTenant bound the unexpired idempotency keys. 0 means 20,000 and
	// 50,000.
	KeysOfCaller, KeysOfTenant int

	mu       sync.Mutex
	underWay map[id.ID]int // requests of operations with AtOnce, by tenant
	waiting  map[id.ID]int // requests that wait for one of these to end
	ended    chan struct{} // closed when one of them ends

	mergePatches map[reflect.Type]bool // the types of their bodies
}

// A request of an operation with AtOnce waits for its turn. A program that validates and then
// publishes need not know of the bound.
const (
	turnWait   = 5 * time.Second
	maxWaiting = 8 // requests of one tenant
)

var errTooManyAtOnce = fault.New(fault.Limited, "request.at_once",
	"Your tenant has as many requests of this kind under way as it may. Wait until one of them has been answered.")

// enter counts a request of an operation with AtOnce, after its turn has come. It reports whether
// the request may proceed, and leave must follow then.
func (m *Mount) enter(ctx context.Context, tenant id.ID, most int) bool {
	over := time.NewTimer(turnWait)
	defer over.Stop()
	for first := true; ; first = false {
		ended, ok := m.tryEnter(tenant, most, first)
		if ok || ended == nil {
			return ok
		}
		select {
		case <-ended:
			continue
		case <-over.C:
		case <-ctx.Done():
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waiting[tenant]--
		return false
	}
}

// tryEnter counts the request if it may proceed. Otherwise it returns a channel that is closed when
// another request has ended, or nil if too many wait already.
func (m *Mount) tryEnter(tenant id.ID, most int, first bool) (<-chan struct{}, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.underWay == nil {
		m.underWay, m.waiting, m.ended = map[id.ID]int{}, map[id.ID]int{}, make(chan struct{})
	}
	if m.underWay[tenant] < most {
		m.underWay[tenant]++
		if !first {
			m.waiting[tenant]--
		}
		return nil, true
	}
	if first {
		if m.waiting[tenant] >= maxWaiting {
			return nil, false
		}
		m.waiting[tenant]++
	}
	return m.ended, false
}

func (m *Mount) leave(tenant id.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.underWay[tenant]--; m.underWay[tenant] == 0 {
		delete(m.underWay, tenant)
	}
	if m.waiting[tenant] == 0 {
		delete(m.waiting, tenant)
	}
	close(m.ended)
	m.ended = make(chan struct{})
}

// words replaces huma's wording of refusals, which is in package variables, once for the process.
var words = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true // "Email" is not "email", whatever encoding/json thinks
	huma.DefaultArrayNullable = false
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return fromHuma(context.Background(), status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return fromHuma(ctx.Context(), status, msg, errs)
	}
})

// ExampleIssuer is the issuer in the description, as long as no tenant is known.
const ExampleIssuer = "http://127.0.0.1:8080/t/acme"

// Operations registers ops and returns a function that describes them in OpenAPI 3.1, as indented
// JSON. It panics at start for a mistake in the declarations, such as an id that is used twice.
func (m *Mount) Operations(ops []Operation) func() []byte {
	words()
	names := &namer{}
	m.mergePatches = map[reflect.Type]bool{}
	decode := func(data []byte, into any) error {
		if err := unmarshal(data, into); err != nil {
			return err
		}
		return applyNulls(data, into, m.mergePatches[reflect.TypeOf(into).Elem()])
	}
	schemas := huma.NewMapRegistry("#/components/schemas/", names.name)
	schemas.RegisterTypeAlias(reflect.TypeFor[id.ID](), reflect.TypeFor[uuid]())
	conf := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: m.Title, Version: "1", Description: m.About},
			Servers: []*huma.Server{{
				URL:         "{issuer}" + m.Prefix,
				Description: "A tenant's base is its issuer.",
				Variables: map[string]*huma.ServerVariable{
					"issuer": {Default: "http://127.0.0.1:8080/t/acme", Description: "The tenant's issuer."},
				},
			}},
			Components: &huma.Components{
				Schemas: schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer",
						Description: "An access token of this tenant, or of the platform, with the scope " +
							"gatehouse:manage."},
				},
			},
			Security: []map[string][]string{{"bearer": {}}},
		},
		// "json" is huma's name for every type that ends in +json.
		Formats: map[string]huma.Format{
			"application/json": {Marshal: marshal, Unmarshal: decode},
			"json":             {Marshal: marshal, Unmarshal: decode},
			csvType:            {Marshal: writeCSV}},
		Transformers: []huma.Transformer{func(hc huma.Context, _ string, out any) (any, error) {
			if _, failed := out.(*Problem); failed {
				return out, nil
			}
			return requestOf(hc.Context()).visible(out), nil
		}},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	a := humago.NewWithPrefix(m.Mux, m.Prefix, conf)
	ids := map[string]bool{}
	versioned := versionedPaths(ops)
	for _, op := range ops {
		op.tagged = op.Method == http.MethodGet && versioned[op.Path] && !isList(op.output)
		if ids[op.ID] || op.ID == "" || op.Everyone != (op.Action == "") || op.Everyone && op.Method != http.MethodGet {
			panic(fmt.Sprintf("api: operation %s %s needs an id of its own and an action", op.Method, op.Path))
		}
		ids[op.ID] = true
		names.operation = op.ID
		op.bind(a, m, op.Op)
		op.describeAnswers(a.OpenAPI())
		op.describeResult(a.OpenAPI())
	}
	// The mux's {path...}, which may contain slashes, is {path} in OpenAPI.
	for path, item := range a.OpenAPI().Paths {
		if plain := strings.ReplaceAll(path, "...}", "}"); plain != path {
			delete(a.OpenAPI().Paths, path)
			a.OpenAPI().Paths[plain] = item
		}
	}
	return sync.OnceValue(func() []byte {
		doc, err := json.MarshalIndent(a.OpenAPI(), "", "  ")
		if err != nil {
			panic(fmt.Sprintf("api: describe the operations: %v", err))
		}
		return append(doc, '\n')
	})
}

// versionedPaths returns the paths on which a change takes If-Match. A GET of another path answers
// no ETag: no change would take it.
func versionedPaths(ops []Operation) map[string]bool {
	paths := map[string]bool{}
	for _, op := range ops {
		if op.Versioned {
			paths[op.Path] = true
		}
	}
	return paths
}

// uuid describes an id.ID, which knows nothing of huma.
type uuid string

// Schema implements huma.SchemaProvider.
func (uuid) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "uuid"}
}

// requestKey carries a Request through huma, whose handlers get nothing but a context.
type requestKey struct{}

func requestOf(ctx context.Context) Request {
	req, _ := ctx.Value(requestKey{}).(Request)
	return req
}

// errNoRights is the cause of a 500: a gate admitted a caller without rights.
var errNoRights = errors.New("api: the gate admitted a caller without rights")

// register registers an operation with huma, with the gate before it and our problems after it.
func register[I, O any](a huma.API, m *Mount, op Op, fn func(context.Context, *I) (*O, error)) {
	tags := []string{op.Tag}
	extensions := map[string]any{}
	if !op.Everyone {
		extensions["x-action"] = op.Action
	}
	if op.Platform {
		extensions["x-platform-only"] = true
	}
	body, merges := reflect.TypeFor[I]().FieldByName("Body")
	if merges = merges && op.Method == http.MethodPatch; merges {
		m.mergePatches[body.Type] = true
	}
	var largest int64
	if op.Body > 0 {
		largest = op.Body + 1 // huma refuses what reaches its limit
	}
	huma.Register(a, huma.Operation{
		OperationID:   op.ID,
		Method:        op.Method,
		Path:          op.Path,
		Summary:       op.Summary,
		Description:   op.Description,
		Tags:          tags,
		DefaultStatus: op.Status,
		Extensions:    extensions,
		Middlewares:   huma.Middlewares{m.admit(op)},
		Parameters:    headersOf(op),
		MaxBodyBytes:  largest,
		// kit/web has read the body or most of it. At huma's own deadline of five seconds the
		// server would take the connection for closed, and cancel the call.
		BodyReadTimeout: web.ReadTimeout,
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		if err != nil {
			return nil, m.problem(ctx, err)
		}
		return out, nil
	})
	if merges {
		for _, content := range operationOf(a.OpenAPI(), op).RequestBody.Content {
			describeNulls(a.OpenAPI().Components.Schemas, content.Schema, body.Type)
		}
	}
}

// admit asks the gate before it reads anything of the body.
func (m *Mount) admit(op Op) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		req, err := m.Gate.Admit(r, op)
		if err == nil && req.Rights == nil {
			err = errNoRights
		}
		if err == nil {
			err = checkQuery(r)
		}
		if err == nil {
			req.Preconditions, err = ReadPreconditions(r.Header)
		}
		if err == nil && op.Method != http.MethodGet && !op.Versioned && req.Preconditions.Given() {
			err = errUnconditional
		}
		if err == nil && op.AtOnce > 0 {
			if m.enter(r.Context(), req.Caller.Tenant, op.AtOnce) {
				defer m.leave(req.Caller.Tenant)
			} else {
				err = errTooManyAtOnce
			}
		}
		if err != nil {
			m.problem(r.Context(), err).write(w)
			return
		}
		if op.Body > 0 {
			web.AllowBody(r, op.Body+1)
		}
		lowerMediaType(r)
		if !op.table {
			withoutCSV(r)
		}
		if has := req.Preconditions.noneMatch; has.given && op.Method == http.MethodGet {
			req.Preconditions.noneMatch = tags{} // the answer is 304, not 412
			hc = &conditional{humaContext: hc, has: has}
		}
		req.change = op.Method != http.MethodGet
		var before *answered
		if req.claim, before, err = m.claimKey(r, op, req.Caller); err != nil {
			m.problem(r.Context(), err).write(w)
			return
		}
		if before != nil {
			before.write(w)
			return
		}
		defer func() { // also after a panic
			if req.claim != nil && !req.claim.done {
				m.release(r.Context(), req.Caller, req.claim)
			}
		}()
		next(huma.WithContext(hc, context.WithValue(r.Context(), requestKey{}, req)))
	}
}

var errQuery = fault.New(fault.Invalid, "request.malformed",
	"The query could not be read. Percent-encode what its values contain (RFC 3986, section 2.1).")

// checkQuery refuses a query that cannot be read, or names a parameter twice or without a value. A
// dropped or empty filter would be no filter, and show everything.
func checkQuery(r *http.Request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return errQuery
	}
	var wrong fault.Fields
	for name, values := range q {
		if len(values) > 1 {
			wrong.Add(name, "This parameter may be given only once.")
		} else if values[0] == "" && name != "cursor" { // a client's loop over pages begins with none
			wrong.Add(name, "Give this parameter a value, or leave it out.")
		}
	}
	slices.SortFunc(wrong, func(a, b fault.Field) int { return strings.Compare(a.Name, b.Name) })
	return wrong.Err("request.invalid")
}

// lowerMediaType writes a request's Content-Type as huma looks it up. A media type has no case (RFC
// 9110 §8.3.1).
func lowerMediaType(r *http.Request) {
	if kind := r.Header.Get("Content-Type"); kind != "" {
		r.Header.Set("Content-Type", strings.ToLower(kind))
	}
}

func marshal(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// maxNesting is how deep a body may nest, in levels. No operation needs more than ten.
const maxNesting = 100

// unmarshal decodes JSON whose text both databases can store: UTF-8 without NUL. encoding/json
// would replace invalid UTF-8 silently. It refuses an object that names a member twice. The schema
// is checked against the last one, and null passes it, but encoding/json keeps the first one if the
// last is null.
func unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return sentence("The body is not UTF-8.")
	}
	if hasNUL(data) {
		return sentence("The body contains a NUL character, which no field accepts.")
	}
	if web.Nested(data, maxNesting) {
		return sentence(fmt.Sprintf("The body is nested deeper than %d levels.", maxNesting))
	}
	if name := web.RepeatedMember(data); name != "" {
		return sentence(repeatedMember + name)
	}
	if name := web.InexactNumber(data); name != "" {
		return sentence(inexactMember + name)
	}
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[sentence](err); ok {
		return s
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return sentence(fmt.Sprintf("The body is not valid JSON from byte %d on.", s.Offset))
	}
	if u, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if u.Field == "" {
			return sentence("The body must be a JSON object.")
		}
		return sentence(unfitMember + u.Field)
	}
	return sentence("The body could not be read. Check the form of its fields.")
}

// hasNUL reports whether JSON has the escape \u0000. A raw NUL is not valid JSON.
func hasNUL(data []byte) bool {
	for rest := data; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 >= len(rest) {
			return false
		}
		if bytes.HasPrefix(rest[i:], []byte(`\u0000`)) {
			return true
		}
		rest = rest[i+2:]
	}
}
