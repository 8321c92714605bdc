package pages

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// told is what a page says about a fault: the ids of its heading and of its text.
type told struct{ heading, text string }

// ofKind is what a page says about a fault without words of its own.
var ofKind = map[fault.Kind]told{
	fault.Invalid:         {"error.invalid", "error.invalid_text"},
	fault.Unauthenticated: {"error.denied", "error.denied_text"},
	fault.Denied:          {"error.denied", "error.denied_text"},
	fault.NotFound:        {"error.not_found", "error.not_found_text"},
	fault.Conflict:        {"error.conflict", "error.conflict_text"},
	fault.Limited:         {"error.limited", "error.limited_text"},
	fault.Unavailable:     {"error.unavailable", "error.unavailable_text"},
	fault.Internal:        {"error.internal", "error.internal_text"},
}

// ofCode is what a page says about the faults with these codes. A fault's own reason is in English
// and for programs, so a page never shows it to a person. A test finds codes that are missing here.
var ofCode = map[string]told{
	"request.not_found":        {"error.not_found", "error.not_found_text"},
	"request.method":           {"error.not_found", "error.method_text"},
	"request.cross_origin":     {"error.cross_origin", "error.cross_origin_text"},
	"request.too_long":         {"error.invalid", "error.too_long_text"},
	"request.malformed":        {"error.invalid", "error.invalid_text"},
	"request.content_type":     {"error.invalid", "error.invalid_text"},
	"request.content_encoding": {"error.invalid", "error.invalid_text"},
	"request.too_large":        {"error.invalid", "error.too_large_text"},
	"request.too_slow":         {"error.too_slow", "error.too_slow_text"},
	"request.insecure":         {"error.insecure", "error.insecure_text"},
	"request.limited":          {"error.limited", "error.limited_text"},
	"request.busy":             {"error.unavailable", "error.unavailable_text"},

	"tenant.not_found": {"error.not_found", "error.no_tenant_text"},
	"tenant.suspended": {"error.suspended", "error.suspended_text"},

	"page.not_found":         {"error.not_found", "error.not_found_text"},
	"page.too_many":          {"error.limited", "error.limited_text"},
	"limit.reached":          {"error.limit", "error.limit_text"},
	"register.closed":        {"error.register", "error.register_text"},
	"setup.gone":             {"error.link", "setup.gone"},
	"page.no_link":           {"error.link", "error.link_text"},
	"credential.no_totp":     {"error.conflict", "error.no_totp_text"},
	"session.none":           {"error.denied", "error.session_text"},
	"session.not_found":      {"error.not_found", "error.session_text"},
	"signin.gone":            {"error.gone", "error.gone_text"},
	"signin.not_done":        {"error.gone", "error.gone_text"},
	"signin.stale":           {"error.conflict", "error.conflict_text"},
	"signin.too_large":       {"error.application", "error.application_text"},
	"signin.large_requests":  {"error.limited", "error.limited_text"},
	"device.gone":            {"device.gone_title", "device.gone_text"},
	"invitation.unknown":     {"error.link", "invitation.unknown_text"},
	"invitation.expired":     {"invitation.expired", "invitation.expired_text"},
	"invitation.withdrawn":   {"invitation.withdrawn", "invitation.withdrawn_text"},
	"invitation.accepted":    {"invitation.accepted", "invitation.accepted_text"},
	"invitation.has_account": {"invitation.has_account", "invitation.has_account_text"},

	"oauth.malformed":                        {"error.application", "error.application_text"},
	"oauth.repeated":                         {"error.application", "error.application_text"},
	"oauth.client_id_missing":                {"error.application", "error.application_text"},
	"oauth.client_unknown":                   {"error.application", "error.client_unknown_text"},
	"oauth.client_disabled":                  {"error.client_disabled", "error.client_disabled_text"},
	"oauth.client_changed":                   {"error.gone", "error.client_changed_text"},
	"oauth.redirect_uri_missing":             {"error.application", "error.application_text"},
	"oauth.redirect_uri_unknown":             {"error.application", "error.redirect_text"},
	"oauth.state_too_long":                   {"error.application", "error.signout_text"},
	"oauth.hint_mismatch":                    {"error.application", "error.signout_text"},
	"oauth.hint_invalid":                     {"error.application", "error.signout_text"},
	"oauth.post_logout_redirect_uri_unknown": {"error.application", "error.signout_text"},
}

