package pages

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// confirmation is a mailed link that confirms an address, as this browser sees it.
type confirmation struct {
	user user.User
	flow *state // the flow of this browser in which the account was made, or nil
}

// findConfirmation reads a link without using it.
func (d *Door) findConfirmation(v *visit) (c confirmation, err error) {
	err = d.DB.View(v.ctx(), v.caller, func(tx *db.Tx) error {
		l, err := credential.FindLink(v.ctx(), tx, v.param("token"))
		if err != nil {
			return err
		}
		if l.Kind != credential.Verify {
			return credential.ErrNoLink
		}
		if c.user, err = user.Get(v.ctx(), tx, l.User); err != nil {
			return err
		}
		c.flow = nil
		s, err := d.load(v.ctx(), tx, v, v.flowID())
		if errors.Is(err, signin.ErrGone) {
			return nil
		}
		if err == nil && (s.flow.Registered == c.user.ID || s.flow.User == c.user.ID && s.next() == signin.AskEmail) {
			c.flow = s
		}
		return err
	})
	return c, err
}

// showConfirm asks to confirm an address. A link alone does not: mail scanners
// follow links. In another browser than the one that registered the password is
// asked for, because the mail may have reached somebody whose address a stranger
// typed: that person must not make the stranger's account good.
func (d *Door) showConfirm(v *visit) error {
	c, err := d.findConfirmation(v)
	if err != nil {
		return err
	}
	return d.confirmPage(v, c, http.StatusOK, nil)
}

func (d *Door) confirmPage(v *visit, c confirmation, status int, problems []problem) error {
	p := &confirmPage{frame: frame{Title: say("confirm.title")}, Token: v.param("token"), Address: c.user.Email, AskPassword: c.flow == nil, Password: passwordField()}
	hint := say("confirm.password_hint")
	p.Password.Hint = &hint
	if c.flow != nil {
		p.Flow = c.flow.flow.ID.String()
		v.speak(d, c.flow.flow.Locales)
		if _, err := d.applicationOf(v, c.flow.flow); err != nil {
			return err
		}
	}
	tell(&p.frame, problems, &p.Password)
	v.look.Here = nil // the address holds a token: it is not repeated in links
	return d.render(v, status, p)
}

// confirm takes the confirmation and goes on with the sign-in.
func (d *Door) confirm(v *visit) error {
	c, err := d.findConfirmation(v)
	if err != nil {
		return err
	}
	login := c.user.Login()
	var (
		p     proof
		count attempt.SignIn
	)
	if c.flow == nil {
		password := secret.String(v.form.Get("password"))
		if password.IsZero() {
			return d.confirmPage(v, c, refused, []problem{{"password", say("problem.password_missing")}})
		}
		var blocked time.Duration
		p, count, blocked, err = d.check(v, login, password)
		switch {
		case errors.Is(err, credential.ErrBusy):
			return d.confirmPage(v, c, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
		case err != nil:
			return err
		case blocked > 0:
			return d.confirmPage(v, c, v.limited(blocked), []problem{{Text: say("problem.locked_code", "Wait", waiting(blocked))}})
		}
	}
	wrong := false
	use := func(ctx context.Context, tx *db.Tx, s *state) ([]problem, error) {
		wrong = false
		if c.flow == nil {
			ok, err := p.prove(ctx, tx, count, login)
			if err != nil || !ok {
				wrong = true
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
		s.flow.Prove(l.User, signin.Password, tx.Now())
		return nil, nil
	}
	if c.flow != nil {
		s, _, err := d.move(v, c.flow.flow.ID, c.flow.next(), use)
		if err != nil {
			return err
		}
		return d.arrive(v, s)
	}
	s, err := d.begin(v, signin.New{LoginHint: login}, func(ctx context.Context, tx *db.Tx, s *state) error {
		_, err := use(ctx, tx, s)
		return err
	})
	switch {
	case err != nil:
		return err
	case wrong:
		return d.confirmPage(v, c, refused, []problem{{"password", say("problem.password_wrong")}})
	}
	return d.arrive(v, s)
}
