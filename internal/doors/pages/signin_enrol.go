package pages

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// enrolment begins or resumes the set-up of an authenticator app for a person, in the flow or
// session at. login is the account's name in the app.
func (d *Door) enrolment(v *visit, person, at id.ID, login string, problems []problem) (*enrolPage, error) {
	e, err := db.Write(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (credential.Enrolment, error) {
		return d.TOTP.Enrol(v.ctx(), tx, person, at, v.site.Name, login)
	})
	if err != nil {
		return nil, err
	}
	qr, err := qrImage(e.URI.Reveal())
	if err != nil {
		return nil, err
	}
	p := &enrolPage{
		frame: frame{Title: say("enrol.title")}, QR: qr,
		Secret: grouped(strings.ReplaceAll(e.Secret.Reveal(), " ", "")), Code: codeField(),
	}
	tell(&p.frame, problems, &p.Code)
	return p, nil
}

// confirmEnrolment confirms a new authenticator app by its first code, and returns the recovery
// codes. at is the flow or session of the set-up.
func (d *Door) confirmEnrolment(ctx context.Context, tx *db.Tx, v *visit, u user.User, at id.ID,
	code string) ([]secret.String, []problem, time.Duration, error) {
	problems, wait, err := v.tryFactor(ctx, tx, u,
		factorTry{"enrol", "problem.enrol_wrong", func() (credential.Outcome, error) {
			return d.TOTP.Confirm(ctx, tx, u.ID, at, code)
		}})
	if err != nil || len(problems) > 0 {
		return nil, problems, wait, err
	}
	codes, err := credential.NewRecoveryCodes(ctx, tx, u.ID)
	if err != nil {
		return nil, nil, 0, err
	}
	return codes, nil, 0, d.report(v, tx, u, totpEnrolled)
}

// showEnrolStep asks a person who needs a second factor to set one up.
func (d *Door) showEnrolStep(v *visit, s signin.Standing, status int, problems []problem) error {
	u := s.Facts.User
	p, err := d.enrolment(v, u.ID, s.Flow.ID, u.Login(), problems)
	if errors.Is(err, credential.ErrTOTPEnrolled) {
		return v.redirectToFlow(s.Flow.ID)
	}
	if err != nil {
		return err
	}
	p.Flow, p.Person, p.Action = s.Flow.ID.String(), u.Login(), v.site.Local("/signin/enrol")
	return d.render(v, status, p)
}

// signInEnrol confirms a new authenticator app and answers with the recovery codes. They are shown
// this once, so there is no redirect before them.
func (d *Door) signInEnrol(v *visit) error {
	code, problems := v.code()
	if len(problems) > 0 {
		return d.showFormAgain(v, signin.EnrolTOTP, refused, problems)
	}
	var codes []secret.String
	var wait time.Duration
	out, err := d.runStep(v, v.flowID(), signin.EnrolTOTP,
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			u := s.Facts.User
			var problems []problem
			var err error
			if err = d.SignIn.Hold(ctx, tx, s); err != nil {
				return nil, err
			}
			codes, problems, wait, err = d.confirmEnrolment(ctx, tx, v, u, s.Flow.ID, code)
			if err == nil && len(problems) == 0 {
				s.Prove(u, signin.TOTP, tx.Now())
			}
			return problems, err
		})
	if err != nil || len(out.problems) > 0 || codes == nil {
		return d.answerStep(v, out, err, func(problems []problem) error {
			return d.showFormAgain(v, signin.EnrolTOTP, v.refusal(wait), problems)
		})
	}
	v.speak(d, out.Flow.Locales)
	p := v.codesPage(out.Facts.User.Login(), codes, "/signin?flow="+out.Flow.ID.String())
	p.Flow = out.Flow.ID.String()
	return d.render(v, http.StatusOK, p)
}
