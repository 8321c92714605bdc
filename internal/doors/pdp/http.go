package pdp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Register adds the door's patterns to the mux of a tenant's base.
func (d *Door) Register(routes *web.Routes) {
	decisions, scripts := routes.Group(web.Decision, nil), routes.Group(web.Script, nil)
	scripts.Below("/api/")
	scripts.Below("/access/v1/")
	c := cerbosService{d: d}
	post(d, decisions, "/api/check/resources", wire.Read, c.checkResources)
	post(d, decisions, "/api/plan/resources", wire.Read, c.planResources)
	post(d, decisions, "/api/check", wire.Read, c.checkResourceSet)
	post(d, decisions, "/api/check_resource_batch", wire.Read, c.checkResourceBatch)
	scripts.HandleFunc("GET /api/server_info", func(w http.ResponseWriter, r *http.Request) {
		if _, err := d.admitRequest(r); err != nil {
			refuse(w, r, err)
			return
		}
		d.answer(w, r, wire.Write(serverInfo))
	})

	scripts.HandleFunc("GET /_cerbos/health", func(w http.ResponseWriter, _ *http.Request) {
		web.WriteJSON(w, http.StatusOK, []byte(`{"status":"SERVING"}`)) // a client that gets an answer is served
	})

	a := authzenService{d: d}
	post(d, decisions, evaluationPath, wire.ReadLenient, a.evaluate)
	post(d, decisions, evaluationsPath, wire.ReadLenient, a.evaluateAll)
	d.handle(decisions, searchSubjectPath, a.searchSubjects)
	d.handle(decisions, searchActionPath, a.searchActions)
	d.handle(decisions, searchResourcePath, a.searchResources)
	scripts.HandleFunc("GET /.well-known/authzen-configuration", d.metadata)
}

// message is a pointer to the protobuf message M.
type message[M any] interface {
	*M
	proto.Message
}

// post registers an endpoint that reads one message and answers with another.
func post[M any, Req message[M], Resp proto.Message](
	d *Door, group *web.Group, path string, read func(body string, m proto.Message) error,
	fn func(ctx context.Context, a *requester, m Req, size int) (Resp, error),
) {
	d.handle(group, path, func(ctx context.Context, a *requester, body string) ([]byte, error) {
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

// handle registers an endpoint that admits the token of a request and answers its body.
func (d *Door) handle(
	group *web.Group, path string, fn func(ctx context.Context, a *requester, body string) ([]byte, error),
) {
	group.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		echoRequestID(w, r)
		answer, err := func() ([]byte, error) {
			a, err := d.admitRequest(r)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(path, authzenPrefix) && !isJSON(r.Header.Get("Content-Type")) {
				return nil, errNotJSON
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

// authzenPrefix is the path of AuthZEN's endpoints, whose requests are JSON and say so (§10.1).
const authzenPrefix = "/access/v1/"

var errNotJSON = invalid("The body must be JSON: send Content-Type: application/json.")

// isJSON reports whether a Content-Type is JSON. A request without one may be anything.
func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return contentType == "" || err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// admitRequest admits an HTTP request below a tenant's base, or records its refusal.
func (d *Door) admitRequest(r *http.Request) (*requester, error) {
	a, err := d.identify(r)
	if err != nil {
		d.Access.Record(r.Context(), web.CallerOf(r), access.RefusedDecision, err)
	}
	return a, err
}

// identify returns the holder of a request's token, or the application whose credentials it has.
// Both must be of the tenant.
func (d *Door) identify(r *http.Request) (*requester, error) {
	if header := r.Header["Authorization"]; len(header) == 1 {
		if shown, ok := access.Basic(header[0]); ok {
			return d.admitClient(r, header[0], shown)
		}
	}
	bearer, ok := access.Bearer(r.Header["Authorization"])
	if !ok {
		return nil, errNoToken
	}
	return d.admit(r.Context(), web.CallerOf(r), web.SiteOf(r), bearer)
}

// bodyOf reads the body. kit/web limits its size.
func bodyOf(r *http.Request) (string, error) {
	var b bytes.Buffer
	// A Content-Length costs its sender nothing, so it reserves no more than most requests need.
	b.Grow(int(min(max(r.ContentLength, 0), 16<<10)) + bytes.MinRead)
	_, err := b.ReadFrom(r.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "", invalid("The request is larger than we accept.")
	}
	if err != nil {
		return "", invalid("The request's body could not be read to the end.")
	}
	return b.String(), nil
}

// answer writes body. With ?pretty it is indented, as from a Cerbos server.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.URL.RawQuery != "" {
		if q, err := url.ParseQuery(r.URL.RawQuery); err == nil && q.Has("pretty") {
			var out bytes.Buffer
			if json.Indent(&out, body, "", "  ") == nil {
				body = out.Bytes()
			}
		}
	}
	web.WriteJSON(w, http.StatusOK, body)
}

// echoRequestID returns the client's own X-Request-ID, as AuthZEN 1.0 requires. The log has our own
// id of the request, and never text of the client.
func echoRequestID(w http.ResponseWriter, r *http.Request) {
	given := r.Header["X-Request-Id"]
	if len(given) != 1 || given[0] == "" || len(given[0]) > 1<<10 { // net/http refuses control characters
		return
	}
	w.Header()["X-Request-Id"] = given
}
