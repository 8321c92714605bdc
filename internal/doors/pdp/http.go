package pdp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Register adds the door's patterns to the mux of a tenant's base.
func (d *Door) Register(mux *http.ServeMux) {
	c := cerbosService{d: d}
	post(d, mux, "/api/check/resources", readerOf(readCheckResources), c.checkResources, writeCheckResources)
	post(d, mux, "/api/plan/resources", readerOf(readPlanResources), c.planResources, writePlanResources)
	post(d, mux, "/api/check", readSlow, c.checkResourceSet, nil)
	post(d, mux, "/api/check_resource_batch", readSlow, c.checkResourceBatch, nil)
	mux.HandleFunc("GET /api/server_info", func(w http.ResponseWriter, r *http.Request) {
		allowOrigins(w.Header())
		if _, err := d.admitRequest(r); err != nil {
			refuse(w, r, err)
			return
		}
		d.answer(w, r, protoJSON(serverInfo))
	})

	a := authzenService{d: d}
	post(d, mux, evaluationPath, readLenient, a.evaluate, nil)
	post(d, mux, evaluationsPath, readLenient, a.evaluateAll, (*batchAnswer).json)
	d.handle(mux, searchSubjectPath, a.searchSubjects)
	d.handle(mux, searchActionPath, a.searchActions)
	d.handle(mux, searchResourcePath, a.searchResources)
	mux.HandleFunc("GET /.well-known/authzen-configuration", d.metadata)
}

// post makes an endpoint that takes a message and answers with another. write nil is protojson.
func post[Req, Resp any](d *Door, mux *http.ServeMux, path string, read func(body string, m proto.Message) error,
	fn func(ctx context.Context, a *asker, m *Req, size int) (*Resp, error), write func(*Resp) []byte) {
	d.handle(mux, path, func(ctx context.Context, a *asker, body string) ([]byte, error) {
		m := new(Req)
		if err := read(body, any(m).(proto.Message)); err != nil {
			return nil, err
		}
		resp, err := fn(ctx, a, m, len(body))
		switch {
		case err != nil:
			return nil, err
		case write != nil:
			return write(resp), nil
		}
		return protoJSON(any(resp).(proto.Message)), nil
	})
}

// handle makes an endpoint that whoever is admitted may post to, and scripts of any origin too.
func (d *Door) handle(mux *http.ServeMux, path string, fn func(ctx context.Context, a *asker, body string) ([]byte, error)) {
	mux.HandleFunc("OPTIONS "+path, preflight)
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		allowOrigins(w.Header())
		echoRequestID(w, r)
		answer, err := func() ([]byte, error) {
			a, err := d.admitRequest(r)
			if err != nil {
				return nil, err
			}
			body, err := bodyOf(r)
			if err != nil {
				return nil, err
			}
			return fn(r.Context(), a, body)
		}()
		if err != nil {
			refuse(w, r, err)
			return
		}
		d.answer(w, r, answer)
	})
}

// admitRequest admits an HTTP request below a tenant's base: its token must be of that tenant.
func (d *Door) admitRequest(r *http.Request) (*asker, error) {
	bearer, err := bearerOf(r.Header["Authorization"])
	if err != nil {
		return nil, err
	}
	return d.admit(r.Context(), web.CallerOf(r), web.SiteOf(r), bearer)
}

// bodyOf reads the body, whose size kit/web limits.
func bodyOf(r *http.Request) (string, error) {
	var b bytes.Buffer
	// No more is set aside than has come or most requests have: a header costs its sender nothing.
	b.Grow(int(min(max(r.ContentLength, 0), 16<<10)) + bytes.MinRead)
	_, err := b.ReadFrom(r.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "", invalid("The request is larger than we accept.")
	}
	if err != nil {
		return "", invalid("The request's body could not be read to its end.")
	}
	return b.String(), nil
}

// readerOf reads by the fast reader, and by protojson what that gives up at.
func readerOf[M any](fields func(*reader, *M)) func(string, proto.Message) error {
	return func(body string, m proto.Message) error {
		if readFast(body, any(m).(*M), fields) {
			return nil
		}
		proto.Reset(m)
		return readSlow(body, m)
	}
}

// readSlow reads as grpc-gateway does for Cerbos: the first JSON value; nothing at all is an empty message.
func readSlow(body string, m proto.Message) error {
	return readBy(protojson.UnmarshalOptions{}, body, m)
}

// readLenient passes over names it does not know: AuthZEN lets requests have more than it
// defines, such as other options.
func readLenient(body string, m proto.Message) error {
	return readBy(protojson.UnmarshalOptions{DiscardUnknown: true}, body, m)
}

func readBy(how protojson.UnmarshalOptions, body string, m proto.Message) error {
	first, err := firstOf(body)
	if err != nil || first == nil {
		return err
	}
	if err := how.Unmarshal(first, m); err != nil {
		return unread(err)
	}
	return nil
}

// firstOf is the first JSON value of a body, or nil where there is none.
func firstOf(body string) (json.RawMessage, error) {
	var first json.RawMessage
	err := json.NewDecoder(strings.NewReader(body)).Decode(&first)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, unread(err)
	case deep(first):
		return nil, errDeep
	}
	return first, nil
}

// unread says why a body could not be read. The text may quote the request.
func unread(err error) error {
	text := err.Error()
	return invalid("%s", strings.ToValidUTF8(text[:min(len(text), 300)], "\uFFFD"))
}

// deep reports whether JSON is nested deeper than any request may be, with maxDepth levels of attributes.
func deep(b []byte) bool {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth+8 {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// protoJSON renders a message that has no writer of its own: of text, effects and what was read from JSON,
// which always can be.
func protoJSON(m proto.Message) []byte {
	b, err := protojson.Marshal(m)
	if err != nil {
		panic("pdp: " + err.Error())
	}
	return b
}

// answer writes what was answered; with ?pretty indented, as a Cerbos server does.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.URL.RawQuery != "" {
		if q, err := url.ParseQuery(r.URL.RawQuery); err == nil && q.Has("pretty") {
			var out bytes.Buffer
			if json.Indent(&out, body, "", "  ") == nil {
				body = out.Bytes()
			}
		}
	}
	writeJSON(w, http.StatusOK, body)
}

// Header values that are the same for every answer are shared; net/http only reads them.
var (
	jsonType  = []string{"application/json"}
	anyOrigin = []string{"*"}
	exposed   = []string{"WWW-Authenticate, X-Request-Id"}
)

// allowOrigins lets scripts of any origin read the answer. Who asks shows a token with every
// request and no cookie is looked at, so there is nothing to ride on.
func allowOrigins(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	allowOrigins(h)
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id")
	h.Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// echoRequestID gives the client its own X-Request-ID back (AuthZEN 1.0 wants it so). Our own id
// of the request stays in the log; what a stranger writes never gets there.
func echoRequestID(w http.ResponseWriter, r *http.Request) {
	given := r.Header["X-Request-Id"]
	if len(given) != 1 || given[0] == "" || len(given[0]) > 128 {
		return
	}
	for _, c := range []byte(given[0]) {
		if c < '!' || c > '~' {
			return
		}
	}
	w.Header()["X-Request-Id"] = given
}
