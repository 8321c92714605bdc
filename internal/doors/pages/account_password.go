package pages

import (
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// showPassword asks for the current and the new password.
func (d *Door) showPassword(v *visit) error {
	return d.account(v, "/account/password", func(s session.Session) error {
		return d.passwordPage(v, s, http.StatusOK, nil)
	})
}

func (d *Door) passwordPage(v *visit, s session.Session, status int, problems []problem) error {
	p := &passwordPage{
		frame:   frame{Title: say("password.title"), Person: s.UserName, Tabs: tabs(v.site.Path, "password")},
		Current: currentPasswordField(), Password: newPasswordField(say("field.new_password"), v.tenant.Settings.PasswordMinLength),
	}
	tell(&p.frame, problems, &p.Current, &p.Password)
	return d.render(v, status, p)
}

// changePassword sets a new password: other browsers are signed out, and this
// one's session goes on under a new token.
func (d *Door) changePassword(v *visit) error {
	return d.account(v, "/account/password", func(s session.Session) error {
		current, next := secret.String(v.form.Get("current_password")), secret.String(v.form.Get("password"))
		var u user.User
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) (err error) {
			u, err = user.Get(v.ctx(), tx, s.User)
			return err
		}); err != nil {
			return err
		}
		var problems []problem
		if current.IsZero() {
			problems = append(problems, problem{"current_password", say("problem.current_missing")})
		}
		if wrong := checkNewPassword(next, v.tenant.Settings.PasswordMinLength, u.Email, u.Username, u.GivenName, u.FamilyName); wrong != nil {
			problems = append(problems, *wrong)
		} else if next == current {
			problems = append(problems, problem{"password", say("problem.password_same")})
		}
		if len(problems) > 0 {
			return d.passwordPage(v, s, refused, problems)
		}
		p, count, blocked, err := d.check(v, u.Login(), current)
		var phc string
		if err == nil && p.ok {
			phc, err = d.Hasher.Hash(v.ctx(), next)
		}
		switch {
		case errors.Is(err, credential.ErrBusy):
			return d.passwordPage(v, s, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
		case err != nil:
			return err
		case blocked > 0:
			return d.passwordPage(v, s, v.limited(blocked), []problem{{Text: say("problem.locked_code", "Wait", waiting(blocked))}})
		}
		var (
			ok    bool
			token secret.String
		)
		set := v.tenant.Settings
		err = d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) (err error) {
			if ok, err = p.prove(v.ctx(), tx, count, u.Login()); err != nil || !ok {
				return err
			}
			if err := credential.SetPassword(v.ctx(), tx, u.ID, phc); err != nil {
				return err
			}
			if _, err := session.RevokeAll(v.ctx(), tx, u.ID, s.ID, "password.change"); err != nil {
				return err
			}
			if err := d.report(v, tx, u, passwordChanged); err != nil {
				return err
			}
			_, token, err = session.Renew(v.ctx(), tx, s.ID, session.New{User: u.ID, UserName: u.Login(), AMR: s.AMR, ACR: s.ACR, AuthTime: s.AuthTime, Max: set.SessionMax})
			return err
		})
		if err != nil {
			return err
		}
		if !ok {
			return d.passwordPage(v, s, refused, []problem{{"current_password", say("problem.current_wrong")}})
		}
		web.SetCookie(v.w, v.r, session.Cookie, token.Reveal(), set.SessionMax)
		return v.redirect("/account?done=password")
	})
}
