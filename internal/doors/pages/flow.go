package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// state is a flow and all that Next has to know about it, read at one moment.
type state struct {
	flow   signin.Flow
	policy signin.Policy
	user   user.User // zero while the flow has none
	// What the policies said of the user; zero while the flow has none.
	verdict signin.Verdict
}

func (s *state) next() signin.Step { return signin.Next(s.flow, s.policy) }

// load reads the flow and judges its user anew.
func (d *Door) load(ctx context.Context, tx *db.Tx, v *visit, flow id.ID) (*state, error) {
	f, err := signin.Load(ctx, tx, flow, v.browser)
	if err != nil {
		return nil, err
	}
	s := &state{flow: f}
	return s, d.judge(ctx, tx, v, s)
}

// judge fills in what is true of the flow's user now. Somebody who may no longer
// sign in, and a session that has ended meanwhile, count for nothing.
func (d *Door) judge(ctx context.Context, tx *db.Tx, v *visit, s *state) error {
	s.policy, s.verdict, s.user = signin.Policy{}, signin.Verdict{}, user.User{}
	if s.flow.User.IsZero() {
		return nil
	}
	u, err := user.Get(ctx, tx, s.flow.User)
	switch {
	case fault.Of(err) == fault.NotFound:
		s.flow.Forget()
		return nil
	case err != nil:
		return err
	case u.Status != user.Active && u.Status != user.Invited:
		s.flow.Forget()
		return nil
	}
	if !s.flow.Session.IsZero() {
		on, err := session.Get(ctx, tx, s.flow.Session)
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		if err != nil || on.User != u.ID {
			s.flow.AMR, s.flow.Session = nil, id.ID{}
		}
	}
	has, err := credential.Of(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	s.user = u
	if s.verdict, err = d.Judge.Ask(ctx, tx, signin.Question{User: u.ID, AMR: s.flow.AMR, Application: s.flow.Application, Settings: v.tenant.Settings}); err != nil {
		return err
	}
	s.policy.Refused, s.policy.RequireMFA, s.policy.NoEnrolment = s.verdict.Refused, s.verdict.SecondFactor, s.verdict.NoEnrolment
	// Who has registered is invited until the address is confirmed.
	s.policy.VerifyEmail, s.policy.EmailVerified = u.Status == user.Invited, false
	s.policy.HasTOTP = has.TOTP
	if s.flow.Kind == signin.Authorize && len(s.flow.ConsentScopes) > 0 {
		s.policy.Allowed, err = grant.Consented(ctx, tx, u.ID, s.flow.Application)
	}
	return err
}

// move is one step of a flow in one transaction: load, do, start the session if
// everything is proved, save. do runs only while the flow waits for the step
// expected; it changes the flow, or returns problems, which are outcomes: what it
// wrote stays. do may run more than once.
func (d *Door) move(v *visit, flow id.ID, expected signin.Step, do func(ctx context.Context, tx *db.Tx, s *state) ([]problem, error)) (*state, []problem, error) {
	if flow.IsZero() {
		return nil, nil, signin.ErrGone
	}
	var (
		s        *state
		problems []problem
		token    secret.String
		lasts    time.Duration
	)
	err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) (err error) {
		problems, token = nil, ""
		if s, err = d.load(v.ctx(), tx, v, flow); err != nil {
			return err
		}
		if s.next() != expected {
			return nil // another tab was faster; show where it stands
		}
		if problems, err = do(v.ctx(), tx, s); err != nil || len(problems) > 0 {
			return err
		}
		token, lasts, err = d.settle(v.ctx(), tx, v, s)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if !token.IsZero() {
		web.SetCookie(v.w, v.r, session.Cookie, token.Reveal(), lasts)
	}
	return s, problems, nil
}

// settle starts the session when everything is proved, and saves the flow.
func (d *Door) settle(ctx context.Context, tx *db.Tx, v *visit, s *state) (token secret.String, lasts time.Duration, err error) {
	if err := d.judge(ctx, tx, v, s); err != nil {
		return "", 0, err
	}
	switch s.next() {
	case signin.StartSession:
		if token, lasts, err = d.start(ctx, tx, v, s); err != nil {
			return "", 0, err
		}
	case signin.Refuse:
		d.noteRefusal(tx, s)
	}
	return token, lasts, signin.Save(ctx, tx, &s.flow, s.policy)
}

// start makes the browser's session the flow's user's, under a new token: the one
// it had goes on when it was theirs and ends when it was somebody else's.
func (d *Door) start(ctx context.Context, tx *db.Tx, v *visit, s *state) (secret.String, time.Duration, error) {
	lasts := s.verdict.Max
	n := session.New{User: s.user.ID, UserName: s.user.Login(), AMR: s.flow.Methods(), AuthTime: s.flow.AuthTime, Idle: s.verdict.Idle, Max: lasts}
	had, err := session.Find(ctx, tx, web.Cookie(v.r, session.Cookie))
	if err != nil && !errors.Is(err, session.ErrNone) {
		return "", 0, err
	}
	var (
		now   session.Session
		token secret.String
	)
	switch {
	case err == nil && had.User == s.user.ID:
		now, token, err = session.Renew(ctx, tx, had.ID, n)
	case err == nil:
		if err := session.Revoke(ctx, tx, had.ID, "replaced"); err != nil && fault.Of(err) != fault.NotFound {
			return "", 0, err
		}
		fallthrough
	default:
		now, token, err = session.Start(ctx, tx, n)
	}
	if err != nil {
		return "", 0, err
	}
	s.flow.Session = now.ID
	user.SignedIn(tx, s.user.ID)
	audit.Write(tx, audit.Event{
		Action: "signin.succeed", Target: s.user.Target(), Outcome: audit.Success,
		Detail: map[string]any{"amr": now.AMR, "acr": now.ACR, "session": now.ID.String(), "application": s.flow.Application.String(), "decision": s.verdict.Decision().String()},
	})
	d.Judge.Record(tx, s.verdict)
	return token, lasts, nil
}

// arrive sends the browser to where the flow stands: on its way out, or to the
// page of the next step.
func (d *Door) arrive(v *visit, s *state) error {
	if s.next() != signin.Done {
		return v.redirect("/signin?flow=" + s.flow.ID.String())
	}
	if s.flow.Kind == signin.Account {
		if err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
			_, err := signin.Finish(v.ctx(), tx, s.flow.ID, v.browser)
			return err
		}); err != nil {
			return err
		}
	}
	return v.redirect(s.flow.Return())
}

