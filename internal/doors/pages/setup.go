package pages

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// errSetupGone is returned for a set-up link that is no longer good.
var errSetupGone = fault.New(fault.NotFound, "setup.gone", "This set-up link was used or has run out.")

func (d *Door) findSetup(v *visit) error {
	err := d.DB.View(v.ctx(), v.caller, func(tx *db.Tx) error {
		l, err := credential.FindLink(v.ctx(), tx, v.param("token"))
		if err != nil {
			return err
		}
		if l.Kind != credential.Setup {
			return credential.ErrNoLink
		}
		return unowned(v.ctx(), tx)
	})
	if errors.Is(err, credential.ErrNoLink) {
		return errSetupGone
	}
	return err
}

// unowned fails if the tenant has an owner by now: the link creates the first owner and no other.
func unowned(ctx context.Context, tx *db.Tx) error {
	owned, err := role.Owned(ctx, tx)
	if err == nil && owned {
		return credential.ErrNoLink
	}
	return err
}

// showSetup asks for the account of the tenant's first owner.
func (d *Door) showSetup(v *visit) error {
	if err := d.findSetup(v); err != nil {
		return err
	}
	return d.setupPage(v, http.StatusOK, person{}, nil)
}

func (d *Door) setupPage(v *visit, status int, who person, problems []problem) error {
	p := &setupPage{
		frame: frame{Title: say("setup.title")}, Token: v.param("token"), Email: emailField(who.email),
		GivenName: givenNameField(who.given), FamilyName: familyNameField(who.family),
		Password: newPasswordField(say("field.choose_password"), v.tenant.Settings.PasswordMinLength),
	}
	tell(&p.frame, problems, &p.Email, &p.GivenName, &p.FamilyName, &p.Password)
	v.look.Here = nil // the address holds a token: it is not repeated in links
	return d.render(v, status, p)
}

// setup creates the first owner and signs them in with the password they have just chosen. The
// address counts as confirmed: the link's holder is trusted.
func (d *Door) setup(v *visit) error {
	if err := d.findSetup(v); err != nil {
		return err
	}
	who, problems := v.person(v.tenant.Settings.PasswordMinLength)
	if len(problems) > 0 {
		return d.setupPage(v, refused, who, problems)
	}
	phc, err := d.Hasher.Hash(v.ctx(), who.password)
	if err != nil {
		return err
	}
	out, err := d.begin(v, signin.Demand{},
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			if _, err := credential.UseLink(ctx, tx, credential.Setup, v.form.Get("token")); err != nil {
				return nil, err
			}
			if err := unowned(ctx, tx); err != nil {
				return nil, err
			}
			u, err := user.Create(ctx, tx,
				user.Profile{Email: who.email, EmailVerified: true, GivenName: who.given, FamilyName: who.family,
					Locale: v.look.Locale})
			if err != nil {
				return nil, err
			}
			if err := credential.SetPassword(ctx, tx, u.ID, phc); err != nil {
				return nil, err
			}
			if err := role.Assign(ctx, tx, role.Everything(), role.OfUser(u.ID), role.Owner, time.Time{}); err != nil {
				return nil, err
			}
			s.Prove(u, signin.Password, tx.Now())
			return nil, nil
		})
	switch {
	case errors.Is(err, credential.ErrNoLink):
		return errSetupGone
	case errors.Is(err, user.ErrEmailTaken):
		return d.setupPage(v, refused, who, []problem{{"email", say("problem.email_taken")}})
	case err != nil:
		return err
	}
	return d.redirectToNextStep(v, out.Standing)
}
