package pdp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Register adds the door's patterns to the mux of a tenant's base.
func (d *Door) Register(mux *http.ServeMux) {
	c := cerbosService{d: d}
	post(d, mux, "/api/check/resources", wire.Read, c.checkResources)
	post(d, mux, "/api/plan/resources", wire.Read, c.planResources)
	post(d, mux, "/api/check", wire.Read, c.checkResourceSet)
	post(d, mux, "/api/check_resource_batch", wire.Read, c.checkResourceBatch)
	mux.HandleFunc("GET /api/server_info", func(w http.ResponseWriter, r *http.Request) {
		allowOrigins(w.Header())
		if _, err := d.admitRequest(r); err != nil {
			refuse(w, r, err)
			return
		}
		d.answer(w, r, wire.Write(serverInfo))
	})

	a := authzenService{d: d}
	post(d, mux, evaluationPath, wire.ReadLenient, a.evaluate)
	post(d, mux, evaluationsPath, wire.ReadLenient, a.evaluateAll)
	d.handle(mux, searchSubjectPath, a.searchSubjects)
	d.handle(mux, searchActionPath, a.searchActions)
	d.handle(mux, searchResourcePath, a.searchResources)
	mux.HandleFunc("GET /.well-known/authzen-configuration", d.metadata)
}

// message is a pointer to the protobuf message M.
type message[M any] interface {
	*M
	proto.Message
}

// post registers an endpoint that reads one message and answers with another.
func post[M any, Req message[M], Resp proto.Message](d *Door, mux *http.ServeMux, path string,
	read func(body string, m proto.Message) error, fn func(ctx context.Context, a *requester, m Req, size int) (Resp, error)) {
	d.handle(mux, path, func(ctx context.Context, a *requester, body string) ([]byte, error) {
		m := Req(new(M))
		if err := read(body, m); err != nil {
			return nil, err
		}
		resp, err := fn(ctx, a, m, len(body))
		if err != nil {
			return nil, err
		}
		return wire.Write(resp), nil
	})
}

// handle makes an endpoint that whoever is admitted may post to, and scripts of any origin too.
func (d *Door) handle(mux *http.ServeMux, path string, fn func(ctx context.Context, a *requester, body string) ([]byte, error)) {
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
func (d *Door) admitRequest(r *http.Request) (*requester, error) {
	bearer, ok := access.Bearer(r.Header["Authorization"])
	if !ok {
		return nil, errNoToken
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
