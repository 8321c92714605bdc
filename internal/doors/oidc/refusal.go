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
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxNoted bounds what the log has of a client_id or a redirect URI, in bytes.
const maxNoted = 256

// noteRefusal records a refused client authentication, authorization request or sign-out request.
// The log line of the request always has it. The audit event is bounded (audit.Refusals), because
// any stranger can send such requests. Of other refusals by the JSON endpoints only the log has the
// reason.
func (d *Door) noteRefusal(r *http.Request, err error) {
	action, code, reason := refusalOf(r, err)
	if action == "" {
		if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusBadRequest {
			web.NoteError(r.Context(), err)
		}
		return
	}
	client, uri := askedBy(r)
	if e, ok := errors.AsType[*apiError](err); ok && e.client != "" {
		client = cut(e.client) // of an assertion, which the form does not name
	}
	web.NoteError(r.Context(), fmt.Errorf("%s: %s: %s (client %q, redirect_uri %q)", action, code, reason, client, uri))
	c := web.CallerOf(r)
	if !d.refused.Allow(c.Tenant, c.Address, d.Clock.Now()) {
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
			Action: action, Target: target, Outcome: audit.Refused,
			Detail: map[string]any{"code": code, "reason": reason, "client_id": client, "redirect_uri": uri},
		})
		return nil
	}); err != nil {
		web.NoteError(r.Context(), err)
	}
}

// refusalOf returns the action, the code and the reason of an error that is recorded. The action is
// empty for other errors: answers of the protocol such as login_required, and our own faults.
func refusalOf(r *http.Request, err error) (string, string, string) {
	if e, ok := errors.AsType[*apiError](err); ok && (e.code == codeInvalidClient || e.cause != "") {
		return "client.refuse", e.code, cmp.Or(e.cause, e.description)
	}
	if e, ok := errors.AsType[*pageError](err); ok {
		if strings.HasPrefix(r.URL.Path, logoutPath) {
			return "logout.refuse", e.code, e.reason
		}
		return "authorize.refuse", e.code, e.reason
	}
	if e, ok := errors.AsType[*redirectError](err); ok {
		switch e.code {
		case codeLoginRequired, codeConsentRequired, codeInteractionRequired, codeAccessDenied, codeServerError,
			codeUnavailable:
			return "", "", ""
		}
		return "authorize.refuse", e.code, e.description
	}
	return "", "", ""
}

// askedBy returns the client_id and the redirect URI that a request names, as far as it can be
// read.
func askedBy(r *http.Request) (string, string) {
	form := r.PostForm
	if form == nil {
		form, _ = url.ParseQuery(r.URL.RawQuery)
	}
	client := form.Get("client_id")
	uri := cmp.Or(form.Get("redirect_uri"), form.Get("post_logout_redirect_uri"))
	if id, _, ok := r.BasicAuth(); ok && client == "" {
		client = id
	}
	return cut(client), cut(uri)
}

func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxNoted)], "")
}
