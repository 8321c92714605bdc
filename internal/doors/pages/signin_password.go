package pages

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// passwordStep returns the page that asks for login and password. With a known account, whose
// session is to be confirmed, it asks for the password only.
func (d *Door) passwordStep(v *visit, s signin.Standing, a *application.Application, username string,
	problems []problem) *signInPage {
	p := &signInPage{
		frame: frame{Title: say("signin.title"), Flow: s.Flow.ID.String()}, Application: nameOf(a),
		Register: v.tenant.Settings.Registration, Password: passwordField(),
	}
	if login := s.Facts.User.Login(); login != "" {
		p.Person, p.Again, p.Register, username = login, true, false, login
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

// signInPassword takes the username and password. It reads the flow once, with the account: the
// hash is computed outside any transaction, and the save detects a flow that changed meanwhile.
func (d *Door) signInPassword(v *visit) error {
	login, wrong := v.typedLogin("username")
	password := secret.String(v.form.Get("password"))
	show := func(s signin.Standing, status int, problems []problem) error {
		v.speak(d, s.Flow.Locales)
		a, err := d.applicationOf(v, s.Flow)
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
	} else if len(password) > credential.MaxPasswordBytes {
		problems = append(problems, problem{"password", say("problem.too_long", "Count", credential.MaxPasswordLength)})
	}
	if v.flowID().IsZero() {
		return signin.ErrGone
	}
	type found struct {
		standing signin.Standing
		try      signin.PasswordTry
		wait     time.Duration
	}
	// Without a flow, no client can make us compute a hash.
	was, err := db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (found, error) {
		s, err := d.SignIn.Read(v.ctx(), tx, v.flowID(), v.ofBrowser())
		if err != nil || s.Next() != signin.AskPassword || len(problems) > 0 {
			return found{standing: s}, err
		}
		try, wait, err := signin.FindPassword(v.ctx(), tx, login, v.browser, v.numbers())
		return found{s, try, wait}, err
	})
	switch {
	case err != nil:
		return err
	case was.standing.Next() != signin.AskPassword:
		return d.redirectToNextStep(v, was.standing)
	case len(problems) > 0:
		return show(was.standing, refused, problems)
	case was.wait > 0:
		return show(was.standing, v.limited(was.wait),
			[]problem{{Text: say("problem.locked", "Wait", waiting(was.wait))}})
	}
	err = d.verify(v, &was.try, password)
	if errors.Is(err, credential.ErrBusy) {
		v.w.Header().Set("Retry-After", "5")
		return show(was.standing, http.StatusServiceUnavailable, []problem{{Text: say("problem.busy")}})
	}
	if err != nil {
		return err
	}
	out, err := d.applyStep(v, was.standing,
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			ok, err := was.try.Use(ctx, tx)
			if err != nil {
				return nil, err
			}
			switch {
			case was.try.Locked():
				return []problem{{Text: say("problem.account_locked")}}, nil
			case !ok:
				return []problem{{Text: say("problem.credentials")}}, nil
			}
			s.Prove(was.try.User, signin.Password, tx.Now())
			return nil, nil
		})
	return d.answerStep(v, out, err, func(problems []problem) error { return show(was.standing, refused, problems) })
}

// limited sets Retry-After and returns the status of an answer to too many tries.
func (v *visit) limited(wait time.Duration) int {
	v.w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
	return http.StatusTooManyRequests
}

// notices are the messages that the parameter done may name.
var notices = map[string]string{
	"reset":    "reset.done",
	"password": "account.password_done", "password-stay": "account.password_stay",
	"totp":    "account.totp_removed",
	"session": "sessions.ended",
	"again":   "mailed.sent_again",
}
