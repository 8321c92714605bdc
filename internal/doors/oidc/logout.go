package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Paths of the pages door, and the one to which it returns.
const (
	logoutPath         = "/oauth2/logout"
	signoutPath        = "/signout"
	signedOutPath      = "/signedout"
	logoutContinuePath = logoutPath + "/continue"
)

// maxReturn bounds the address that the browser returns to, in bytes. It fits sealed into a query.
const maxReturn = 8 << 10

// ending is a validated logout request (RP-Initiated Logout §2). A flow stores it while the user
// confirms.
type ending struct {
	Return string   `json:"return,omitempty"` // a registered post_logout_redirect_uri with its state, or ""
	Name   string   `json:"name,omitempty"`   // the application's, for the page
	App    id.ID    `json:"app"`
	Locale []string `json:"locale,omitempty"`
	hint   hint
	hinted bool
}

// logout answers a logout request by GET.
func (d *Door) logout(w http.ResponseWriter, r *http.Request) error {
	p, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return onPage("oauth.malformed", "The application sent a request that cannot be read: %v.", err)
	}
	return d.logoutWith(w, r, p)
}

// logoutPost answers a logout request by POST. Like authorizePost, it sends the browser to the same
// request by GET, with its cookies.
func (d *Door) logoutPost(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if byProgram(r, form) {
		d.direct(d.logoutByClient)(w, r)
		return nil
	}
	if q := form.Encode(); len(q) <= maxRepeatedQuery {
		w.Header().Set("Referrer-Policy", "no-referrer")
		seeOther(w, web.SiteOf(r).Local(logoutPath)+"?"+q)
		return nil
	}
	p, err := paramsOf(form)
	if err != nil {
		return onPage("oauth.malformed", "The application sent a request that cannot be read: %v.", err)
	}
	return d.logoutWith(w, r, p)
}

func (d *Door) logoutWith(w http.ResponseWriter, r *http.Request, p params) error {
	ctx, c := r.Context(), web.CallerOf(r)
	e, err := d.parseLogout(ctx, c, p)
	if err != nil {
		return err
	}
	key, err := d.subjectKey(ctx, c, &application.Application{}, e.hint.client())
	if err != nil {
		return err
	}
	s, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (session.Session, error) {
		return session.Find(ctx, tx, web.Cookies(r, session.Cookie)...)
	})
	switch {
	case errors.Is(err, session.ErrNone) && fromProgram(r):
		d.direct(func(http.ResponseWriter, *http.Request) error { return errNoBrowser })(w, r)
		return nil
	case errors.Is(err, session.ErrNone):
		return d.ended(w, r, e, id.ID{}) // without a session there is nothing to confirm
	case err != nil:
		return err
	case e.hinted && (e.hint.Session == s.ID.String() || e.hint.Session == "" && e.hint.Subject == key.Of(s.User)):
		// The hint names this session: the user signed in to this application with it.
		if err := d.end(ctx, c, s); err != nil {
			return err
		}
		return d.ended(w, r, e, s.ID)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	demand := signin.Demand{
		Kind: signin.SignOut, Application: e.App, Request: b, ReturnTo: logoutContinuePath,
		Locales: e.Locale, PostLogoutName: e.Name,
	}
	now, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (signin.Standing, error) {
		return d.SignIn.Begin(ctx, tx, &s, demand)
	})
	if err != nil {
		return err
	}
	return d.interact(w, r, now, signoutPath)
}

