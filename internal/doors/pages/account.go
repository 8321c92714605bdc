package pages

import (
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// recent is the maximum age of the sign-in for changing how one signs in. A person who finds an
// open browser later must prove the password and the second factor first.
const recent = 10 * time.Minute

// account runs h for the person who is signed in. Anybody else is asked to sign in
// first and comes back to path.
func (d *Door) account(v *visit, path string, h func(s session.Session) error) error {
	s, err := d.signedIn(v)
	if errors.Is(err, session.ErrNone) {
		return d.beginSignIn(v, signin.Demand{ReturnTo: path}, nil)
	}
	if err != nil {
		return err
	}
	return h(s)
}

// accountFor is account for changes of how one signs in. The session must be what a sign-in to the
// account pages would give now: one from before a second factor was set up is not enough. With a
// maxAge the proof must be that recent too.
func (d *Door) accountFor(v *visit, path string, maxAge *time.Duration,
	h func(s session.Session, u user.User) error) error {
	return d.account(v, path, func(s session.Session) error {
		demand := signin.Demand{Kind: signin.Account, ReturnTo: path, MaxAge: maxAge}
		now, err := db.Read(v.ctx(), d.DB, v.as(s), func(tx *db.Tx) (signin.Standing, error) {
			return d.SignIn.Standing(v.ctx(), tx, &s, demand)
		})
		if err != nil {
			return err
		}
		if now.Next() != signin.Done {
			return d.beginSignIn(v, demand, &s)
		}
		return h(s, now.Facts.User)
	})
}

// guarded is accountFor with a recent proof.
func (d *Door) guarded(v *visit, path string, h func(s session.Session, u user.User) error) error {
	maxAge := recent
	return d.accountFor(v, path, &maxAge, h)
}

// beginSignIn sends the browser, whose session is on (nil for none), to the sign-in pages.
func (d *Door) beginSignIn(v *visit, demand signin.Demand, on *session.Session) error {
	s, err := d.begin(v, demand, on, nil)
	if err != nil {
		return err
	}
	return v.redirectToFlow(s.Flow.ID)
}

// as is the caller of what a signed-in person does.
func (v *visit) as(s session.Session) caller.Caller { return v.caller.As(s.Actor(v.site.Tenant)) }

// noticeOf returns the notice that the parameter done names, for the top of an account page.
func (v *visit) noticeOf() *notice {
	if n := notices[v.r.URL.Query().Get("done")]; n != "" {
		return &notice{Tone: "good", Text: say(n)}
	}
	return nil
}

// showAccount shows the profile and how the person signs in.
func (d *Door) showAccount(v *visit) error {
	return d.account(v, "/account", func(s session.Session) error {
		var (
			u   user.User
			has credential.Summary
			all []session.Session
			now time.Time
		)
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) error {
			var err error
			now = tx.Now()
			if u, err = user.Get(v.ctx(), tx, s.User); err != nil {
				return err
			}
			if has, err = credential.Of(v.ctx(), tx, s.User); err != nil {
				return err
			}
			all, err = session.List(v.ctx(), tx, filter.All(), s.User, id.ID{}, maxSessions)
			return err
		}); err != nil {
			return err
		}
		p := &accountPage{
			frame:     frame{Title: say("account.title"), Tabs: tabs(v.site.Path, "home"), Notice: v.noticeOf()},
			GivenName: u.GivenName, HasTOTP: has.TOTP,
			PasswordNote: say("account.password_none"), TOTPNote: say("account.totp_why"),
			SessionNote: say("account.session_count", "Count", len(all)),
		}
		if u.GivenName != "" || u.FamilyName != "" {
			p.Facts = append(p.Facts, fact{Label: say("account.name"), Value: u.Name()})
		}
		if u.Email != "" {
			f := fact{Label: say("account.email"), Value: u.Email, Off: !u.EmailVerified}
			tag := say("account.confirmed")
			if !u.EmailVerified {
				tag = say("account.unconfirmed")
			}
			f.Tag = &tag
			p.Facts = append(p.Facts, f)
		}
		if u.Username != "" {
			p.Facts = append(p.Facts, fact{Label: say("account.username"), Value: u.Username})
		}
		if has.Password {
			p.PasswordNote = say("account.password_changed", "Ago", ago(now, has.PasswordChangedAt))
		}
		if has.TOTP {
			p.TOTPNote = say("account.codes_left", "Count", has.RecoveryCodes)
		}
		return d.render(v, http.StatusOK, p)
	})
}