// errNoLink is the fault of a mailed link that is no longer good.
var errNoLink = fault.New(fault.NotFound, "page.no_link", "The link was used, has expired, or was replaced.")

// errorOf returns the status and the page for err. The caller adds what depends on the request.
func errorOf(err error) (int, *errorPage) {
	f := fault.As(err)
	if errors.Is(err, credential.ErrNoLink) {
		f = errNoLink
	}
	t, ok := ofCode[f.Code]
	if !ok {
		t = ofKind[f.Kind]
	}
	p := &errorPage{frame: frame{Title: say(t.heading)}, Heading: say(t.heading), Text: say(t.text)}
	if strings.HasPrefix(f.Code, "oauth.") {
		p.Detail, p.Code = f.Reason, f.Code // for the operator of the application
	}
	return web.Status(f.Kind), p
}

// fail answers with the page for err. It logs faults of our own.
func (d *Door) fail(v *visit, err error) {
	status, p := errorOf(err)
	if status >= http.StatusInternalServerError {
		web.NoteError(v.ctx(), err)
		p.RequestID = v.caller.RequestID
	} else if v.tenant != nil {
		p.Href, p.Action = v.site.Local("/account"), say("error.to_account")
		switch {
		case errors.Is(err, credential.ErrNoLink):
			p.Href, p.Action = v.site.Local("/forgotten"), say("error.new_link")
		case errors.Is(err, errInvitationAccepted), errors.Is(err, errInvitedUser):
			p.Href, p.Action = v.site.Local("/signin"), say("action.signin")
		case errors.Is(err, errNoInvitation), errors.Is(err, errInvitationExpired),
			errors.Is(err, errInvitationWithdrawn): // the reader has no account yet
			p.Href, p.Action = "", message{}
		}
	}
	if err := d.render(v, status, p); err != nil {
		web.NoteError(v.ctx(), err)
	}
}

// Refuse answers a browser with the page for a refusal: the tenant's, or one of no tenant. It is
// for web.NewRoutes.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, f web.Refusal) {
	v := &visit{w: w, r: r, site: web.SiteOf(r), caller: web.CallerOf(r)}
	var t *tenant.Tenant
	if v.site.Tenant.IsZero() {
		v.site.Name = "Gatehouse"
	} else if found, err := d.Tenants.ByID(r.Context(), v.site.Tenant); err == nil {
		t = found
	}
	v.choose(d, t)
	// The page loads nothing, because the server may refuse its style sheet for the same reason.
	v.look.Here, v.look.Alone = nil, true
	_, p := errorOf(fault.New(kindOfStatus(f.Status), f.Code, "%s", f.Reason))
	p.RequestID, p.Received = v.caller.RequestID, f.Received
	switch {
	case v.caller.Tenant.IsZero(): // no page of the tenant's would answer
	case f.Status == http.StatusNotFound, f.Status == http.StatusMethodNotAllowed:
		p.Href, p.Action = v.site.Local("/account"), say("error.to_account")
	}
	if err := d.render(v, f.Status, p); err != nil {
		web.NoteError(r.Context(), err)
	}
}

func kindOfStatus(status int) fault.Kind {
	for _, k := range fault.Kinds {
		if web.Status(k) == status {
			return k
		}
	}
	if status >= http.StatusInternalServerError {
		return fault.Internal
	}
	return fault.Invalid
}

// showNothing answers addresses without a page. The tenant's base and /account/ redirect to the
// account.
func (d *Door) showNothing(v *visit) error {
	if p := v.r.URL.Path; p == "/" || p == "" || p == "/account/" {
		return v.redirect("/account")
	}
	return fault.New(fault.NotFound, "page.not_found", "The address leads nowhere.")
}