// step is move and arrive for a form whose page show makes again when there are problems.
func (d *Door) step(v *visit, expected signin.Step, do func(ctx context.Context, tx *db.Tx, s *state) ([]problem, error), show func(s *state, problems []problem) error) error {
	s, problems, err := d.move(v, v.flowID(), expected, do)
	switch {
	case errors.Is(err, signin.ErrStale):
		return v.redirect("/signin?flow=" + v.flowID().String())
	case err != nil:
		return err
	case len(problems) > 0:
		return show(s, problems)
	}
	return d.arrive(v, s)
}

// begin starts a flow of our own that leads to an account page, and changes it by
// prepare (nil for nothing) before it is saved.
func (d *Door) begin(v *visit, n signin.New, prepare func(ctx context.Context, tx *db.Tx, s *state) error) (*state, error) {
	n.Kind, n.Browser = signin.Account, v.browser
	if n.ReturnTo == "" {
		n.ReturnTo = "/account"
	}
	var (
		s     *state
		token secret.String
		lasts time.Duration
	)
	err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
		token = ""
		f, err := signin.Begin(v.ctx(), tx, n)
		if err != nil {
			return err
		}
		s = &state{flow: f}
		if prepare == nil {
			return d.judge(v.ctx(), tx, v, s)
		}
		if err := prepare(v.ctx(), tx, s); err != nil {
			return err
		}
		token, lasts, err = d.settle(v.ctx(), tx, v, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !token.IsZero() {
		web.SetCookie(v.w, v.r, session.Cookie, token.Reveal(), lasts)
	}
	return s, nil
}

// withFlow answers GET pages that belong to a flow but can be reached without one:
// they are given one of our own first. It returns nil when it has answered.
func (d *Door) withFlow(v *visit, path string) (*state, error) {
	if flow := v.flowID(); !flow.IsZero() {
		s, err := d.look(v, flow)
		if err == nil {
			v.speak(d, s.flow.Locales)
		}
		return s, err
	}
	s, err := d.begin(v, signin.New{}, nil)
	if err != nil {
		return nil, err
	}
	q := url.Values{"flow": {s.flow.ID.String()}}
	return nil, v.redirect(path + "?" + q.Encode())
}

// look reads a flow without changing it.
func (d *Door) look(v *visit, flow id.ID) (s *state, err error) {
	if flow.IsZero() {
		return nil, signin.ErrGone
	}
	err = d.DB.View(v.ctx(), v.caller, func(tx *db.Tx) (err error) {
		s, err = d.load(v.ctx(), tx, v, flow)
		return err
	})
	return s, err
}

// applicationOf is the application that the flow leads to, or nil. Its redirect
// URIs are where the forms of the flow may lead.
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
	if f.Kind == signin.SignOut {
		uris = a.PostLogoutRedirectURIs
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

// nameOf is the application's name for a heading, or "" for none.
func nameOf(a *application.Application) string {
	if a == nil {
		return ""
	}
	return a.Name
}

// as is the caller of what a signed-in person does.
func (v *visit) as(s session.Session) caller.Caller { return v.caller.As(s.Actor(v.site.Tenant)) }

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
	if step := s.next(); step == signin.StartSession || step == signin.Done || step == signin.Refuse && !s.flow.Refused {
		// All is known, but the flow was not saved as such: by a confirmed address, by
		// a session or a consent given meanwhile.
		nothing := func(context.Context, *db.Tx, *state) ([]problem, error) { return nil, nil }
		s, _, err = d.move(v, s.flow.ID, step, nothing)
		if err != nil || step != signin.Refuse || s.next() != signin.Refuse {
			if err == nil {
				err = d.arrive(v, s)
			}
			return err
		}
	}
	return d.show(v, s, http.StatusOK, nil)
}

// show renders the page of the step that s waits for.
func (d *Door) show(v *visit, s *state, status int, problems []problem) error {
	a, err := d.applicationOf(v, s.flow)
	if err != nil {
		return err
	}
	switch s.next() {
	case signin.AskPassword:
		return d.render(v, status, d.passwordStep(v, s, a, s.flow.LoginHint, problems))
	case signin.AskTOTP:
		return d.render(v, status, totpStep(s, problems))
	case signin.EnrolTOTP:
		return d.showEnrolStep(v, s, status, problems)
	case signin.Refuse:
		return d.render(v, http.StatusForbidden, refuseStep(s, a))
	case signin.AskEmail:
		return d.render(v, status, d.confirmMailed(v, s))
	case signin.AskConsent:
		return d.render(v, status, consentStep(s, a, problems))
	case signin.AskSignOut:
		return d.render(v, status, &signOutPage{frame: frame{Title: say("signout.page"), Flow: s.flow.ID.String(), Person: s.user.Login()}, Application: nameOf(a)})
	case signin.StartSession, signin.Done:
	}
	return d.arrive(v, s)
}

// known is the frame of a later step: the account with "Not you?".
func known(s *state, title message) frame {
	return frame{Title: title, Flow: s.flow.ID.String(), Person: s.user.Login()}
}

// signInForget is "Not you?": the flow starts over with nobody.
func (d *Door) signInForget(v *visit) error {
	var s *state
	err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) (err error) {
		if s, err = d.load(v.ctx(), tx, v, v.flowID()); err != nil {
			return err
		}
		s.flow.Forget()
		if err := d.judge(v.ctx(), tx, v, s); err != nil {
			return err
		}
		return signin.Save(v.ctx(), tx, &s.flow, s.policy)
	})
	if err != nil && !errors.Is(err, signin.ErrStale) {
		return err
	}
	return v.redirect("/signin?flow=" + v.flowID().String())
}
