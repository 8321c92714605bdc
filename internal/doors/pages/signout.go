package pages

import (
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// showSignOut asks to confirm a sign-out that an application (with a flow) or the person requested.
func (d *Door) showSignOut(v *visit) error {
	if !v.flowID().IsZero() {
		s, err := d.readFlow(v, v.flowID())
		if err != nil {
			return err
		}
		v.speak(d, s.Flow.Locales)
		if s.Flow.Kind == signin.SignOut {
			return d.showStep(v, s, http.StatusOK, nil)
		}
	}
	s, err := d.signedIn(v)
	if errors.Is(err, session.ErrNone) {
		return v.redirect("/signedout")
	}
	if err != nil {
		return err
	}
	return d.render(v, http.StatusOK, &signOutPage{frame: frame{Title: say("signout.page"), Person: s.UserName}})
}

// signOut ends this browser's session. With a flow it then returns to the application.
func (d *Door) signOut(v *visit) error {
	on, err := d.signedIn(v)
	if err != nil && !errors.Is(err, session.ErrNone) {
		return err
	}
	c := v.caller
	if err == nil {
		c = v.as(on)
	}
	end := func(tx *db.Tx) error {
		if on.ID.IsZero() {
			return nil
		}
		err := logout.End(v.ctx(), tx, on.ID, "signout")
		if errors.Is(err, session.ErrNotFound) {
			return nil // it ended by itself
		}
		return err
	}
	if flow := v.flowID(); !flow.IsZero() {
		s, err := db.Write(v.ctx(), d.DB, c, func(tx *db.Tx) (signin.Standing, error) {
			s, err := d.SignIn.Read(v.ctx(), tx, flow, v.ofBrowser())
			if err != nil {
				return s, err
			}
			if s.Next() != signin.AskSignOut {
				return s, signin.ErrGone
			}
			if err := end(tx); err != nil {
				return s, err
			}
			s.Flow.SignedOut = true
			return d.SignIn.Store(v.ctx(), tx, s, v.browser)
		})
		if err != nil {
			return err
		}
		web.ClearCookie(v.w, v.r, session.Cookie)
		return v.redirect(s.Flow.Return())
	}
	if err := d.DB.Update(v.ctx(), c, end); err != nil {
		return err
	}
	web.ClearCookie(v.w, v.r, session.Cookie)
	return v.redirect("/signedout")
}

// showSignedOut is the last page of a sign-out without an application.
func (d *Door) showSignedOut(v *visit) error {
	return d.render(v, http.StatusOK, &signedOutPage{frame{Title: say("signedout.title")}})
}
