package pages

import (
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

const authenticatorPath = "/account/authenticator"

// showAuthenticator shows the authenticator app, or how to set one up.
func (d *Door) showAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, _ user.User) error {
		return d.authenticatorPage(v, s, http.StatusOK, nil)
	})
}

func (d *Door) authenticatorPage(v *visit, s session.Session, status int, problems []problem) error {
	p, err := d.enrolment(v, s.User, s.ID, s.UserName, problems)
	if err == nil {
		p.Tabs, p.Action, p.Cancel = tabs(v.site.Path, "totp"), v.site.Local(authenticatorPath),
			v.site.Local("/account")
		return d.render(v, status, p)
	}
	if !errors.Is(err, credential.ErrTOTPEnrolled) {
		return err
	}
	has, err := db.Read(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) (credential.Summary, error) {
		return credential.Of(v.ctx(), tx, s.User)
	})
	if err != nil {
		return err
	}
	return d.render(v, status, &authenticatorPage{
		frame:     frame{Title: say("authenticator.title"), Tabs: tabs(v.site.Path, "totp"), Notice: v.noticeOf()},
		CodesNote: say("account.codes_left", "Count", has.RecoveryCodes),
		Required:  v.tenant.Settings.MFA == tenant.MFARequired,
	})
}

// confirmAuthenticator confirms the app by its first code and answers with the recovery codes,
// which are shown this once. The session has two factors from here on, and a new token.
func (d *Door) confirmAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, u user.User) error {
		code, problems := v.code()
		if len(problems) > 0 {
			return d.authenticatorPage(v, s, refused, problems)
		}
		type enrolled struct {
			codes    []secret.String
			problems []problem
			wait     time.Duration
			session  signin.Started
		}
		e, err := db.Write(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) (enrolled, error) {
			var e enrolled
			var err error
			e.codes, e.problems, e.wait, err = d.confirmEnrolment(v.ctx(), tx, v, u, s.ID, code)
			if err == nil && len(e.problems) == 0 {
				e.session, err = d.SignIn.Renew(v.ctx(), tx, s, signin.TOTP)
			}
			return e, err
		})
		if err != nil {
			return err
		}
		if len(e.problems) > 0 {
			return d.authenticatorPage(v, s, v.refusal(e.wait), e.problems)
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

// removeAuthenticator removes the app and its recovery codes.
func (d *Door) removeAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session, u user.User) error {
		err := d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) error {
			if removed, err := d.TOTP.Remove(v.ctx(), tx, s.User); err != nil || !removed {
				return err
			}
			return d.report(v, tx, u, totpRemoved)
		})
		if err != nil {
			return err
		}
		if v.tenant.Settings.MFA == tenant.MFARequired {
			return v.redirect(authenticatorPath)
		}
		return v.redirect("/account?done=totp")
	})
}
