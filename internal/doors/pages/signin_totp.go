package pages

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

func totpStep(s signin.Standing, problems []problem) *totpPage {
	p := &totpPage{frame: known(s, say("totp.title")), Code: codeField()}
	tell(&p.frame, problems, &p.Code)
	return p
}

// code reads the 6 digits of an authenticator app.
func (v *visit) code() (string, []problem) {
	code, wrong := v.typedCode()
	if wrong != nil {
		return "", []problem{*wrong}
	}
	if code == "" {
		return "", []problem{{"code", say("problem.code_missing")}}
	}
	code, ok := credential.Digits(code)
	if !ok {
		return "", []problem{{"code", say("problem.code_form")}}
	}
	return code, nil
}

// factorTry is a form that takes a code.
type factorTry struct {
	kind  string // in the audit log
	wrong string // message id for a code that is not right
	use   func() (credential.Outcome, error)
}

// tryFactor counts and runs one try at u's second factor. It returns what to say if it failed, and
// how long to wait after too many.
func (v *visit) tryFactor(ctx context.Context, tx *db.Tx, u user.User, try factorTry) ([]problem, time.Duration,
	error) {
	out, wait, err := signin.TryFactor(ctx, tx, u, try.kind, v.numbers(), try.use)
	switch {
	case err != nil || out == credential.Accepted:
		return nil, 0, err
	case wait > 0:
		return []problem{{Text: say("problem.locked_code", "Wait", waiting(wait))}}, wait, nil
	case out == credential.Replaced: // another tab or browser began again
		return []problem{{"code", say("problem.enrol_again")}}, 0, nil
	}
	return []problem{{"code", say(try.wrong)}}, 0, nil
}

// signInTOTP verifies a code of the authenticator app.
func (d *Door) signInTOTP(v *visit) error {
	code, problems := v.code()
	if len(problems) > 0 {
		return d.showFormAgain(v, signin.AskTOTP, refused, problems)
	}
	var wait time.Duration
	out, err := d.runStep(v, v.flowID(), signin.AskTOTP,
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			u := s.Facts.User
			var problems []problem
			var err error
			problems, wait, err = v.tryFactor(ctx, tx, u,
				factorTry{signin.TOTP.Name, sayWrongCode, func() (credential.Outcome, error) {
					return d.TOTP.Use(ctx, tx, u.ID, code)
				}})
			if err == nil && len(problems) == 0 {
				s.Prove(u, signin.TOTP, tx.Now())
			}
			return problems, err
		})
	return d.answerStep(v, out, err, func(problems []problem) error {
		return d.showFormAgain(v, signin.AskTOTP, v.refusal(wait), problems)
	})
}

// refusal is the status of a refused try: 429 when there were too many.
func (v *visit) refusal(wait time.Duration) int {
	if wait > 0 {
		return v.limited(wait)
	}
	return refused
}

const (
	sayWrongCode     = "problem.code_wrong"
	sayWrongRecovery = "problem.recovery_wrong"
)
