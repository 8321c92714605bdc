package pages

import (
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

const authenticatorPath = "/account/authenticator"

// showAuthenticator shows the authenticator app, or how to set one up.
func (d *Door) showAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, facts signin.Facts) error {
		return d.authenticatorPage(v, s, facts, http.StatusOK, nil)
	})
}

func (d *Door) authenticatorPage(v *visit, s session.Session, facts signin.Facts, status int,
	problems []problem) error {
	if facts.Credentials.TOTP {
		return d.render(v, status, &authenticatorPage{
			frame:     frame{Title: say("authenticator.title"), Tabs: tabs(v.site.Path, "totp"), Notice: v.noticeOf()},
			CodesNote: say("account.codes_left", "Count", facts.Credentials.RecoveryCodes),
			Required:  facts.Verdict.SecondFactor,
		})
	}
	p, err := d.enrolment(v, s.User, s.ID, s.UserName, problems)
	if errors.Is(err, credential.ErrTOTPEnrolled) { // at this moment, in another tab
		return v.redirect(authenticatorPath)
	}
	if err != nil {
		return err
	}
	p.Tabs, p.Action, p.Cancel = tabs(v.site.Path, "totp"), v.site.Local(authenticatorPath), v.site.Local("/account")
	return d.render(v, status, p)
}

// confirmAuthenticator confirms the app by its first code and answers with the recovery codes,
// which are shown this once. The session has two factors from here on, and a new token.
func (d *Door) confirmAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, facts signin.Facts) error {
		code, problems := v.code()
		if len(problems) > 0 {
			return d.authenticatorPage(v, s, facts, refused, problems)
		}
		type enrolled struct {
			codes    []secret.String
			problems []problem
			wait     time.Duration
			session  signin.Started
		}
		e, err := db.Write(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) (enrolled, error) {
			var e enrolled
			err := signin.HoldSession(v.ctx(), tx, s)
			if err != nil {
				return e, err
			}
			e.codes, e.problems, e.wait, err = d.confirmEnrolment(v.ctx(), tx, v, facts.User, s.ID, code)
			if err == nil && len(e.problems) == 0 {
				e.session, err = d.SignIn.Renew(v.ctx(), tx, s, signin.TOTP)
			}
			return e, err
		})
		if err != nil {
			return err
		}
		if len(e.problems) > 0 {
			return d.authenticatorPage(v, s, facts, v.refusal(e.wait), e.problems)
		}
		v.setSession(&e.session)
		return d.showNewCodes(v, s, e.codes)
	})
}

func (d *Door) showNewCodes(v *visit, s session.Session, codes []secret.String) error {
	p := v.codesPage(s.UserName, codes, "/account")
	p.Tabs = tabs(v.site.Path, "totp")
	return d.render(v, http.StatusOK, p)
}

// removeAuthenticator removes the app and its recovery codes, and signs out everywhere else: a
// proof by the app no longer counts.
func (d *Door) removeAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, facts signin.Facts) error {
		renewed, err := db.Write(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) (*signin.Started, error) {
			if err := signin.HoldSession(v.ctx(), tx, s); err != nil {
				return nil, err
			}
			if removed, err := d.TOTP.Remove(v.ctx(), tx, s.User); err != nil || !removed {
				return nil, err
			}
			if err := signin.End(v.ctx(), tx, signin.FactorRemoved, s.User, s.ID); err != nil {
				return nil, err
			}
			if err := d.report(v, tx, facts.User, totpRemoved); err != nil {
				return nil, err
			}
			renewed, err := d.SignIn.Renew(v.ctx(), tx, s)
			return &renewed, err
		})
		if err != nil {
			return err
		}
		v.setSession(renewed)
		if facts.Verdict.SecondFactor { // another has to be set up
			return v.redirect(authenticatorPath)
		}
		return v.redirect("/account?done=totp")
	})
}
