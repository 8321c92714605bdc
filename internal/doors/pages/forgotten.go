package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
)

// resetMailJob finds the account of an address and mails it a link. As a job it costs the form's
// answer the same time whether or not the account exists.
const resetMailJob = "pages.reset_mail"

type resetMail struct {
	Email string     `json:"email"`
	Flow  id.ID      `json:"flow"` // where the sign-in continues, in the same browser
	Head  letterhead `json:"head"`
}

// showForgotten asks for the address of the account.
func (d *Door) showForgotten(v *visit) error {
	s, err := d.withFlow(v, "/forgotten")
	if err != nil || s == nil {
		return err
	}
	return d.forgottenPage(v, *s, http.StatusOK, s.Flow.LoginHint, nil)
}

func (d *Door) forgottenPage(v *visit, s signin.Standing, status int, email string, problems []problem) error {
	v.speak(d, s.Flow.Locales)
	if email == "" {
		email = s.Facts.User.Email
	}
	p := &forgottenPage{frame: frame{Title: say("forgotten.title"), Flow: s.Flow.ID.String()}, Email: emailField(email)}
	tell(&p.frame, problems, &p.Email)
	return d.render(v, status, p)
}

// forgotten enqueues the mail for the address. The answer is the same for every address.
func (d *Door) forgotten(v *visit) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	email, wrong := v.typedLogin("email")
	if wrong == nil {
		email, wrong = checkEmail(email)
	}
	if wrong != nil {
		return d.forgottenPage(v, s, refused, email, []problem{*wrong})
	}
	may, err := d.count(v, attempt.Send(v.caller.Address, v.numbers()), attempt.Mail(attempt.ToReset, email))
	if err != nil {
		return err
	}
	if may.wait > 0 {
		return d.forgottenPage(v, s, v.limited(may.wait), email,
			[]problem{{Text: say("problem.locked_code", "Wait", waiting(may.wait))}})
	}
	s.Flow.LoginHint = email // the sign-in page of the flow offers it next
	if err := d.carry(v, s); err != nil {
		return err
	}
	err = d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
		if !may.mail { // the last link to this address is still valid
			return nil
		}
		audit.Write(tx, audit.Event{Action: "password.forget", Target: audit.Target{Kind: "user", Name: email}})
		return d.Queue.Enqueue(tx,
			job.New{Kind: resetMailJob, Payload: resetMail{Email: email, Flow: s.Flow.ID, Head: v.letterhead()}})
	})
	if err != nil {
		return err
	}
	return v.redirect("/forgotten/sent?flow=" + s.Flow.ID.String())
}

// showForgottenSent says that a mail is on its way if there is an account.
func (d *Door) showForgottenSent(v *visit) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	v.speak(d, s.Flow.Locales)
	return d.render(v, http.StatusOK, &mailedPage{
		frame: frame{Title: say("mailed.title"), Flow: s.Flow.ID.String()}, Heading: say("mailed.title"),
		Lead: sayResetMailed, Address: s.Flow.LoginHint,
		Back: v.site.Local("/signin?flow=" + s.Flow.ID.String()), BackLabel: say("action.back_to_signin"),
	})
}

const sayResetMailed = "mailed.reset"

// mailReset is the handler of resetMailJob.
func (d *Door) mailReset(ctx context.Context, c caller.Caller, payload []byte) error {
	var m resetMail
	if err := json.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	return d.DB.Update(ctx, c, func(tx *db.Tx) error {
		u, err := user.ByLogin(ctx, tx, m.Email)
		if err != nil && fault.Of(err) == fault.NotFound || err == nil && !u.Status.MaySignIn() {
			return nil
		}
		if err != nil {
			return err
		}
		token, err := credential.NewLink(ctx, tx, credential.Reset, u)
		if err != nil {
			return err
		}
		return d.post(tx, m.Head, u, resetLetter(m.Head, u, "/reset?token="+token.Reveal()+"&flow="+m.Flow.String()))
	})
}
