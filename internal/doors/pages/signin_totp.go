package pages

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

func totpStep(s *state, problems []problem) *totpPage {
	p := &totpPage{frame: known(s, say("totp.title")), Code: codeField()}
	tell(&p.frame, problems, &p.Code)
	return p
}

var sixDigits = regexp.MustCompile(`^[0-9]{3}[ -]?[0-9]{3}$`)

// code reads the 6 digits of an authenticator app.
func (v *visit) code() (string, []problem) {
	code, wrong := v.typed("code", maxCode)
	switch {
	case wrong != nil:
		return "", []problem{*wrong}
	case code == "":
		return "", []problem{{"code", say("problem.code_missing")}}
	case !sixDigits.MatchString(code):
		return "", []problem{{"code", say("problem.code_form")}}
	}
	return code, nil
}

// showStep shows the page of the flow's step with problems.
func (d *Door) showStep(v *visit, expected signin.Step, status int, problems []problem) error {
	s, err := d.look(v, v.flowID())
	if err != nil {
		return err
	}
	if s.next() != expected {
		return d.arrive(v, s)
	}
	v.speak(d, s.flow.Locales)
	return d.show(v, s, status, problems)
}

// second counts one try at a second factor around use, in use's transaction: the
// counters are held first, so that guesses at once wait for one another.
func (d *Door) second(ctx context.Context, tx *db.Tx, v *visit, s *state, method, wrong string, use func() (credential.Outcome, error)) ([]problem, time.Duration, error) {
	keys := []attempt.Key{attempt.Factor(s.user.ID), v.address()}
	verdict, err := attempt.Hold(ctx, tx, keys...)
	if err != nil {
		return nil, 0, err
	}
	if wait := verdict.Wait(tx.Now()); wait > 0 {
		return []problem{{Text: say("problem.locked_code", "Wait", waiting(wait))}}, wait, nil
	}
	out, err := use()
	if err != nil {
		return nil, 0, err
	}
	if out == credential.Accepted {
		attempt.Clear(tx, keys[0])
		return nil, 0, nil
	}
	if out == credential.Replaced { // no guess: another tab or browser began anew
		return []problem{{"code", say("problem.enrol_again")}}, 0, nil
	}
	if verdict, err = attempt.Fail(ctx, tx, keys...); err != nil {
		return nil, 0, err
	}
	audit.Write(tx, audit.Event{
		Action: "signin.refuse", Target: s.user.Target(), Outcome: audit.Refused,
		Detail: map[string]any{"method": method, "reason": out.String()},
	})
	if verdict.Started {
		audit.Write(tx, audit.Event{Action: "signin.lock", Target: s.user.Target(), Outcome: audit.Refused, Detail: map[string]any{"until": verdict.Until.Format(time.RFC3339)}})
	}
	return []problem{{"code", say(wrong)}}, 0, nil
}

// signInTOTP takes a code of the authenticator app.
func (d *Door) signInTOTP(v *visit) error {
	code, problems := v.code()
	if len(problems) > 0 {
		return d.showStep(v, signin.AskTOTP, refused, problems)
	}
	var wait time.Duration
	return d.step(v, signin.AskTOTP, func(ctx context.Context, tx *db.Tx, s *state) (problems []problem, err error) {
		problems, wait, err = d.second(ctx, tx, v, s, "totp", sayWrongCode, func() (credential.Outcome, error) {
			return d.TOTP.Use(ctx, tx, s.user.ID, code)
		})
		if err == nil && len(problems) == 0 {
			s.flow.Prove(s.user.ID, signin.OTP, tx.Now())
		}
		return problems, err
	}, func(_ *state, problems []problem) error {
		return d.showStep(v, signin.AskTOTP, v.tried(wait), problems)
	})
}

// tried is the status of a refused try: 429 when there were too many.
func (v *visit) tried(wait time.Duration) int {
	if wait > 0 {
		return v.limited(wait)
	}
	return refused
}

const (
	sayWrongCode     = "problem.code_wrong"
	sayWrongRecovery = "problem.recovery_wrong"
)

// showRecovery asks for a recovery code where a code of the app was asked.
func (d *Door) showRecovery(v *visit) error {
	s, err := d.look(v, v.flowID())
	if err != nil {
		return err
	}
	return d.recoveryStep(v, s, http.StatusOK, nil)
}

