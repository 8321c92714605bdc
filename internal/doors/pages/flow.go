package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// change applies one step to a flow, or returns problems for its form. Problems still commit:
// counters and audit events must survive. It may run more than once.
type change func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error)

// outcome is what became of a step.
type outcome struct {
	signin.Standing
	problems []problem
}

func (v *visit) ofBrowser() signin.Browser {
	b := signin.Browser{Secret: v.browser, Tokens: web.Cookies(v.r, session.Cookie)}
	if flow := v.flowID(); !flow.IsZero() {
		b.Carried = web.CookiesOf(v.r, signin.CarriedCookie, flow.String())
	}
	return b
}

// carry gives a flow in which nothing was proved to its browser.
func (d *Door) carry(v *visit, s signin.Standing) error {
	text, err := d.SignIn.CarryOrStore(v.ctx(), d.DB, v.caller, s, v.browser)
	if err == nil && text != "" {
		web.SetCookieOf(v.w, v.r, signin.CarriedCookie, s.Flow.ID.String(), text, signin.Lifetime)
	}
	return err
}

// readFlow reads where a flow stands.
func (d *Door) readFlow(v *visit, flow id.ID) (signin.Standing, error) {
	if flow.IsZero() {
		return signin.Standing{}, signin.ErrGone
	}
	return db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (signin.Standing, error) {
		return d.SignIn.Read(v.ctx(), tx, flow, v.ofBrowser())
	})
}

// advance applies do to the flow that stands at from, and sets the cookie of a session that was
// started by that.
func (d *Door) advance(v *visit, tx *db.Tx, from signin.Standing, do change) (outcome, error) {
	var problems []problem
	apply := func(ctx context.Context, tx *db.Tx, s *signin.Standing) (bool, error) {
		var err error
		problems, err = do(ctx, tx, s)
		return len(problems) == 0, err
	}
	if do == nil {
		apply = nil
	}
	s, err := d.SignIn.Advance(v.ctx(), tx, from, v.ofBrowser(), apply)
	return outcome{s, problems}, err
}

// setSession gives the browser a session that was started or renewed, once that is committed.
func (v *visit) setSession(s *signin.Started) {
	if s != nil {
		session.SetCookies(v.w, v.r, s.Session, s.Token, s.Lasts)
	}
}

// runStep reads a flow and applies do to it, in one transaction, if it waits for the step expected.
// Otherwise another tab was faster, and the flow is shown where it stands.
func (d *Door) runStep(v *visit, flow id.ID, expected signin.Step, do change) (outcome, error) {
	if flow.IsZero() {
		return outcome{}, signin.ErrGone
	}
	out, err := db.Write(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (outcome, error) {
		s, err := d.SignIn.Read(v.ctx(), tx, flow, v.ofBrowser())
		if err != nil || s.Next() != expected {
			return outcome{Standing: s}, err
		}
		return d.advance(v, tx, s, do)
	})
	v.setSession(out.Started)
	return out, err
}

// applyStep applies do to a flow that was read before. It fails with signin.ErrStale if the flow
// was changed since.
func (d *Door) applyStep(v *visit, read signin.Standing, do change) (outcome, error) {
	out, err := db.Write(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (outcome, error) {
		return d.advance(v, tx, read, do)
	})
	v.setSession(out.Started)
	return out, err
}

// redirectToNextStep sends the browser to where the flow stands: on its way out, or to the page of
// the next step.
func (d *Door) redirectToNextStep(v *visit, s signin.Standing) error {
	if s.Next() != signin.Done {
		return v.redirectToFlow(s.Flow.ID)
	}
	if s.Flow.Kind == signin.Account {
		if err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
			_, err := signin.Finish(v.ctx(), tx, s.Flow.ID, v.browser)
			return err
		}); err != nil {
			return err
		}
		web.ClearCookieOf(v.w, v.r, signin.CarriedCookie, s.Flow.ID.String())
	}
	return v.redirect(s.Flow.Return())
}

func (v *visit) redirectToFlow(flow id.ID) error { return v.redirect("/signin?flow=" + flow.String()) }

// answerStep answers the form of a step: with the next step, or with show if there are problems.
func (d *Door) answerStep(v *visit, out outcome, err error, show func(problems []problem) error) error {
	switch {
	case errors.Is(err, signin.ErrStale):
		return v.redirectToFlow(v.flowID())
	case err != nil:
		return err
	case len(out.problems) > 0:
		return show(out.problems)
	}
	return d.redirectToNextStep(v, out.Standing)
}

// begin starts a flow of our own that leads to an account page, and stores it with its first step.
func (d *Door) begin(v *visit, demand signin.Demand, do change) (outcome, error) {
	demand.Kind = signin.Account
	if demand.ReturnTo == "" {
		demand.ReturnTo = "/account"
	}
	out, err := db.Write(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (outcome, error) {
		s, err := d.SignIn.Begin(v.ctx(), tx, nil, demand)
		if err != nil {
			return outcome{}, err
		}
		return d.advance(v, tx, s, do)
	})
	v.setSession(out.Started)
	return out, err
}

