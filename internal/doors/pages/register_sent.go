package pages

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/attempt"
	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// mailConfirm mails u the link that confirms the address, and goes on in flow.
func (d *Door) mailConfirm(ctx context.Context, tx *db.Tx, v *visit, flow id.ID, u user.User) error {
	token, err := credential.NewLink(ctx, tx, credential.Verify, u)
	if err != nil {
		return err
	}
	h := v.letterhead()
	return d.post(tx, h, u, confirmLetter(h, u, "/confirm?token="+token.Reveal()+"&flow="+flow.String()))
}

// allowed says what a request that a stranger can send may do.
type allowed struct {
	wait time.Duration // how long the client has to wait; zero if the request may go on
	mail bool          // the mail may be sent; otherwise its receiver has a valid one already
}

// count counts a request that a stranger can send: for the client's networks, and for the receiver
// of its mail. The receiver's count never refuses the request, because a stranger could use it up.
func (d *Door) count(v *visit, from attempt.Client, mail attempt.Key) (allowed, error) {
	return db.Write(v.ctx(), d.DB, v.caller, func(tx *db.Tx) (allowed, error) {
		verdict, err := attempt.Take(v.ctx(), tx, from.Keys()...)
		if err != nil || verdict.Blocked {
			return allowed{wait: verdict.Wait(tx.Now())}, err
		}
		verdict, err = attempt.Take(v.ctx(), tx, mail)
		return allowed{mail: !verdict.Blocked}, err
	})
}

// showRegistered says that a mail is on its way, whether or not the account is new.
func (d *Door) showRegistered(v *visit) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	if s.Next() != signin.AskPassword {
		return d.redirectToNextStep(v, s)
	}
	v.speak(d, s.Flow.Locales)
	return d.render(v, http.StatusOK, d.confirmMailed(v, s))
}

func (d *Door) confirmMailed(v *visit, s signin.Standing) *mailedPage {
	address := s.Flow.LoginHint
	if !s.Facts.User.ID.IsZero() {
		address = s.Facts.User.Email
	}
	p := &mailedPage{
		frame: frame{Title: say("mailed.title"), Flow: s.Flow.ID.String()}, Heading: say("mailed.title"),
		Lead: sayConfirmMailed, Address: address,
		Again: v.site.Local("/register/again"), Back: v.site.Local("/register?flow=" + s.Flow.ID.String()),
		BackLabel: say("mailed.other_address"),
	}
	if !v.tenant.Settings.Registration || !s.Facts.User.ID.IsZero() {
		p.Back, p.BackLabel = v.site.Local("/signin"), say("action.back_to_signin")
	}
	if v.param("done") == "again" {
		p.Notice = &notice{Tone: "good", Text: say(notices["again"])}
	}
	return p
}

const sayConfirmMailed = "mailed.confirm"

// registerAgain sends the link again: to the account registered in this flow, or to the
// unconfirmed account whose password was proved in it.
func (d *Door) registerAgain(v *visit) error {
	s, err := d.readFlow(v, v.flowID())
	if err != nil {
		return err
	}
	back, who, address := "/register/sent?flow=", s.Flow.Registered, s.Flow.LoginHint
	if s.Next() == signin.AskEmail {
		back, who, address = "/signin?flow=", s.Facts.User.ID, s.Facts.User.Email
	}
	// Count the address that the mail goes to, not the one the flow was begun with.
	may, err := d.count(v, attempt.Send(v.caller.Address, v.numbers()), attempt.Mail(attempt.ToRegister, address))
	if err != nil {
		return err
	}
	if may.wait > 0 {
		v.limited(may.wait)
		return errTooMany
	}
	err = d.DB.Update(v.ctx(), v.caller, func(tx *db.Tx) error {
		u, err := user.Get(v.ctx(), tx, who)
		if fault.Of(err) == fault.NotFound && err != nil || err == nil && u.Status != user.Invited {
			return nil
		}
		if err != nil {
			return err
		}
		if !may.mail {
			return nil
		}
		return d.mailConfirm(v.ctx(), tx, v, s.Flow.ID, u)
	})
	if err != nil {
		return err
	}
	return v.redirect(back + s.Flow.ID.String() + "&done=again")
}

var errTooMany = fault.New(fault.Limited, "page.too_many", "Too many tries. Wait a few minutes, then try again.")
