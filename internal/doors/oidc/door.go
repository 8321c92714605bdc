package oidc

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Deps is what the door needs. All fields are required.
type Deps struct {
	DB           *db.DB
	Tenants      *tenant.Directory
	Applications *application.Directory
	APIs         *resourceserver.Directory
	Access       *access.Guard
	Keys         *signingkey.Keys
	Subjects     *subject.Keys
	Issuers      grant.Issuers
	Ring         grant.Deriver
	Records      *audit.Recorder
	Clock        clock.Clock
	SignIn       *signin.Engine
	Outbound     *outbound.Client // reads keys of clients
}

// Door answers the endpoints of OAuth and OpenID Connect. It is safe for concurrent use.
type Door struct {
	Deps
	verifier *grant.Verifier
	metadata *cache.Cache[string, []byte] // by issuer, as JSON
	clients  *cache.Cache[keySource, *clientKeys]
	refused  *audit.Refusals
}

// cacheSize is the number of entries in each cache. An entry has a few kilobytes.
const cacheSize = 4096

// New returns the door.
func New(d Deps) *Door {
	metadata := cache.New[string](cache.Options[[]byte]{Max: cacheSize})
	clients := cache.New[keySource](cache.Options[*clientKeys]{Max: cacheSize})
	return &Door{Deps: d, verifier: &grant.Verifier{DB: d.DB, Keys: d.Keys, Issuers: d.Issuers, PlainJWT: true},
		metadata: metadata, clients: clients, refused: audit.NewRefusals()}
}

// Register adds the door's routes below a tenant's base. kit/web maps both well-known forms to
// them: the appended one of OpenID Connect Discovery §4 and the inserted one of RFC 8414 §3.1.
func (d *Door) Register(routes *web.Routes) {
	scripts := routes.Group(web.Script, refuse)
	landings, nowhere := routes.Group(web.Landing, refuse), routes.Group(web.Nowhere, refuse)
	nowhere.Below("/oauth2/")
	nowhere.Below("/.well-known/")

	scripts.HandleFunc("GET /.well-known/openid-configuration", d.direct(d.discovery))
	scripts.HandleFunc("GET /.well-known/oauth-authorization-server", d.direct(d.discovery))
	scripts.HandleFunc("GET /.well-known/"+access.Metadata, d.direct(d.describeResource))
	scripts.HandleFunc("GET /.well-known/"+access.Metadata+"/{path...}", d.direct(d.describeResource))
	scripts.HandleFunc("GET /oauth2/jwks", d.direct(d.jwks))

	landings.HandleFunc("GET /oauth2/authorize", d.browser(d.authorize))
	landings.HandleFunc("POST /oauth2/authorize", d.browser(d.authorizePost))
	landings.HandleFunc("GET /oauth2/authorize/continue", d.browser(d.authorizeContinue))
	landings.HandleFunc("GET "+logoutPath, d.browser(d.logout))
	landings.HandleFunc("POST "+logoutPath, d.browser(d.logoutPost))
	landings.HandleFunc("GET "+logoutContinuePath, d.browser(d.logoutContinue))

	landings.HandleFunc("GET "+checkSessionPath, d.direct(d.checkSession))

	scripts.HandleFunc("POST "+tokenPath, d.direct(d.token))
	scripts.HandleFunc("POST "+devicePath, d.direct(d.requestDevice))
	scripts.HandleFunc("GET "+userinfoPath, d.direct(d.userinfo))
	scripts.HandleFunc("POST "+userinfoPath, d.direct(d.userinfo))
	scripts.HandleFunc("POST "+revokePath, d.direct(d.revoke))
	scripts.HandleFunc("POST "+introspectPath, d.direct(d.introspect))
}

// Header values that every answer shares. net/http only reads them.
var (
	noStore   = []string{"no-store"}
	noCache   = []string{"no-cache"}
	cacheable = []string{"public, max-age=300"}
)

// writeJSON answers with a body that must not be cached (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
	web.WriteJSON(w, status, body)
}

// direct returns the handler of an endpoint for programs. Its errors are JSON.
func (d *Door) direct(fn func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := fn(w, r)
		if err == nil {
			return
		}
		e, ok := errors.AsType[*apiError](err)
		if !ok {
			f := fault.As(err)
			status, code := directCode(f.Kind)
			e = &apiError{status: status, code: code, description: f.Reason, cause: f.Code + ": " + f.Reason}
			if status >= http.StatusInternalServerError {
				web.NoteError(r.Context(), err)
			}
			if _, refused := refusalOf(r, err); refused {
				err = e // so that the audit log has the code of the answer
			}
		}
		d.noteRefusal(r, err)
		if e.challenge != "" {
			w.Header().Set("WWW-Authenticate", e.challenge)
		}
		writeJSON(w, e.status, jsonBody(errorBody{e.code, plainText(e.description), web.RequestIDOf(r.Context())}))
	}
}

// browser returns the handler of an endpoint that users are sent to. Its errors are pages, or go to
// the redirect URI once that is valid.
func (d *Door) browser(fn func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := fn(w, r)
		if err == nil {
			return
		}
		d.noteRefusal(r, err)
		if e, ok := errors.AsType[*redirectError](err); ok {
			e.to.send(w, web.SiteOf(r).Base, map[string]string{"error": e.code, "error_description": e.description})
			return
		}
		if e, ok := errors.AsType[*pageError](err); ok {
			web.Refuse(w, r, web.Refusal{Status: e.status, Code: e.code, Reason: e.reason, Received: received(r)})
			return
		}
		f := fault.As(err)
		if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
			web.NoteError(r.Context(), err)
		}
		web.Refuse(w, r, web.Refusal{Status: web.Status(f.Kind), Code: f.Code, Reason: f.Reason})
	}
}

// atTarget returns err as an error that is sent to t. Once client and redirect URI are valid, every
// error goes there (RFC 6749 §4.1.2.1).
func atTarget(ctx context.Context, t target, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*redirectError](err); ok {
		return err
	}
	f := fault.As(err)
	switch f.Kind {
	case fault.Limited, fault.Unavailable:
		web.NoteError(ctx, err)
		return t.fail(codeUnavailable, "%s", f.Reason)
	case fault.Invalid:
		return t.fail(codeInvalidRequest, "%s", f.Reason)
	default:
		web.NoteError(ctx, err)
		return t.fail(codeServerError, "%s", serverTrouble)
	}
}
