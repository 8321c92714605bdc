package pages

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// refuseStep tells somebody who has proved who they are that they may not sign in. It
// does not say by which rule: that is in the audit log.
func refuseStep(s *state, a *application.Application) *refusedPage {
	p := &refusedPage{frame: known(s, say("refused.page")), Application: nameOf(a), Text: say("refused.text")}
	if !s.policy.Refused { // they could, with a second factor that they may not set up here
		p.Text = say("refused.enrol")
	}
	return p
}

// noteRefusal records that the policies do not let the flow's user in, once a flow.
func (d *Door) noteRefusal(tx *db.Tx, s *state) {
	if s.flow.Refused {
		return
	}
	s.flow.Refused = true
	reason := "policy"
	if !s.policy.Refused {
		reason = "enrolment"
	}
	audit.Write(tx, audit.Event{
		Action: "signin.refuse", Target: s.user.Target(), Outcome: audit.Refused,
		Detail: map[string]any{"reason": reason, "application": s.flow.Application.String(), "decision": s.verdict.Decision().String()},
	})
	d.Judge.Record(tx, s.verdict)
}

// signInLeave takes somebody who may not sign in back to the application, which gets
// access_denied.
func (d *Door) signInLeave(v *visit) error {
	return d.step(v, signin.Refuse, func(_ context.Context, _ *db.Tx, s *state) ([]problem, error) {
		if s.flow.Kind != signin.Authorize {
			return nil, signin.ErrGone
		}
		s.flow.Denied = true
		return nil, nil
	}, func(*state, []problem) error { return nil })
}
