package pages

import (
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// accountHandler answers an account page for the person whose session is s. facts are what the
// engine knows of the person.
type accountHandler func(s session.Session, facts signin.Facts) error

// account runs h for the person who is signed in. Any other person is asked to sign in first and
// comes back to path. So is a person whose session falls short of a sign-in to the account pages
// now, such as one from before a second factor was set up.
func (d *Door) account(v *visit, path string, h accountHandler) error {
	return d.accountFor(v, signin.Demand{Kind: signin.Account, ReturnTo: path}, h)
}

// guarded is account for changes of how one signs in, which need a recent proof.
func (d *Door) guarded(v *visit, path string, h accountHandler) error {
	return d.accountFor(v, signin.Demand{Kind: signin.Account, ReturnTo: path, ForCredentials: true}, h)
}

func (d *Door) accountFor(v *visit, demand signin.Demand, h accountHandler) error {
	now, err := d.standing(v.r, demand)
	if err != nil {
		return err
	}
	if now.Next() != signin.Done {
		if err := d.carry(v, now); err != nil { // any stranger can ask for these pages
			return err
		}
		return v.redirectToFlow(now.Flow.ID)
	}
	return h(*now.Session, now.Facts)
}

// standing returns where a flow for demand would stand that begins with the browser's session. It
// records the visit.
func (d *Door) standing(r *http.Request, demand signin.Demand) (signin.Standing, error) {
	return visiting(d, r, func(tx *db.Tx) (signin.Standing, *session.Session, error) {
		s, err := d.SignIn.BeginWith(r.Context(), tx, web.Cookies(r, session.Cookie), demand)
		return s, s.Session, err
	})
}

// visiting returns what read finds, and records the visit of the session that it found.
func visiting[T any](d *Door, r *http.Request, read func(tx *db.Tx) (T, *session.Session, error)) (T, error) {
	type answer struct {
		found T
		on    *session.Session
		stale bool
	}
	c := web.CallerOf(r)
	now, err := db.Read(r.Context(), d.DB, c, func(tx *db.Tx) (answer, error) {
		found, on, err := read(tx)
		return answer{found, on, on != nil && on.Stale(tx.Now())}, err
	})
	if err == nil && now.stale {
		err = d.DB.Update(r.Context(), c, func(tx *db.Tx) error {
			session.Touch(tx, now.on.ID)
			return nil
		})
	}
	return now.found, err
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
	return d.account(v, "/account", func(s session.Session, facts signin.Facts) error {
		var (
			all []session.Session
			now time.Time
		)
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) error {
			var err error
			now = tx.Now()
			all, err = session.List(v.ctx(), tx, filter.All(), s.User, id.ID{}, maxSessions)
			return err
		}); err != nil {
			return err
		}
		u, has := facts.User, facts.Credentials
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