// withFlow answers GET pages that belong to a flow but can be reached without one: it begins a flow
// of our own and redirects to path with it. It returns nil when it has answered.
func (d *Door) withFlow(v *visit, path string) (*signin.Standing, error) {
	if flow := v.flowID(); !flow.IsZero() {
		s, err := d.readFlow(v, flow)
		if err == nil {
			v.speak(d, s.Flow.Locales)
		}
		return &s, err
	}
	s, err := db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (signin.Standing, error) {
		return d.SignIn.Begin(v.ctx(), tx, nil, signin.Demand{Kind: signin.Account, ReturnTo: "/account"})
	})
	if err == nil {
		err = d.carry(v, s)
	}
	if err != nil {
		return nil, err
	}
	q := url.Values{"flow": {s.Flow.ID.String()}}
	return nil, v.redirect(path + "?" + q.Encode())
}

// applicationOf returns the application that the flow leads to, or nil. The forms of the flow may
// lead to its redirect URIs.
func (d *Door) applicationOf(v *visit, f signin.Flow) (*application.Application, error) {
	if f.Application.IsZero() {
		return nil, nil //nolint:nilnil // a flow of our own leads to no application
	}
	a, err := d.Applications.ByID(v.ctx(), v.caller, f.Application)
	if fault.Of(err) == fault.NotFound && err != nil {
		return nil, signin.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("pages: application of a flow: %w", err)
	}
	uris := a.RedirectURIs
	switch f.Kind {
	case signin.SignOut:
		uris = a.PostLogoutRedirectURIs
	case signin.Device: // it ends here
		uris = nil
	case signin.Authorize, signin.Account, signin.Console:
	}
	seen := map[string]bool{}
	for _, uri := range uris {
		if o := origin(uri); o != "" && !seen[o] {
			seen[o] = true
			v.look.Targets = append(v.look.Targets, o)
		}
	}
	return a, nil
}

// nameOf returns the application's name for a heading, or "" for none.
func nameOf(a *application.Application) string {
	if a == nil {
		return ""
	}
	return a.Name
}

// showSignIn shows the step that a flow waits for.
func (d *Door) showSignIn(v *visit) error {
	if v.flowID().IsZero() {
		if _, err := d.signedIn(v); err == nil {
			return v.redirect("/account")
		} else if !errors.Is(err, session.ErrNone) {
			return err
		}
	}
	s, err := d.withFlow(v, "/signin")
	if err != nil || s == nil {
		return err
	}
	if s.Adoptable {
		out, err := d.runStep(v, s.Flow.ID, signin.AskPassword, adopt)
		return d.answerStep(v, out, err, nil)
	}
	step := s.Next()
	if step == signin.StartSession || step == signin.Done || step == signin.Refuse && !s.Flow.Refused {
		// Something else completed the step: a confirmed address, a session, a consent.
		out, err := d.runStep(v, s.Flow.ID, step, nil)
		if err != nil {
			return err
		}
		if step != signin.Refuse || out.Next() != signin.Refuse {
			return d.redirectToNextStep(v, out.Standing)
		}
		s = &out.Standing
	}
	return d.showStep(v, *s, http.StatusOK, nil)
}

// adopt goes on in a second tab after the person has signed in in another.
func adopt(_ context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
	s.Adopt(tx.Now())
	return nil, nil
}

// showStep renders the page of the step that s waits for.
func (d *Door) showStep(v *visit, s signin.Standing, status int, problems []problem) error {
	v.speak(d, s.Flow.Locales)
	a, err := d.applicationOf(v, s.Flow)
	if err != nil {
		return err
	}
	switch s.Next() {
	case signin.AskPassword:
		return d.render(v, status, d.passwordStep(v, s, a, s.Flow.LoginHint, problems))
	case signin.AskTOTP:
		return d.render(v, status, totpStep(s, problems))
	case signin.EnrolTOTP:
		return d.showEnrolStep(v, s, status, problems)
	case signin.Refuse:
		return d.render(v, http.StatusForbidden, refuseStep(s, a))
	case signin.AskEmail:
		return d.render(v, status, d.confirmMailed(v, s))
	case signin.AskConsent:
		return d.showConsentStep(v, s, a, status, problems)
	case signin.AskSignOut:
		return d.render(v, status, &signOutPage{frame: known(s, say("signout.page")), Application: nameOf(a)})
	case signin.StartSession, signin.Done:
	}
	return d.redirectToNextStep(v, s)
}

// showFormAgain shows the page of the flow's step with problems, if it still is the one expected.
func (d *Door) showFormAgain(v *visit, expected signin.Step, status int, problems []problem) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	if s.Next() != expected {
		return d.redirectToNextStep(v, s)
	}
	return d.showStep(v, s, status, problems)
}

// known is the frame of a later step: the account with "Not you?".
func known(s signin.Standing, title message) frame {
	return frame{Title: title, Flow: s.Flow.ID.String(), Person: s.Facts.User.Login()}
}
