package pages

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
)

var errNoRegistration = fault.New(fault.NotFound, "register.closed", "This tenant does not take registrations.")

// person is what a new user enters about themselves.
type person struct {
	email, given, family string
	password             secret.String
}

// person reads and checks the fields of a new account.
func (v *visit) person(least int) (person, []problem) {
	email, wrong := v.typedLogin("email")
	if wrong == nil {
		email, wrong = checkEmail(email)
	}
	p, problems := v.personAt(email, least)
	if wrong != nil {
		problems = append([]problem{*wrong}, problems...)
	}
	return p, problems
}

// personAt reads and checks the fields of a new account with a known address.
func (v *visit) personAt(email string, least int) (person, []problem) {
	p := person{email: email}
	var problems []problem
	note := func(wrong *problem) {
		if wrong != nil {
			problems = append(problems, *wrong)
		}
	}
	var wrong *problem
	for _, f := range []struct {
		name, missing string
		to            *string
	}{
		{"given_name", "problem.given_name_missing", &p.given},
		{"family_name", "problem.family_name_missing", &p.family},
	} {
		if *f.to, wrong = v.typed(f.name, user.MaxName); wrong == nil && *f.to == "" {
			wrong = &problem{f.name, say(f.missing)}
		}
		note(wrong)
	}
	p.password = secret.String(v.form.Get("password"))
	note(checkNewPassword(p.password, least, p.email, p.given, p.family))
	return p, problems
}

// checkEmail returns the address that was typed, in the form that is stored, or what is wrong.
func checkEmail(text string) (string, *problem) {
	if text == "" {
		return "", &problem{"email", say("problem.email_missing")}
	}
	address, ok := typed.Address(text)
	if !ok {
		return text, &problem{"email", say("problem.email_form")}
	}
	return address, nil
}

// checkNewPassword returns what is wrong with a new password, or nil. not lists words that it may
// not be.
func checkNewPassword(password secret.String, least int, not ...string) *problem {
	switch credential.Judge(password, credential.Rules{MinLength: least, Not: not}) {
	case credential.Empty:
		return &problem{"password", say("problem.new_missing")}
	case credential.TooShort:
		return &problem{"password", say("problem.password_short", "Count", max(least, credential.MinPasswordLength))}
	case credential.TooLong:
		return &problem{"password", say("problem.too_long", "Count", credential.MaxPasswordLength)}
	case credential.Unusable:
		return &problem{"password", say("problem.characters")}
	case credential.SameAsName:
		return &problem{"password", say("problem.password_name")}
	case credential.Guessable:
		return &problem{"password", say("problem.password_common")}
	case credential.Good:
	}
	return nil
}

// showRegister shows the form for a new account, if the tenant accepts registrations.
func (d *Door) showRegister(v *visit) error {
	if !v.tenant.Settings.Registration {
		return errNoRegistration
	}
	s, err := d.withFlow(v, "/register")
	if err != nil || s == nil {
		return err
	}
	return d.registerPage(v, *s, http.StatusOK, person{email: s.Flow.LoginHint}, nil)
}

func (d *Door) registerPage(v *visit, s signin.Standing, status int, who person, problems []problem) error {
	if s.Next() != signin.AskPassword {
		return d.redirectToNextStep(v, s)
	}
	v.speak(d, s.Flow.Locales)
	if _, err := d.applicationOf(v, s.Flow); err != nil {
		return err
	}
	p := &registerPage{
		frame: frame{Title: say("register.page"), Flow: s.Flow.ID.String()}, Email: emailField(who.email),
		GivenName: givenNameField(who.given), FamilyName: familyNameField(who.family),
		Password: newPasswordField(say("field.choose_password"), v.tenant.Settings.PasswordMinLength),
	}
	tell(&p.frame, problems, &p.Email, &p.GivenName, &p.FamilyName, &p.Password)
	return d.render(v, status, p)
}

