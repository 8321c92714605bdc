package pages

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// passwordStep is the page that asks who it is. With somebody known already (a
// session to be confirmed) only the password is asked.
func (d *Door) passwordStep(v *visit, s *state, a *application.Application, username string, problems []problem) *signInPage {
	p := &signInPage{
		frame: frame{Title: say("signin.title"), Flow: s.flow.ID.String()}, Application: nameOf(a),
		Register: v.tenant.Settings.Registration, Password: passwordField(),
	}
	if !s.user.ID.IsZero() {
		p.Person, p.Again, p.Register, username = s.user.Login(), true, false, s.user.Login()
	}
	p.Username = usernameField(username)
	fields := []*field{&p.Username, &p.Password}
	if p.Person != "" {
		fields = fields[1:]
	}
	tell(&p.frame, problems, fields...)
	if n := notices[v.param("done")]; p.Notice == nil && n != "" {
		p.Notice = &notice{Tone: "good", Text: say(n)}
	}
	return p
}

// proof is what a password was checked against.
type proof struct {
	user   user.User
	stored string // PHC; "" for nobody
	ok     bool
	rehash string // PHC with the current parameters, when stored has others
}

// check looks an account up by its login and checks the password. Every way
// through it has the same statements and one hash, so that its time tells nothing;
// the hash is computed outside any transaction.
func (d *Door) check(v *visit, login string, password secret.String) (p proof, count attempt.SignIn, blocked time.Duration, err error) {
	err = d.DB.View(v.ctx(), v.caller, func(tx *db.Tx) (err error) {
		p.user, err = user.ByLogin(v.ctx(), tx, login)
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		if p.stored, err = credential.PasswordOf(v.ctx(), tx, p.user.ID); err != nil {
			return err
		}
		count = attempt.ForSignIn(p.user.ID, login, v.browser, v.address())
		verdict, err := count.Check(v.ctx(), tx)
		blocked = verdict.Wait(tx.Now())
		return err
	})
	if err != nil || blocked > 0 {
		return p, count, blocked, err
	}
	if p.user.Status != user.Active && p.user.Status != user.Invited {
		p.stored = "" // locked and deactivated accounts answer like unknown ones
	}
	var again bool
	if p.ok, again, err = d.Hasher.Verify(v.ctx(), p.stored, password); err != nil {
		return p, count, 0, err
	}
	if again {
		p.rehash, err = d.Hasher.Hash(v.ctx(), password)
	}
	return p, count, 0, err
}

// prove ends a check in the transaction that acts on it: it counts, and says
// whether the password is right and still the account's. The refusal is written to
// the audit log.
func (p proof) prove(ctx context.Context, tx *db.Tx, count attempt.SignIn, login string) (bool, error) {
	ok := p.ok
	if ok {
		// Between the check and now the password may have been changed or the account closed.
		stored, err := credential.PasswordOf(ctx, tx, p.user.ID)
		if err != nil {
			return false, err
		}
		ok = stored == p.stored
	}
	if ok {
		verdict, err := count.Succeed(ctx, tx)
		if err != nil {
			return false, err
		}
		ok = !verdict.Blocked
	}
	if ok {
		if p.rehash != "" {
			credential.Rehash(tx, p.user.ID, p.stored, p.rehash)
		}
		return true, nil
	}
	verdict, err := count.Fail(ctx, tx)
	if err != nil {
		return false, err
	}
	target := audit.Target{Kind: "user", Name: login}
	if !p.user.ID.IsZero() {
		target = p.user.Target()
	}
	audit.Write(tx, audit.Event{Action: "signin.refuse", Target: target, Outcome: audit.Refused, Detail: map[string]any{"method": "password"}})
	if verdict.Started {
		audit.Write(tx, audit.Event{Action: "signin.lock", Target: target, Outcome: audit.Refused, Detail: map[string]any{"until": verdict.Until.Format(time.RFC3339)}})
	}
	return false, nil
}

// signInPassword takes the username and password.
func (d *Door) signInPassword(v *visit) error {
	login, wrong := v.typed("username", maxUsername)
	password := secret.String(v.form.Get("password"))
	show := func(status int, problems []problem) error {
		s, err := d.look(v, v.flowID())
		if err != nil {
			return err
		}
		if s.next() != signin.AskPassword {
			return d.arrive(v, s)
		}
		v.speak(d, s.flow.Locales)
		a, err := d.applicationOf(v, s.flow)
		if err != nil {
			return err
		}
		return d.render(v, status, d.passwordStep(v, s, a, login, problems))
	}
	var problems []problem
	switch {
	case wrong != nil:
		problems = append(problems, *wrong)
	case login == "":
		problems = append(problems, problem{"username", say("problem.username_missing")})
	}
	if password.IsZero() {
		problems = append(problems, problem{"password", say("problem.password_missing")})
	} else if len(password) > 4*maxPassword {
		problems = append(problems, problem{"password", say("problem.too_long", "Count", maxPassword)})
	}
	if len(problems) > 0 {
		return show(refused, problems)
	}
	// The flow first: without one, nobody gets to compute a hash here.
	if s, err := d.look(v, v.flowID()); err != nil {
		return err
	} else if s.next() != signin.AskPassword {
		return d.arrive(v, s)
	}
	p, count, blocked, err := d.check(v, login, password)
	switch {
	case errors.Is(err, credential.ErrBusy):
		v.w.Header().Set("Retry-After", "5")
		return show(http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
	case err != nil:
		return err
	case blocked > 0:
		return show(v.limited(blocked), []problem{{Text: say("problem.locked", "Wait", waiting(blocked))}})
	}
	return d.step(v, signin.AskPassword, func(ctx context.Context, tx *db.Tx, s *state) ([]problem, error) {
		ok, err := p.prove(ctx, tx, count, login)
		if err != nil {
			return nil, err
		}
		if !ok {
			return []problem{{Text: say("problem.credentials")}}, nil
		}
		s.flow.Prove(p.user.ID, signin.Password, tx.Now())
		return nil, nil
	}, func(_ *state, problems []problem) error { return show(refused, problems) })
}

// limited is the status of an answer to too many tries, with its header.
func (v *visit) limited(wait time.Duration) int {
	v.w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
	return http.StatusTooManyRequests
}

// notices are what the parameter done may say at the top of a page.
var notices = map[string]string{
	"reset":    "reset.done",
	"password": "account.password_done",
	"totp":     "account.totp_removed",
	"session":  "sessions.ended",
	"again":    "mailed.sent_again",
}
