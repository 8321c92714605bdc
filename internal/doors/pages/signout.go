package pages

import (
	"errors"
	"html/template"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
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
		return logout.EndHere(v.ctx(), tx, on.ID)
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
		session.ClearCookies(v.w, v.r)
		return v.redirect(s.Flow.Return())
	}
	query, err := db.Write(v.ctx(), d.DB, c, func(tx *db.Tx) (string, error) {
		if err := end(tx); err != nil {
			return "", err
		}
		return logout.Departure{Session: on.ID}.Query(v.ctx(), tx, d.SignIn.Sealer, v.browser)
	})
	if err != nil {
		return err
	}
	session.ClearCookies(v.w, v.r)
	return v.redirect("/signedout" + query)
}

// showSignedOut is the last page of a sign-out. It loads the pages by which applications end their
// own sessions (OpenID Connect Front-Channel Logout 1.0), and then returns to the application that
// asked for the sign-out.
func (d *Door) showSignedOut(v *visit) error {
	p := &signedOutPage{frame: frame{Title: say("signedout.title")}}
	sealed := v.param("ended")
	if sealed == "" {
		return d.render(v, http.StatusOK, p)
	}
	var left logout.Departure
	frames, err := db.Read(v.ctx(), d.DB, v.caller, func(tx *db.Tx) ([]string, error) {
		var ok bool
		if left, ok = logout.OpenDeparture(tx, d.SignIn.Sealer, v.browser, sealed); !ok {
			return nil, nil
		}
		return logout.Frames(v.ctx(), tx, left.Session, v.site.Base)
	})
	if err != nil {
		return err
	}
	for _, address := range frames {
		if origin := application.OriginOf(address); origin != "" {
			p.Frames, v.look.Frames = append(p.Frames, address), append(v.look.Frames, origin)
		}
	}
	if left.Return != "" {
		// It was compared with the registered addresses. Without template.URL, html/template would
		// replace the private-use schemes of native applications.
		p.Return, p.Application = template.URL(left.Return), left.Name
		p.Script, v.look.Script = returnScript.HTML, returnScript.Source
		v.w.Header().Set("Refresh", afterFrames+left.Return)
	}
	return d.render(v, http.StatusOK, p)
}

// afterFrames begins the header by which a browser without scripts returns: so many seconds after
// it has loaded the frames.
const afterFrames = "2; url="

// returnScript returns to the application as soon as the frames are loaded, and after 5 s at most.
var returnScript = scriptOf(`(function(){var go=function(){location.replace(document.getElementById("return").href)};
addEventListener("load",go);setTimeout(go,5000)})()`)
