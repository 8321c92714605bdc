package pages

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// refuseStep returns the page for a person with a proved account who may not sign in. It names no
// rule: that is in the audit log.
func refuseStep(s signin.Standing, a *application.Application) *refusedPage {
	p := &refusedPage{frame: known(s, say("refused.page")), Application: nameOf(a), Text: say("refused.text")}
	if !s.Facts.Verdict.Refused { // they could, with a second factor that they may not set up here
		p.Text = say("refused.enrol")
	}
	return p
}

// signInLeave returns a person who may not sign in to the application, which gets access_denied.
func (d *Door) signInLeave(v *visit) error {
	out, err := d.runStep(v, v.flowID(), signin.Refuse,
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			switch s.Flow.Kind {
			case signin.Device:
				return nil, denyDevice(ctx, tx, s)
			case signin.Account, signin.SignOut:
				return nil, signin.ErrGone
			case signin.Authorize:
			}
			s.Flow.Denied = true
			return nil, nil
		})
	return d.answerStep(v, out, err, nil)
}
