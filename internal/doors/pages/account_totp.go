package pages

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

const authenticatorPath = "/account/authenticator"

// enrolment begins, or takes up again, the set-up of an authenticator app in the
// flow or session at.
func (d *Door) enrolment(v *visit, who, at id.ID, login string, problems []problem) (*enrolPage, error) {
	var e credential.Enrolment
	if err := d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) (err error) {
		e, err = d.TOTP.Enrol(v.ctx(), tx, who, at, v.site.Name, login)
		return err
	}); err != nil {
		return nil, err
	}
	qr, err := qrImage(e.URI.Reveal())
	if err != nil {
		return nil, err
	}
	p := &enrolPage{frame: frame{Title: say("enrol.title")}, QR: qr, Secret: grouped(strings.ReplaceAll(e.Secret.Reveal(), " ", "")), Code: codeField()}
	tell(&p.frame, problems, &p.Code)
	return p, nil
}

// showAuthenticator shows the authenticator app, or how to set one up.
func (d *Door) showAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session) error {
		return d.authenticator(v, s, http.StatusOK, nil)
	})
}

func (d *Door) authenticator(v *visit, s session.Session, status int, problems []problem) error {
	p, err := d.enrolment(v, s.User, s.ID, s.UserName, problems)
	if err == nil {
		p.Tabs, p.Action, p.Cancel = tabs(v.site.Path, "totp"), v.site.Local(authenticatorPath), v.site.Local("/account")
		return d.render(v, status, p)
	}
	if !errors.Is(err, credential.ErrTOTPEnrolled) {
		return err
	}
	var has credential.Summary
	if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) (err error) {
		has, err = credential.Of(v.ctx(), tx, s.User)
		return err
	}); err != nil {
		return err
	}
	return d.render(v, status, &authenticatorPage{
		frame:     frame{Title: say("authenticator.title"), Tabs: tabs(v.site.Path, "totp"), Notice: v.noticeOf()},
		CodesNote: say("account.codes_left", "Count", has.RecoveryCodes), Required: v.tenant.Settings.MFA == tenant.MFARequired,
	})
}

// confirmAuthenticator takes the first code of the app and answers with the
// recovery codes, which are shown this once.
func (d *Door) confirmAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session) error {
		code, problems := v.code()
		if len(problems) > 0 {
			return d.authenticator(v, s, refused, problems)
		}
		var (
			out   credential.Outcome
			codes []secret.String
			token secret.String
			wait  time.Duration
		)
		set := v.tenant.Settings
		err := d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) error {
			codes, token = nil, ""
			verdict, err := attempt.Hold(v.ctx(), tx, attempt.Factor(s.User))
			if err != nil {
				return err
			}
			if wait = verdict.Wait(tx.Now()); wait > 0 {
				return nil
			}
			if out, err = d.TOTP.Confirm(v.ctx(), tx, s.User, s.ID, code); err != nil {
				return err
			}
			if out == credential.Wrong {
				_, err = attempt.Fail(v.ctx(), tx, attempt.Factor(s.User))
			}
			if err != nil || out != credential.Accepted {
				return err
			}
			// The session has two factors from here on; one that is raised gets a new token.
			n := session.New{User: s.User, UserName: s.UserName, AMR: twoFactors(s.AMR), AuthTime: s.AuthTime, Max: set.SessionMax}
			if _, token, err = session.Renew(v.ctx(), tx, s.ID, n); err != nil {
				return err
			}
			if codes, err = credential.NewRecoveryCodes(v.ctx(), tx, s.User); err != nil {
				return err
			}
			return d.reportOn(v, tx, s.User, totpEnrolled)
		})
		switch {
		case err != nil:
			return err
		case wait > 0:
			return d.authenticator(v, s, v.limited(wait), []problem{{Text: say("problem.locked_code", "Wait", waiting(wait))}})
		case out == credential.Replaced, out == credential.Missing:
			return d.authenticator(v, s, refused, []problem{{"code", say("problem.enrol_again")}})
		case codes == nil:
			return d.authenticator(v, s, refused, []problem{{"code", say("problem.enrol_wrong")}})
		}
		web.SetCookie(v.w, v.r, session.Cookie, token.Reveal(), set.SessionMax)
		return d.showNewCodes(v, s, codes)
	})
}

// twoFactors are the methods of a session that has proved a one-time code as well.
func twoFactors(amr []string) []string {
	f := signin.Flow{AMR: amr}
	if !slices.Contains(amr, signin.OTP) {
		f.AMR = append(slices.Clone(amr), signin.OTP)
	}
	return f.Methods()
}

func (d *Door) showNewCodes(v *visit, s session.Session, codes []secret.String) error {
	p := v.codesPage(s.UserName, codes, "/account")
	p.Tabs = tabs(v.site.Path, "totp")
	return d.render(v, http.StatusOK, p)
}

// newRecoveryCodes replaces the recovery codes.
func (d *Door) newRecoveryCodes(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session) error {
		var codes []secret.String
		err := d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) error {
			has, err := credential.Of(v.ctx(), tx, s.User)
			if err != nil {
				return err
			}
			if !has.TOTP {
				return fault.New(fault.Conflict, "credential.no_totp", "Recovery codes stand in for an authenticator app. Set one up first.")
			}
			if codes, err = credential.NewRecoveryCodes(v.ctx(), tx, s.User); err != nil {
				return err
			}
			return d.reportOn(v, tx, s.User, codesRenewed)
		})
		if err != nil {
			return err
		}
		return d.showNewCodes(v, s, codes)
	})
}

// removeAuthenticator takes the app away, with its recovery codes.
func (d *Door) removeAuthenticator(v *visit) error {
	return d.guarded(v, authenticatorPath, func(s session.Session) error {
		err := d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) error {
			if removed, err := d.TOTP.Remove(v.ctx(), tx, s.User); err != nil || !removed {
				return err
			}
			return d.reportOn(v, tx, s.User, totpRemoved)
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
