package oidc

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxNoted bounds what the log has of a client_id or a redirect URI, in bytes.
const maxNoted = 256

// refusal is what the log and the audit log have of a request that was refused.
type refusal struct {
	action string
	code   string
	reason string
}

// noteRefusal records a refused request. The log line of the request always has it. The audit event
// is bounded for each action (audit.Refusals), because any stranger can send such requests.
func (d *Door) noteRefusal(r *http.Request, err error) {
	if fault.Of(err) == fault.Limited {
		web.NoteError(r.Context(), err)
		return
	}
	refused, ok := refusalOf(r, err)
	if !ok {
		return
	}
	client, uri := askedBy(r)
	if e, ok := errors.AsType[*redirectError](err); ok {
		client, uri = cmp.Or(client, e.client), cmp.Or(uri, cut(e.to.URI))
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		client = cmp.Or(client, e.clientID)
	}
	web.NoteError(r.Context(), fmt.Errorf("%s: %s: %s (client %q, redirect_uri %q)",
		refused.action, refused.code, refused.reason, client, uri))
	c := web.CallerOf(r)
	if !d.refused.Allow(c.Tenant, refused.kind(), c.Address, d.Clock.Now()) {
		return
	}
	target := audit.Target{Kind: "application", Name: client}
	switch app, err := d.Applications.ByClientID(r.Context(), c, client); {
	case err == nil:
		target = app.Target()
	case fault.Of(err) != fault.NotFound:
		web.NoteError(r.Context(), err)
	}
	if err := d.DB.Update(r.Context(), c, func(tx *db.Tx) error {
		audit.Write(tx, audit.Event{
			Action: refused.action, Target: target, Outcome: audit.Refused,
			Detail: map[string]any{"code": refused.code, "reason": cut(refused.reason), "client_id": client,
				"redirect_uri": uri},
		})
		return nil
	}); err != nil {
		web.NoteError(r.Context(), err)
	}
}

// refusalOf returns what is recorded of an error. It returns false for failures of ours.
func refusalOf(r *http.Request, err error) (refusal, bool) {
	action := actionOf(r.URL.Path)
	if e, ok := errors.AsType[*apiError](err); ok {
		if waits(e.code) {
			return refusal{}, false // a device polls again: nothing was refused
		}
		if e.code == codeInvalidClient || e.client {
			action = "client.refuse"
		}
		return refusal{action, e.code, cmp.Or(e.cause, e.description)}, e.status < http.StatusInternalServerError
	}
	if e, ok := errors.AsType[*pageError](err); ok {
		return refusal{action, e.code, e.reason}, true
	}
	if e, ok := errors.AsType[*redirectError](err); ok {
		return refusal{action, e.code, e.description}, e.code != codeServerError && e.code != codeUnavailable
	}
	switch f := fault.As(err); f.Kind {
	case fault.Internal, fault.Unavailable, fault.Limited:
		return refusal{}, false
	case fault.Invalid, fault.Unauthenticated, fault.Denied, fault.NotFound, fault.Conflict:
		return refusal{action, f.Code, f.Reason}, true
	}
	return refusal{}, false
}

// actionOf returns the action under which a refusal by an endpoint is recorded.
func actionOf(path string) string {
	switch path {
	case tokenPath:
		return "token_request.refuse"
	case devicePath:
		return "device_authorization.refuse"
	case introspectPath:
		return "introspection.refuse"
	case revokePath:
		return "revocation.refuse"
	case userinfoPath:
		return "userinfo.refuse"
	}
	if strings.HasPrefix(path, logoutPath) {
		return "logout.refuse"
	}
	return "authorize.refuse"
}

// kind returns the kind of refusals with which a refusal shares its bound. Answers that an
// application expects at times, such as login_required to prompt=none, are counted apart from
// mistakes.
func (f refusal) kind() string {
	switch f.code {
	case codeLoginRequired, codeConsentRequired, codeInteractionRequired, codeAccessDenied, codeExpiredToken:
		return f.action + " " + f.code
	}
	return f.action
}

// askedBy returns the client_id and the redirect URI that a request names, as far as it can be
// read. Neither is verified.
func askedBy(r *http.Request) (string, string) {
	form := r.PostForm
	if form == nil {
		form, _ = url.ParseQuery(r.URL.RawQuery)
	}
	client := form.Get("client_id")
	if basic, ok := parseBasic(r.Header.Get("Authorization")); ok && client == "" {
		client = basic.clientID
	}
	if client == "" {
		client = jose.Peek(form.Get("client_assertion")).Subject
	}
	return cut(client), cut(cmp.Or(form.Get("redirect_uri"), form.Get("post_logout_redirect_uri")))
}

func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxNoted)], "")
}
