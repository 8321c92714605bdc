package pages

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxSessions bounds how many sessions a person is shown.
const maxSessions = 100

// recent is how old the proof may be for changing how one signs in. Whoever finds
// an open browser later must know the password (and have the app) first.
const recent = 10 * time.Minute

// account runs h for the person who is signed in; anybody else is asked to sign in
// first and comes back to path.
func (d *Door) account(v *visit, path string, h func(s session.Session) error) error {
	s, err := d.signedIn(v)
	if errors.Is(err, session.ErrNone) {
		return d.detour(v, signin.New{ReturnTo: path})
	}
	if err != nil {
		return err
	}
	return h(s)
}

// guarded is account for what changes how one signs in: the proof must be recent,
// and have both factors where the account has two. A session of before the second
// one was set up is not enough to take it away again.
func (d *Door) guarded(v *visit, path string, h func(s session.Session) error) error {
	return d.account(v, path, func(s session.Session) error {
		enough, maxAge := false, recent
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) error {
			has, err := credential.Of(v.ctx(), tx, s.User)
			enough = signin.Fresh(s.AuthTime, tx.Now(), false, &maxAge) && (!has.TOTP || s.ACR == session.TwoFactors)
			return err
		}); err != nil {
			return err
		}
		if !enough {
			return d.detour(v, signin.New{ReturnTo: path, MaxAge: &maxAge, Credit: &signin.Credit{Session: s.ID, User: s.User, AMR: s.AMR, AuthTime: s.AuthTime}})
		}
		return h(s)
	})
}

func (d *Door) detour(v *visit, n signin.New) error {
	s, err := d.begin(v, n, nil)
	if err != nil {
		return err
	}
	return v.redirect("/signin?flow=" + s.flow.ID.String())
}

// noticeOf is what the parameter done says at the top of an account page.
func (v *visit) noticeOf() *notice {
	if n := notices[v.r.URL.Query().Get("done")]; n != "" {
		return &notice{Tone: "good", Text: say(n)}
	}
	return nil
}

// showAccount is the home of the account pages: who one is and how one signs in.
func (d *Door) showAccount(v *visit) error {
	return d.account(v, "/account", func(s session.Session) error {
		var (
			u   user.User
			has credential.Summary
			all []session.Session
			now time.Time
		)
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) (err error) {
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

// showSessions lists where the person is signed in.
func (d *Door) showSessions(v *visit) error {
	return d.account(v, "/account/sessions", func(s session.Session) error {
		var (
			all []session.Session
			now time.Time
		)
		if err := d.DB.View(v.ctx(), v.as(s), func(tx *db.Tx) (err error) {
			now = tx.Now()
			all, err = session.List(v.ctx(), tx, filter.All(), s.User, id.ID{}, maxSessions)
			return err
		}); err != nil {
			return err
		}
		p := &sessionsPage{frame: frame{Title: say("sessions.title"), Tabs: tabs(v.site.Path, "sessions"), Notice: v.noticeOf()}, Others: len(all) > 1}
		for _, o := range all {
			row := sessionRow{
				ID: o.ID.String(), Device: deviceOf(o.Agent), Seen: say("sessions.active", "Ago", ago(now, o.LastSeen)), Address: o.Address,
				Started: utcMinute(o.CreatedAt), StartedAt: o.CreatedAt.UTC().Format(time.RFC3339), Current: o.ID == s.ID,
			}
			if row.Current { // this very one first
				p.Sessions = append([]sessionRow{row}, p.Sessions...)
			} else {
				p.Sessions = append(p.Sessions, row)
			}
		}
		return d.render(v, http.StatusOK, p)
	})
}

// revokeSession signs out one of the person's other browsers, or all of them.
func (d *Door) revokeSession(v *visit) error {
	return d.account(v, "/account/sessions", func(s session.Session) error {
		which := v.form.Get("session")
		err := d.DB.Update(v.ctx(), v.as(s), func(tx *db.Tx) error {
			if which == "others" {
				_, err := session.RevokeAll(v.ctx(), tx, s.User, s.ID, "account")
				return err
			}
			other, err := id.Parse(which)
			if err != nil {
				return session.ErrNotFound
			}
			o, err := session.Get(v.ctx(), tx, other)
			if err != nil {
				return err
			}
			if o.User != s.User { // somebody else's does not exist from here
				return session.ErrNotFound
			}
			return session.Revoke(v.ctx(), tx, other, "account")
		})
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		return v.redirect("/account/sessions?done=session")
	})
}

// serveSession answers whether the browser is signed in, for reverse proxies: 200
// with the session as JSON, or 401.
func (d *Door) serveSession(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	s, err := d.sessionOf(r)
	if err != nil && !errors.Is(err, session.ErrNone) {
		web.NoteError(r.Context(), err)
	}
	h.Set("Content-Type", "application/json")
	if err != nil {
		f := fault.As(err)
		w.WriteHeader(statusOfKind(f.Kind))
		_ = json.NewEncoder(w).Encode(map[string]any{"code": f.Code, "detail": f.Reason, "request_id": web.RequestIDOf(r.Context())})
		return
	}
	_ = json.NewEncoder(w).Encode(session.ViewOf(s)) // the reader has gone; nothing is left to say
}
