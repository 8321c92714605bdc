package pages

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// showSignOut asks to confirm, for an application (with a flow) or of the person's own accord.
func (d *Door) showSignOut(v *visit) error {
	if !v.flowID().IsZero() {
		s, err := d.look(v, v.flowID())
		if err != nil {
			return err
		}
		v.speak(d, s.flow.Locales)
		if s.flow.Kind == signin.SignOut {
			return d.show(v, s, http.StatusOK, nil)
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

// signOut ends this browser's session. With a flow it then goes back to the
// application that asked.
func (d *Door) signOut(v *visit) error {
	on, err := d.signedIn(v)
	if err != nil && !errors.Is(err, session.ErrNone) {
		return err
	}
	c := v.caller
	if err == nil {
		c = v.as(on)
	}
	end := func(ctx context.Context, tx *db.Tx) error {
		if on.ID.IsZero() {
			return nil
		}
		err := session.Revoke(ctx, tx, on.ID, "signout")
		if errors.Is(err, session.ErrNotFound) {
			return nil // it ended by itself
		}
		return err
	}
	if flow := v.flowID(); !flow.IsZero() {
		var s *state
		if err := d.DB.Update(v.ctx(), c, func(tx *db.Tx) (err error) {
			if s, err = d.load(v.ctx(), tx, v, flow); err != nil {
				return err
			}
			if s.next() != signin.AskSignOut {
				return signin.ErrGone
			}
			s.flow.SignedOut = true
			if err := end(v.ctx(), tx); err != nil {
				return err
			}
			return signin.Save(v.ctx(), tx, &s.flow, s.policy)
		}); err != nil {
			return err
		}
		web.ClearCookie(v.w, v.r, session.Cookie)
		return v.redirect(s.flow.Return())
	}
	if err := d.DB.Update(v.ctx(), c, func(tx *db.Tx) error { return end(v.ctx(), tx) }); err != nil {
		return err
	}
	web.ClearCookie(v.w, v.r, session.Cookie)
	return v.redirect("/signedout")
}

// showSignedOut is where a sign-out without an application ends.
func (d *Door) showSignedOut(v *visit) error {
	return d.render(v, http.StatusOK, &signedOutPage{frame{Title: say("signedout.title")}})
}