func (d *Door) recoveryStep(v *visit, s *state, status int, problems []problem) error {
	if s.next() != signin.AskTOTP {
		return d.arrive(v, s)
	}
	v.speak(d, s.flow.Locales)
	if _, err := d.applicationOf(v, s.flow); err != nil {
		return err
	}
	p := &recoveryPage{frame: known(s, say("recovery.title")), Code: recoveryCodeField()}
	tell(&p.frame, problems, &p.Code)
	return d.render(v, status, p)
}

// signInRecovery takes a recovery code instead of one of the app.
func (d *Door) signInRecovery(v *visit) error {
	code, wrong := v.typed("code", maxCode)
	show := func(status int, problems []problem) error {
		s, err := d.look(v, v.flowID())
		if err != nil {
			return err
		}
		return d.recoveryStep(v, s, status, problems)
	}
	switch {
	case wrong != nil:
		return show(refused, []problem{*wrong})
	case code == "":
		return show(refused, []problem{{"code", say("problem.recovery_missing")}})
	}
	var wait time.Duration
	return d.step(v, signin.AskTOTP, func(ctx context.Context, tx *db.Tx, s *state) (problems []problem, err error) {
		problems, wait, err = d.second(ctx, tx, v, s, "recovery", sayWrongRecovery, func() (out credential.Outcome, err error) {
			out, _, err = credential.UseRecovery(ctx, tx, s.user.ID, code)
			return out, err
		})
		if err == nil && len(problems) == 0 {
			s.flow.Prove(s.user.ID, signin.OTP, tx.Now())
		}
		return problems, err
	}, func(_ *state, problems []problem) error { return show(v.tried(wait), problems) })
}

// showEnrolStep asks somebody who needs a second factor to set one up.
func (d *Door) showEnrolStep(v *visit, s *state, status int, problems []problem) error {
	p, err := d.enrolment(v, s.user.ID, s.flow.ID, s.user.Login(), problems)
	if errors.Is(err, credential.ErrTOTPEnrolled) {
		return v.redirect("/signin?flow=" + s.flow.ID.String())
	}
	if err != nil {
		return err
	}
	p.frame.Flow, p.frame.Person, p.Action = s.flow.ID.String(), s.user.Login(), v.site.Local("/signin/enrol")
	return d.render(v, status, p)
}

// signInEnrol takes the first code of a new authenticator app and answers with the
// recovery codes: they are shown this once, so there is no redirect before them.
func (d *Door) signInEnrol(v *visit) error {
	code, problems := v.code()
	if len(problems) > 0 {
		return d.showStep(v, signin.EnrolTOTP, refused, problems)
	}
	var (
		codes []secret.String
		wait  time.Duration
	)
	s, problems, err := d.move(v, v.flowID(), signin.EnrolTOTP, func(ctx context.Context, tx *db.Tx, s *state) (problems []problem, err error) {
		codes = nil
		problems, wait, err = d.second(ctx, tx, v, s, "enrol", "problem.enrol_wrong", func() (credential.Outcome, error) {
			return d.TOTP.Confirm(ctx, tx, s.user.ID, s.flow.ID, code)
		})
		if err != nil || len(problems) > 0 {
			return problems, err
		}
		if codes, err = credential.NewRecoveryCodes(ctx, tx, s.user.ID); err != nil {
			return nil, err
		}
		s.flow.Prove(s.user.ID, signin.OTP, tx.Now())
		return nil, d.report(v, tx, s.user, totpEnrolled)
	})
	switch {
	case errors.Is(err, signin.ErrStale):
		return v.redirect("/signin?flow=" + v.flowID().String())
	case err != nil:
		return err
	case len(problems) > 0:
		return d.showStep(v, signin.EnrolTOTP, v.tried(wait), problems)
	case codes == nil:
		return d.arrive(v, s)
	}
	v.speak(d, s.flow.Locales)
	p := v.codesPage(s.user.Login(), codes, "/signin?flow="+s.flow.ID.String())
	p.Flow = s.flow.ID.String()
	return d.render(v, http.StatusOK, p)
}

func (v *visit) codesPage(person string, codes []secret.String, next string) *codesPage {
	p := &codesPage{frame: frame{Title: say("codes.title")}, Continue: v.site.Local(next), File: v.site.Slug + "-recovery-codes.txt"}
	for _, c := range codes {
		p.Codes = append(p.Codes, c.Reveal())
	}
	p.Download = codesFile(v.site.Name, person, p.Codes)
	return p
}
