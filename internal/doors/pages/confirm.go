package pages

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// confirmation is a mailed link that confirms an address, opened in this browser.
type confirmation struct {
	user user.User
	flow *signin.Standing // of the flow of this browser in which the account was created, or nil
}

// findConfirmation reads a link without using it.
func (d *Door) findConfirmation(v *visit) (confirmation, error) {
	return db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (confirmation, error) {
		l, err := credential.FindLink(v.ctx(), tx, v.param("token"))
		if err != nil {
			return confirmation{}, err
		}
		if l.Kind != credential.Verify {
			return confirmation{}, credential.ErrNoLink
		}
		u, err := user.Get(v.ctx(), tx, l.User)
		if err != nil {
			return confirmation{}, err
		}
		s, err := d.SignIn.Read(v.ctx(), tx, v.flowID(), v.ofBrowser())
		switch {
		case errors.Is(err, signin.ErrGone):
			return confirmation{user: u}, nil
		case err != nil:
			return confirmation{}, err
		case s.Flow.Registered == u.ID || s.Flow.User == u.ID && s.Next() == signin.AskEmail:
			return confirmation{u, &s}, nil
		}
		return confirmation{user: u}, nil
	})
}

// showConfirm asks to confirm an address. The link alone does not confirm it: mail scanners follow
// links. A browser that did not register must enter the password too. The mail may have reached a
// person whose address a stranger typed, and who must not activate the stranger's account.
func (d *Door) showConfirm(v *visit) error {
	c, err := d.findConfirmation(v)
	if err != nil {
		return err
	}
	return d.confirmPage(v, c, http.StatusOK, nil)
}

func (d *Door) confirmPage(v *visit, c confirmation, status int, problems []problem) error {
	p := &confirmPage{frame: frame{Title: say("confirm.title")}, Token: v.param("token"), Address: c.user.Email,
		AskPassword: c.flow == nil, Password: passwordField()}
	hint := say("confirm.password_hint")
	p.Password.Hint = &hint
	if c.flow != nil {
		p.Flow = c.flow.Flow.ID.String()
		v.speak(d, c.flow.Flow.Locales)
		if _, err := d.applicationOf(v, c.flow.Flow); err != nil {
			return err
		}
	}
	tell(&p.frame, problems, &p.Password)
	v.look.Here = nil // the address holds a token: it is not repeated in links
	return d.render(v, status, p)
}

// confirm confirms the address and continues the sign-in.
func (d *Door) confirm(v *visit) error {
	c, err := d.findConfirmation(v)
	if err != nil {
		return err
	}
	var try signin.PasswordTry
	if c.flow == nil {
		password := secret.String(v.form.Get("password"))
		if password.IsZero() {
			return d.confirmPage(v, c, refused, []problem{{"password", say("problem.password_missing")}})
		}
		var wait time.Duration
		try, wait, err = d.tryPassword(v, c.user.Login(), password)
		switch {
		case errors.Is(err, credential.ErrBusy):
			return d.confirmPage(v, c, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
		case err != nil:
			return err
		case wait > 0:
			return d.confirmPage(v, c, v.limited(wait),
				[]problem{{Text: say("problem.locked_code", "Wait", waiting(wait))}})
		}
	}
	use := func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
		if c.flow == nil {
			ok, err := try.Use(ctx, tx)
			if err != nil || !ok {
				return []problem{{"password", say("problem.password_wrong")}}, err
			}
		}
		l, err := credential.UseLink(ctx, tx, credential.Verify, v.form.Get("token"))
		if err != nil {
			return nil, err
		}
		if err := user.VerifyEmail(ctx, tx, l.User, l.EmailKey); err != nil {
			return nil, err
		}
		// The link belongs to c.user, as it was read before the password was checked.
		s.Prove(c.user, signin.Password, tx.Now())
		return nil, nil
	}
	var out outcome
	if c.flow != nil {
		out, err = d.runStep(v, c.flow.Flow.ID, c.flow.Next(), use)
	} else {
		out, err = d.begin(v, signin.Demand{LoginHint: c.user.Login()}, use)
	}
	switch {
	case err != nil:
		return err
	case len(out.problems) > 0:
		return d.confirmPage(v, c, refused, out.problems)
	}
	return d.redirectToNextStep(v, out.Standing)
}
