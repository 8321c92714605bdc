package pages

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// What the page says about a link that cannot be accepted.
var (
	errNoInvitation        = fault.New(fault.NotFound, "invitation.unknown", "The link is of no invitation.")
	errInvitationExpired   = fault.New(fault.NotFound, "invitation.expired", "The invitation has expired.")
	errInvitationWithdrawn = fault.New(fault.NotFound, "invitation.withdrawn", "The invitation was withdrawn.")
	errInvitationAccepted  = fault.New(fault.NotFound, "invitation.accepted", "The invitation was accepted.")
	errInvitedUser         = fault.New(fault.Conflict, "invitation.has_account", "The address has an account.")
)

// invited is a pending invitation as its page shows it.
type invited struct {
	invitation.Invitation
	gives []string // names of roles and groups
}

// findInvitation reads the pending invitation of a link, without using it.
func (d *Door) findInvitation(v *visit) (invited, error) {
	return db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (invited, error) {
		i, err := invitation.Find(v.ctx(), tx, v.param("token"))
		if errors.Is(err, invitation.ErrNotFound) {
			return invited{}, errNoInvitation
		}
		if err != nil {
			return invited{}, err
		}
		v.speak(d, []string{i.Locale})
		switch i.StatusAt(tx.Now()) {
		case invitation.Accepted:
			return invited{}, errInvitationAccepted
		case invitation.Withdrawn:
			return invited{}, errInvitationWithdrawn
		case invitation.Expired:
			return invited{}, errInvitationExpired
		case invitation.Pending:
		}
		if _, err := user.ByLogin(v.ctx(), tx, i.Email); err == nil {
			return invited{}, errInvitedUser
		} else if fault.Of(err) != fault.NotFound {
			return invited{}, err
		}
		gives, err := i.Gives(v.ctx(), tx)
		return invited{i, gives}, err
	})
}

// showInvitation shows who invited the person to what, and asks for a name and a password.
func (d *Door) showInvitation(v *visit) error {
	i, err := d.findInvitation(v)
	if err != nil {
		return err
	}
	return d.invitationPage(v, i, http.StatusOK, person{given: i.GivenName, family: i.FamilyName}, nil)
}

func (d *Door) invitationPage(v *visit, i invited, status int, who person, problems []problem) error {
	p := &invitationPage{
		frame: frame{Title: say("invitation.page")}, Token: v.param("token"), Address: i.Email, Inviter: i.Inviter(),
		Gives: i.gives, GivenName: givenNameField(who.given), FamilyName: familyNameField(who.family),
		Password: newPasswordField(say("field.choose_password"), v.tenant.Settings.PasswordMinLength),
	}
	tell(&p.frame, problems, &p.GivenName, &p.FamilyName, &p.Password)
	v.look.Here = nil // the address holds a token: it is not repeated in links
	return d.render(v, status, p)
}

// acceptInvitation makes the person a user, and goes on with what the tenant asks for signing in.
func (d *Door) acceptInvitation(v *visit) error {
	i, err := d.findInvitation(v)
	if err != nil {
		return err
	}
	who, problems := v.personAt(i.Email, v.tenant.Settings.PasswordMinLength)
	if len(problems) > 0 {
		return d.invitationPage(v, i, refused, who, problems)
	}
	phc, err := d.Hasher.Hash(v.ctx(), who.password)
	if errors.Is(err, credential.ErrBusy) {
		return d.invitationPage(v, i, http.StatusServiceUnavailable, who, []problem{{Text: say("problem.busy")}})
	}
	if err != nil {
		return err
	}
	out, err := d.begin(v, signin.Demand{LoginHint: i.Email},
		func(ctx context.Context, tx *db.Tx, s *signin.Standing) ([]problem, error) {
			u, err := invitation.Accept(ctx, tx, v.form.Get("token"), invitation.Person{GivenName: who.given,
				FamilyName: who.family, Locale: v.look.Locale, Password: phc})
			if err != nil {
				return nil, err
			}
			s.Prove(u, signin.Password, tx.Now())
			return nil, nil
		})
	switch {
	case errors.Is(err, invitation.ErrNotFound): // another tab or its end was faster
		if _, err := d.findInvitation(v); err != nil {
			return err
		}
		return errNoInvitation
	case errors.Is(err, user.ErrEmailTaken):
		return errInvitedUser
	case err != nil:
		return err
	}
	return d.redirectToNextStep(v, out.Standing)
}

// MailInvitation mails an invitation in the person's language, once tx is committed.
func (d *Door) MailInvitation(tx *db.Tx, from invitation.Site, to invitation.Invitation, link string) error {
	h := letterhead{Tenant: from.Tenant.Name, Base: from.Base, Accent: from.Tenant.Settings.Accent,
		Locale: from.Tenant.Settings.Locale}
	u := user.User{Profile: user.Profile{Email: to.Email, Locale: to.Locale}}
	return d.post(tx, h, u, invitationLetter(h, u, to, link))
}

// invitationLetter tells a person who invited them to what. The inviter is a user with the right to
// invite, so the letter carries no stranger's words.
func invitationLetter(h letterhead, u user.User, i invitation.Invitation, link string) letter {
	l := letter{Subject: h.to("mail.invited_subject", u), Text: h.to("mail.invited_text", u),
		Action: say("mail.invite_action"), Small: say("mail.invite_small", "Until", utcMinute(i.ExpiresAt)), Link: link}
	if by := i.Inviter(); by != "" {
		l.Subject, l.Text = h.to("mail.invite_subject", u), h.to("mail.invite_text", u)
		l.Subject.Args["Inviter"], l.Text.Args["Inviter"] = by, by
	}
	return l
}
