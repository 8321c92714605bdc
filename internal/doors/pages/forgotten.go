package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// resetMailJob looks for the account of an address and mails it a link. It is a
// job so that the answer to the form costs the same whether there is one.
const resetMailJob = "pages.reset_mail"

type resetMail struct {
	Email string     `json:"email"`
	Flow  id.ID      `json:"flow"` // where the person goes on afterwards, in the same browser
	Head  letterhead `json:"head"`
}

// showForgotten asks for the address of the account.
func (d *Door) showForgotten(v *visit) error {
	s, err := d.withFlow(v, "/forgotten")
	if err != nil || s == nil {
		return err
	}
	return d.forgottenPage(v, s, http.StatusOK, s.flow.LoginHint, nil)
}

func (d *Door) forgottenPage(v *visit, s *state, status int, email string, problems []problem) error {
	v.speak(d, s.flow.Locales)
	if !s.user.ID.IsZero() && email == "" {
		email = s.user.Email
	}
	p := &forgottenPage{frame: frame{Title: say("forgotten.title"), Flow: s.flow.ID.String()}, Email: emailField(email)}
	tell(&p.frame, problems, &p.Email)
	return d.render(v, status, p)
}

// forgotten takes the address. The answer is the same for every address.
func (d *Door) forgotten(v *visit) error {
	s, err := d.look(v, v.flowID())
	if err != nil {
		return err
	}
	email, wrong := v.typed("email", maxUsername)
	if wrong == nil {
		wrong = checkEmail(email)
	}
	if wrong != nil {
		return d.forgottenPage(v, s, refused, email, []problem{*wrong})
	}
	wait, err := d.count(v, attempt.Mail(email), attempt.Register(v.caller.Address))
	if err != nil {
		return err
	}
	if wait > 0 {
		return d.forgottenPage(v, s, v.limited(wait), email, []problem{{Text: say("problem.locked_code", "Wait", waiting(wait))}})
	}
	err = d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
		s, err := d.load(v.ctx(), tx, v, v.flowID())
		if err != nil {
			return err
		}
		s.flow.LoginHint = email
		if err := signin.Save(v.ctx(), tx, &s.flow, s.policy); err != nil {
			return err
		}
		audit.Write(tx, audit.Event{Action: "password.forget", Target: audit.Target{Kind: "user", Name: email}})
		return d.Queue.Enqueue(tx, job.New{Kind: resetMailJob, Payload: resetMail{Email: email, Flow: s.flow.ID, Head: v.letterhead()}})
	})
	if err != nil && !errors.Is(err, signin.ErrStale) {
		return err
	}
	return v.redirect("/forgotten/sent?flow=" + s.flow.ID.String())
}

// showForgottenSent says that a mail is on its way if there is an account.
func (d *Door) showForgottenSent(v *visit) error {
	s, err := d.look(v, v.flowID())
	if err != nil {
		return err
	}
	v.speak(d, s.flow.Locales)
	return d.render(v, http.StatusOK, &mailedPage{
		frame: frame{Title: say("mailed.title"), Flow: s.flow.ID.String()}, Heading: say("mailed.title"), Lead: sayResetMailed, Address: s.flow.LoginHint,
		Back: v.site.Local("/signin?flow=" + s.flow.ID.String()), BackLabel: say("action.back_to_signin"),
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
		if err != nil && fault.Of(err) == fault.NotFound || err == nil && u.Status != user.Active && u.Status != user.Invited {
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

// findReset reads a link that lets somebody set a password, without using it.
func (d *Door) findReset(v *visit) (l credential.Link, u user.User, err error) {
	err = d.DB.View(v.ctx(), v.caller, func(tx *db.Tx) error {
		if l, err = credential.FindLink(v.ctx(), tx, v.param("token")); err != nil {
			return err
		}
		if l.Kind != credential.Reset && l.Kind != credential.Invite {
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
	p := &resetPage{frame: frame{Title: say("reset.title"), Person: u.Login()}, Token: v.param("token"), Resume: v.flowID().String(), Password: newPasswordField(say("field.new_password"), v.tenant.Settings.PasswordMinLength)}
	tell(&p.frame, problems, &p.Password)
	v.look.Here = nil // the address holds a token: it is not repeated in links
	return d.render(v, status, p)
}

// reset sets the new password: sessions and what applications hold end, tries are
// forgiven, and the address counts as confirmed, for the link came by mail.
func (d *Door) reset(v *visit) error {
	l, u, err := d.findReset(v)
	if err != nil {
		return err
	}
	password := secret.String(v.form.Get("password"))
	if wrong := checkNewPassword(password, v.tenant.Settings.PasswordMinLength, u.Email, u.Username, u.GivenName, u.FamilyName); wrong != nil {
		return d.resetPage(v, u, refused, []problem{*wrong})
	}
	phc, err := d.Hasher.Hash(v.ctx(), password)
	if errors.Is(err, credential.ErrBusy) {
		return d.resetPage(v, u, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
	}
	if err != nil {
		return err
	}
	var (
		earlier id.ID
		resumed bool
	)
	s, err := d.begin(v, signin.New{LoginHint: u.Login()}, func(ctx context.Context, tx *db.Tx, _ *state) error {
		used, err := credential.UseLink(ctx, tx, l.Kind, v.form.Get("token"))
		if err != nil {
			return err
		}
		if err := credential.SetPassword(ctx, tx, used.User, phc); err != nil {
			return err
		}
		if err := user.VerifyEmail(ctx, tx, used.User, used.EmailKey); err != nil {
			return err
		}
		grant.RevokeOfUser(tx, used.User, "password.reset")
		attempt.ForSignIn(used.User, u.Login(), v.browser, v.address()).Forgive(tx)
		if _, err = session.RevokeAll(ctx, tx, used.User, id.ID{}, "password.reset"); err != nil {
			return err
		}
		if err := d.report(v, tx, u, passwordChanged); err != nil {
			return err
		}
		earlier, resumed, err = d.resume(ctx, tx, v, u)
		return err
	})
	if err != nil {
		return err
	}
	flow := s.flow.ID
	if resumed {
		flow = earlier
	}
	return v.redirect("/signin?flow=" + flow.String() + "&done=reset")
}

// resume returns the flow in which the new password was asked for, now with the
// account's name, if this is its browser and it still waits for a password.
func (d *Door) resume(ctx context.Context, tx *db.Tx, v *visit, u user.User) (flow id.ID, ok bool, err error) {
	s, err := d.load(ctx, tx, v, v.flowID())
	if errors.Is(err, signin.ErrGone) {
		return id.ID{}, false, nil
	}
	if err != nil || s.next() != signin.AskPassword {
		return id.ID{}, false, err
	}
	s.flow.LoginHint = u.Login()
	return s.flow.ID, true, signin.Save(ctx, tx, &s.flow, s.policy)
}
