package pages

import (
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// errorOf returns the status and the page for err. The caller adds what depends on the request.
func errorOf(err error) (int, *errorPage) {
	var p *errorPage
	f := fault.As(err)
	p = &errorPage{frame: frame{Title: say("error.page")}, Text: message{Raw: f.Reason}}
	switch f.Kind {
	case fault.Invalid:
		p.Heading = say("error.invalid")
	case fault.Unauthenticated, fault.Denied:
		p.Heading = say("error.denied")
	case fault.NotFound:
		p.Heading, p.Text = say("error.not_found"), say("error.not_found_text")
	case fault.Conflict:
		p.Heading = say("error.conflict")
	case fault.Limited:
		p.Heading, p.Text = say("error.limited"), say("error.limited_text")
	case fault.Unavailable:
		p.Heading, p.Text = say("error.unavailable"), say("error.unavailable_text")
	case fault.Internal:
		p.Heading, p.Text = say("error.internal"), say("error.internal_text")
	}
	switch {
	case errors.Is(err, signin.ErrGone):
		p.Heading, p.Text = say("error.gone"), say("error.gone_text")
	case errors.Is(err, credential.ErrNoLink):
		p.Heading, p.Text = say("error.link"), say("error.link_text")
		return http.StatusNotFound, p
	case errors.Is(err, errSetupGone):
		p.Heading, p.Text = say("error.link"), say("setup.gone")
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
		if errors.Is(err, credential.ErrNoLink) {
			p.Href, p.Action = v.site.Local("/forgotten"), say("error.new_link")
		}
	}
	if err := d.render(v, status, p); err != nil {
		web.NoteError(v.ctx(), err)
	}
}

// Refuse answers a browser with the tenant's page for a refusal. It is for web.NewRoutes.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, f web.Refusal) {
	v := &visit{w: w, r: r, site: web.SiteOf(r), caller: web.CallerOf(r)}
	if v.site.Tenant.IsZero() {
		web.WritePage(w, r, f)
		return
	}
	v.choose(d, nil)
	v.look.Here = nil
	if t, err := d.Tenants.ByID(r.Context(), v.site.Tenant); err == nil {
		v.choose(d, t)
		v.look.Here = nil
	}
	_, p := errorOf(fault.New(kindOfStatus(f.Status), f.Code, f.Reason))
	p.RequestID = v.caller.RequestID
	if f.Status == http.StatusNotFound {
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
