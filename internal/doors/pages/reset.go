package pages

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// findReset reads a link for setting a password, without using it.
func (d *Door) findReset(v *visit) (credential.Link, user.User, error) {
	var l credential.Link
	var u user.User
	var err error
	err = d.DB.View(v.ctx(), v.caller, func(tx *db.Tx) error {
		if l, err = credential.FindLink(v.ctx(), tx, v.param("token")); err != nil {
			return err
		}
		if l.Kind != credential.Reset {
			return credential.ErrNoLink
		}
		u, err = user.Get(v.ctx(), tx, l.User)
		return err
	})
	return l, u, err
}

// showReset asks for the new password.
func (d *Door) showReset(v *visit) error {
	_, u, err := d.findReset(v)
	if err != nil {
		return err
	}
	return d.resetPage(v, u, http.StatusOK, nil)
}

func (d *Door) resetPage(v *visit, u user.User, status int, problems []problem) error {
	p := &resetPage{frame: frame{Title: say("reset.title"), Person: u.Login()}, Token: v.param("token"),
		Resume:   v.flowID().String(),
		Password: newPasswordField(say("field.new_password"), v.tenant.Settings.PasswordMinLength)}
	tell(&p.frame, problems, &p.Password)
	v.look.Here = nil // the address holds a token: it is not repeated in links
	return d.render(v, status, p)
}

// reset sets the new password. It ends the user's sessions and grants and clears the counters of
// failed tries. The link came by mail, so the address counts as confirmed.
func (d *Door) reset(v *visit) error {
	l, u, err := d.findReset(v)
	if err != nil {
		return err
	}
	password := secret.String(v.form.Get("password"))
	if wrong := checkNewPassword(password, v.tenant.Settings.PasswordMinLength, u.Email, u.Username, u.GivenName,
		u.FamilyName); wrong != nil {
		return d.resetPage(v, u, refused, []problem{*wrong})
	}
	phc, err := d.Hasher.Hash(v.ctx(), password)
	if errors.Is(err, credential.ErrBusy) {
		return d.resetPage(v, u, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
	}
	if err != nil {
		return err
	}
	var earlier id.ID
	out, err := d.begin(v, signin.Demand{LoginHint: u.Login()},
		func(ctx context.Context, tx *db.Tx, _ *signin.Standing) ([]problem, error) {
			used, err := credential.UseLink(ctx, tx, l.Kind, v.form.Get("token"))
			if err != nil {
				return nil, err
			}
			if err := credential.SetPassword(ctx, tx, used.User, phc); err != nil {
				return nil, err
			}
			if err := user.VerifyEmail(ctx, tx, used.User, used.EmailKey); err != nil {
				return nil, err
			}
			if err := signin.End(ctx, tx, signin.PasswordReset, used.User, id.ID{}); err != nil {
				return nil, err
			}
			now, err := user.Get(ctx, tx, used.User)
			if err != nil {
				return nil, err
			}
			from := attempt.Address(v.caller.Address, v.numbers())
			attempt.ForSignIn(now.ID, now.Generation, now.Login(), v.browser, from).Forgive(tx)
			if err := d.report(v, tx, u, passwordChanged); err != nil {
				return nil, err
			}
			earlier, err = d.resume(ctx, tx, v, u)
			return nil, err
		})
	if err != nil {
		return err
	}
	flow := out.Flow.ID
	if !earlier.IsZero() {
		flow = earlier
	}
	return v.redirect("/signin?flow=" + flow.String() + "&done=reset")
}

// resume returns the flow in which the new password was asked for, now with the
// account's name, if it is this browser's and waits for a password. Otherwise it returns zero.
func (d *Door) resume(ctx context.Context, tx *db.Tx, v *visit, u user.User) (id.ID, error) {
	s, err := d.SignIn.Read(ctx, tx, v.flowID(), v.ofBrowser())
	if errors.Is(err, signin.ErrGone) {
		return id.ID{}, nil
	}
	if err != nil || s.Next() != signin.AskPassword {
		return id.ID{}, err
	}
	s.Flow.LoginHint = u.Login()
	_, err = d.SignIn.Store(ctx, tx, s, v.browser)
	return s.Flow.ID, err
}
