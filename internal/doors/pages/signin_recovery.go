package pages

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// showRecovery asks for a recovery code instead of a code of the app.
func (d *Door) showRecovery(v *visit) error {
	return d.recoveryStep(v, http.StatusOK, nil)
}

func (d *Door) recoveryStep(v *visit, status int, problems []problem) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	if s.Next() != signin.AskTOTP {
		return d.redirectToNextStep(v, s)
	}
	v.speak(d, s.Flow.Locales)
	if _, err := d.applicationOf(v, s.Flow); err != nil {
		return err
	}
	p := &recoveryPage{frame: known(s, say("recovery.title")), Code: recoveryCodeField()}
	tell(&p.frame, problems, &p.Code)
	return d.render(v, status, p)
}

// signInRecovery verifies a recovery code instead of a code of the app.
func (d *Door) signInRecovery(v *visit) error {
	code, wrong := v.typedCode()
	switch {
	case wrong != nil:
		return d.recoveryStep(v, refused, []problem{*wrong})
	case code == "":
		return d.recoveryStep(v, refused, []problem{{"code", say("problem.recovery_missing")}})
	}
	var wait time.Duration
	out, err := d.runStep(v, v.flowID(), signin.AskTOTP,
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			u := s.Facts.User
			var problems []problem
			var err error
			problems, wait, err = v.tryFactor(ctx, tx, u,
				factorTry{signin.Recovery.Name, sayWrongRecovery, func() (credential.Outcome, error) {
					out, _, err := credential.UseRecovery(ctx, tx, u.ID, code)
					return out, err
				}})
			if err == nil && len(problems) == 0 {
				s.Prove(u, signin.Recovery, tx.Now())
			}
			return problems, err
		})
	return d.answerStep(v, out, err, func(problems []problem) error {
		return d.recoveryStep(v, v.refusal(wait), problems)
	})
}