// parseLogout validates a logout request. Its errors are pages, because a redirect URI that is not
// validated is never followed (RP-Initiated Logout §3).
func (d *Door) parseLogout(ctx context.Context, c caller.Caller, p params) (ending, error) {
	var e ending
	if p.repeated != "" {
		return e, onPage("oauth.repeated", "The application sent %s more than once. Tell its operator.", p.repeated)
	}
	clientID, badHint := p.get("client_id"), false
	if token := p.get("id_token_hint"); token != "" {
		h, err := d.readHint(ctx, c, token)
		if err != nil && !errors.Is(err, errHint) {
			return e, err
		}
		badHint = err != nil
		if err == nil { // an invalid hint is ignored: the user has to confirm
			if clientID != "" && !slices.Contains(h.Audience, clientID) {
				return e, onPage("oauth.hint_mismatch",
					"The application sent an ID token that belongs to another application. Tell its operator.")
			}
			if clientID == "" && len(h.Audience) == 1 {
				clientID = h.Audience[0]
			}
			e.hint, e.hinted = h, true
		}
	}
	var err error
	if e.Locale, err = words(p.get("ui_locales"), maxLocales); err != nil {
		return e, onPage("oauth.malformed", "The application sent too many ui_locales. Tell its operator.")
	}
	var app *application.Application
	if clientID != "" {
		app, err = d.Applications.ByClientID(ctx, c, clientID)
		if err != nil && fault.Of(err) != fault.NotFound {
			return e, err
		}
		if err != nil || app.Status != application.Active {
			app = nil
		} else {
			e.App, e.Name = app.ID, app.Name
		}
	}
	uri := p.get("post_logout_redirect_uri")
	if uri == "" {
		return e, nil
	}
	switch {
	case app != nil:
	case clientID != "":
		return e, onPage("oauth.client_unknown", "No active application with this client_id is registered here. You "+
			"are still signed in. Tell the operator of the application.")
	case badHint:
		return e, onPage("oauth.hint_invalid", "The application sent an id_token_hint that is not an ID token of this "+
			"tenant, and no client_id. You are still signed in. Tell the operator of the application.")
	default:
		return e, onPage("oauth.client_id_missing", "The application did not say which one it is: it must send a "+
			"client_id or an id_token_hint. You are still signed in. Tell its operator.")
	}
	if !app.MatchesPostLogout(uri) {
		return e, onPage("oauth.post_logout_redirect_uri_unknown", "The address to which the application returns "+
			"after sign-out is not registered for it. You are still signed in. "+
			"Tell the operator of the application.")
	}
	e.Return = uri
	if state := p.get("state"); state != "" {
		sep := "?"
		if strings.Contains(uri, "?") {
			sep = "&"
		}
		e.Return += sep + url.Values{"state": {state}}.Encode()
	}
	if len(e.Return) > maxReturn {
		return e, onPage("oauth.state_too_long", "The application sent a state of over %d bytes. You are still signed "+
			"in. Tell the operator of the application.", maxReturn)
	}
	return e, nil
}

// end ends the session. A session that has already ended is fine.
func (d *Door) end(ctx context.Context, c caller.Caller, s session.Session) error {
	return d.DB.Update(ctx, c.As(s.Actor(c.Tenant)), func(tx *db.Tx) error {
		return logout.EndHere(ctx, tx, s.ID)
	})
}

// ended sends a browser that is signed out to the address of the application, or to our own page.
// If applications of the session have front-channel logout, our page loads their frames first. The
// session is zero if none ended.
func (d *Door) ended(w http.ResponseWriter, r *http.Request, e ending, of id.ID) error {
	session.ClearCookies(w, r)
	w.Header().Set("Referrer-Policy", "no-referrer")
	site := web.SiteOf(r)
	to := e.Return
	if to == "" {
		to = site.Local(signedOutPath)
	}
	if !of.IsZero() {
		browser := web.Browser(w, r)
		query, err := db.Read(r.Context(), d.DB, web.CallerOf(r), func(tx *db.Tx) (string, error) {
			return logout.Departure{Session: of, Return: e.Return, Name: e.Name}.
				Query(r.Context(), tx, d.SignIn.Sealer, browser)
		})
		if err != nil {
			return err
		}
		if query != "" {
			to = site.Local(signedOutPath) + query
		}
	}
	seeOther(w, to)
	return nil
}

// logoutContinue answers the browser after the user confirmed or refused on the page.
func (d *Door) logoutContinue(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), web.CallerOf(r)
	flow, err := flowID(r)
	if err != nil {
		return err
	}
	browser := web.Browser(w, r)
	f, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (signin.Flow, error) {
		f, err := d.SignIn.Finish(ctx, tx, flow, browserOf(r, browser, flow))
		switch {
		case err != nil:
			return f, err
		case f.Kind != signin.SignOut:
			return f, signin.ErrGone // rolled back: this door does not consume another kind of flow
		case f.Denied || f.Session.IsZero():
			return f, nil
		}
		// The page has usually ended the session already.
		return f, logout.EndHere(ctx, tx, f.Session)
	})
	if errors.Is(err, signin.ErrNotDone) {
		seeOther(w, web.SiteOf(r).Local(signoutPath)+"?flow="+flow.String())
		return nil
	}
	if err != nil {
		return err
	}
	var e ending
	if err := json.Unmarshal(f.Request, &e); err != nil {
		return err
	}
	if f.Denied { // the user stays signed in, and the application is not told
		seeOther(w, web.SiteOf(r).Local("/account"))
		return nil
	}
	return d.ended(w, r, e, f.Session)
}
