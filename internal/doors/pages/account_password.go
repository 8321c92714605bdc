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

// showPassword asks for the current and the new password.
func (d *Door) showPassword(v *visit) error {
	return d.account(v, "/account/password", func(s session.Session, _ signin.Facts) error {
		return d.passwordPage(v, s, http.StatusOK, nil)
	})
}

func (d *Door) passwordPage(v *visit, s session.Session, status int, problems []problem) error {
	p := &passwordPage{
		frame:    frame{Title: say("password.title"), Person: s.UserName, Tabs: tabs(v.site.Path, "password")},
		Current:  currentPasswordField(),
		Password: newPasswordField(say("field.new_password"), v.tenant.Settings.PasswordMinLength),
		Stay:     v.form.Get("elsewhere") == stay,
	}
	tell(&p.frame, problems, &p.Current, &p.Password)
	return d.render(v, status, p)
}

// stay is the value of the form's field elsewhere with which other browsers and applications stay
// signed in after a new password. Any other value signs them out.
const stay = "stay"

// changePassword sets a new password. Other browsers and applications are signed out, unless the
// person wants them to stay. This browser's session goes on under a new token.
func (d *Door) changePassword(v *visit) error {
	return d.account(v, "/account/password", func(s session.Session, facts signin.Facts) error {
		u := facts.User
		current, next := secret.String(v.form.Get("current_password")), secret.String(v.form.Get("password"))
		var problems []problem
		if current.IsZero() {
			problems = append(problems, problem{"current_password", say("problem.current_missing")})
		}
		if wrong := checkNewPassword(next, v.tenant.Settings.PasswordMinLength, u.Email, u.Username, u.GivenName,
			u.FamilyName); wrong != nil {
			problems = append(problems, *wrong)
		} else if next == current {
			problems = append(problems, problem{"password", say("problem.password_same")})
		}
		if len(problems) > 0 {
			return d.passwordPage(v, s, refused, problems)
		}
		try, wait, err := d.tryPassword(v, u.Login(), current)
		var phc string
		if err == nil && try.OK() {
			phc, err = d.Hasher.Hash(v.ctx(), next)
		}
		switch {
		case errors.Is(err, credential.ErrBusy):
			return d.passwordPage(v, s, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
		case err != nil:
			return err
		case wait > 0:
			return d.passwordPage(v, s, v.limited(wait),
				[]problem{{Text: say("problem.locked_code", "Wait", waiting(wait))}})
		}
		renewed, err := db.Write(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) (*signin.Started, error) {
			if err := signin.HoldSession(v.ctx(), tx, s); err != nil {
				return nil, err
			}
			if ok, err := try.Use(v.ctx(), tx); err != nil || !ok {
				return nil, err
			}
			if err := credential.SetPassword(v.ctx(), tx, u.ID, phc); err != nil {
				return nil, err
			}
			if v.form.Get("elsewhere") != stay {
				if err := signin.End(v.ctx(), tx, signin.PasswordChanged, u.ID, s.ID); err != nil {
					return nil, err
				}
			}
			if err := d.report(v, tx, u, passwordChanged); err != nil {
				return nil, err
			}
			renewed, err := d.SignIn.Renew(v.ctx(), tx, s)
			return &renewed, err
		})
		if err != nil {
			return err
		}
		if renewed == nil {
			return d.passwordPage(v, s, refused, []problem{{"current_password", say("problem.current_wrong")}})
		}
		v.setSession(renewed)
		if v.form.Get("elsewhere") == stay {
			return v.redirect("/account?done=password-stay")
		}
		return v.redirect("/account?done=password")
	})
}

// tryPassword finds the account of login and verifies the password. wait is how long to wait after
// too many tries.
func (d *Door) tryPassword(v *visit, login string, password secret.String) (signin.PasswordTry, time.Duration, error) {
	type found struct {
		try  signin.PasswordTry
		wait time.Duration
	}
	f, err := db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (found, error) {
		try, wait, err := signin.FindPassword(v.ctx(), tx, login, v.browser, v.numbers())
		return found{try, wait}, err
	})
	if err != nil || f.wait > 0 {
		return f.try, f.wait, err
	}
	err = d.verify(v, &f.try, password)
	return f.try, 0, err
}