// register creates an account. An address that has one already gets the same answer, after the
// same hash, and its owner gets a mail. A tenant that confirms no addresses signs a new user in at
// once, so there the difference shows. Such a tenant has chosen it.
func (d *Door) register(v *visit) error {
	if !v.tenant.Settings.Registration {
		return errNoRegistration
	}
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	who, problems := v.person(v.tenant.Settings.PasswordMinLength)
	if len(problems) > 0 {
		return d.registerPage(v, s, refused, who, problems)
	}
	if s.Next() != signin.AskPassword {
		return d.redirectToNextStep(v, s)
	}
	may, err := d.count(v, attempt.Register(v.caller.Address, v.numbers()),
		attempt.Mail(attempt.ToRegister, who.email))
	if err != nil {
		return err
	}
	if may.wait > 0 {
		return d.registerPage(v, s, v.limited(may.wait), who,
			[]problem{{Text: say("problem.locked_code", "Wait", waiting(may.wait))}})
	}
	phc, err := d.Hasher.Hash(v.ctx(), who.password)
	if errors.Is(err, credential.ErrBusy) {
		return d.registerPage(v, s, http.StatusServiceUnavailable, who, []problem{{Text: say("problem.busy")}})
	}
	if err != nil {
		return err
	}
	var mailed bool
	enter := func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
		var err error
		mailed, err = d.enter(ctx, tx, v, s, who, phc, may.mail)
		return nil, err
	}
	out, err := d.runStep(v, s.Flow.ID, signin.AskPassword, enter)
	if errors.Is(err, user.ErrEmailTaken) { // it was registered at the same moment: now it exists
		out, err = d.runStep(v, s.Flow.ID, signin.AskPassword, enter)
	}
	if err == nil && mailed {
		return v.redirect("/register/sent?flow=" + s.Flow.ID.String())
	}
	return d.answerStep(v, out, err, nil)
}

// enter creates the account and reports whether the next step is a mailed link. Without mail it
// sends none: the address got one a moment ago.
func (d *Door) enter(ctx context.Context, tx *db.Tx, v *visit, s *signin.Standing, who person, phc string,
	mail bool) (bool, error) {
	before := s.Flow.Registered
	s.Flow.LoginHint, s.Flow.Registered = who.email, id.ID{}
	// Under a limit the answer is the same for every address, whether it has an account or not.
	if err := user.CheckRoom(ctx, tx); err != nil {
		return false, err
	}
	is, err := user.ByLogin(ctx, tx, who.email)
	switch {
	case err == nil && is.ID == before && is.Status == user.Invited:
		// The browser that created the account sends the form again before the address is
		// confirmed: the last password counts. The owner of the address may confirm it at this
		// moment, by a reset: then the account is theirs.
		held, err := user.Hold(ctx, tx, is.ID)
		if err != nil {
			return false, err
		}
		if held.Status != user.Invited {
			h := v.letterhead()
			return true, d.post(tx, h, is, existsLetter(h, is, "/signin"))
		}
		if err := credential.SetPassword(ctx, tx, is.ID, phc); err != nil {
			return false, err
		}
		s.Flow.Registered = is.ID
		if !mail {
			return true, nil
		}
		return true, d.mailConfirm(ctx, tx, v, s.Flow.ID, is)
	case err == nil && !mail:
		return true, nil
	case err == nil:
		h := v.letterhead()
		return true, d.post(tx, h, is, existsLetter(h, is, "/signin"))
	case fault.Of(err) != fault.NotFound:
		return false, err
	}
	add := user.Create
	if v.tenant.Settings.VerifyEmail {
		add = user.Invite
	}
	u, err := add(ctx, tx, user.Profile{Email: who.email, GivenName: who.given, FamilyName: who.family,
		Locale: v.look.Locale})
	if err != nil {
		return false, err
	}
	if err := credential.SetPassword(ctx, tx, u.ID, phc); err != nil {
		return false, err
	}
	if u.Status == user.Active {
		s.Prove(u, signin.Password, tx.Now())
		return false, nil
	}
	s.Flow.Registered = u.ID
	return true, d.mailConfirm(ctx, tx, v, s.Flow.ID, u)
}
