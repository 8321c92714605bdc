package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// The paths of the sign-in pages, and of their way back.
const (
	signinPath   = "/signin"
	continuePath = "/oauth2/authorize/continue"
)

// maxRepeatedQuery is how long a query may be for a POST to be repeated as a GET, in bytes.
const maxRepeatedQuery = 6 << 10

// authorize answers an authorization request sent by GET (RFC 6749 §4.1.1, OpenID
// Connect Core §3.1.2).
func (d *Door) authorize(w http.ResponseWriter, r *http.Request) error {
	p, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return onPage("oauth.malformed", "The application sent a request that cannot be read: %v.", err)
	}
	return d.authorizeWith(w, r, p)
}

// authorizePost answers an authorization request sent by POST. Browsers do not send our cookies
// when another site's page posts (SameSite), so it redirects to the same request by GET, which
// shows that the browser is signed in.
func (d *Door) authorizePost(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if q := form.Encode(); len(q) <= maxRepeatedQuery {
		w.Header().Set("Referrer-Policy", "no-referrer")
		seeOther(w, web.SiteOf(r).Local("/oauth2/authorize")+"?"+q)
		return nil
	}
	p, err := paramsOf(form)
	if err != nil {
		return onPage("oauth.malformed", "The application sent a request that cannot be read: %v.", err)
	}
	return d.authorizeWith(w, r, p)
}

func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

func (d *Door) authorizeWith(w http.ResponseWriter, r *http.Request, p params) error {
	ctx, c := r.Context(), web.CallerOf(r)
	app, t, err := d.checkTarget(ctx, c, p)
	if err != nil {
		return err
	}
	return atTarget(ctx, t, d.authorizeTo(w, r, p, app, t))
}

// authorizeTo handles the request once its redirect URI is known to be good.
func (d *Door) authorizeTo(w http.ResponseWriter, r *http.Request, p params, app *application.Application,
	t target) error {
	ctx, c := r.Context(), web.CallerOf(r)
	q, err := parseRequest(p, app, t)
	if err != nil {
		return err
	}
	if err := q.name(ctx, d, c, p, app); err != nil {
		return err
	}
	if hint := p.get("id_token_hint"); hint != "" {
		h, err := d.readHint(ctx, c, hint)
		switch {
		case errors.Is(err, errHint):
			return t.fail(codeInvalidRequest, "id_token_hint is not an ID token of this issuer.")
		case err != nil:
			return err
		case q.Subject != "" && q.Subject != h.Subject:
			return t.fail(codeLoginRequired, "id_token_hint and the claims parameter name different people.")
		}
		q.Subject, q.SubjectOf = h.Subject, h.client()
	}
	key, err := d.subjectKey(ctx, c, app, q.SubjectOf)
	if err != nil {
		return err
	}
	now, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (signin.Standing, error) {
		return d.begin(ctx, tx, web.Cookies(r, session.Cookie), q.demand(app), key)
	})
	if err != nil {
		return err
	}
	switch code := missing(now.Next()); {
	case code == "":
		return d.grant(w, r, app, &q, *now.Session, nil)
	case q.None:
		return t.fail(code, "prompt=none was asked for, but the person has to do something first.")
	}
	return d.interact(w, r, now, signinPath)
}

// interact begins the flow and sends the browser to its first page. The pages bring it back to
// authorizeContinue or logoutContinue.
func (d *Door) interact(w http.ResponseWriter, r *http.Request, s signin.Standing, page string) error {
	text, err := d.SignIn.CarryOrStore(r.Context(), d.DB, web.CallerOf(r), s, web.Browser(w, r))
	if err != nil {
		return err
	}
	if text != "" {
		web.SetCookieOf(w, r, signin.CarriedCookie, s.Flow.ID.String(), text, signin.Lifetime)
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	seeOther(w, web.SiteOf(r).Local(page)+"?flow="+s.Flow.ID.String())
	return nil
}

// grant creates the application's code and sends it. before, if not nil, runs first in the same
// transaction.
func (d *Door) grant(w http.ResponseWriter, r *http.Request, app *application.Application, q *request,
	s session.Session, before func(context.Context, *db.Tx) error) error {
	acr, ok := q.acrOf(s)
	if !ok {
		return q.Target.fail(codeUnmetAuthentication,
			"The person could not sign in as strongly as the essential acr asks for.")
	}
	n := grant.New{
		Application: app.ID, User: s.User, Session: s.ID,
		Offline: app.Outlives(q.Scopes),
		Scopes:  q.Scopes, Resources: q.Resources, Nonce: q.Nonce,
		AuthTime: s.AuthTime, AMR: s.AMR, ACR: acr, Lifetime: app.Lifetimes.RefreshMax, Generation: s.Generation,
		ApplicationGeneration: app.Generation,
		Issuer:                web.SiteOf(r).Base, RedirectURI: q.Target.URI, CodeChallenge: q.Challenge,
	}
	if len(q.Claims.IDToken)+len(q.Claims.Userinfo) > 0 {
		b, err := json.Marshal(q.Claims)
		if err != nil {
			return err
		}
		n.Claims = string(b)
	}
	c := web.CallerOf(r)
	c = c.As(s.Actor(c.Tenant))
	var code secret.String
	err := d.DB.Update(r.Context(), c, func(tx *db.Tx) error {
		var err error
		if before != nil {
			if err := before(r.Context(), tx); err != nil {
				return err
			}
		}
		if s.Stale(tx.Now()) {
			session.Touch(tx, s.ID)
		}
		_, code, err = grant.Create(r.Context(), tx, n)
		return err
	})
	if err != nil {
		return err
	}
	values := map[string]string{"code": code.Reveal()}
	if slices.Contains(q.Scopes, scopeOpenID) {
		state := session.BrowserState(s.ID)
		if !slices.Contains(web.Cookies(r, session.StateCookie), state) { // a sign-in of an earlier release
			web.SetReadableCookie(w, r, session.StateCookie, state, 0)
		}
		if v := sessionState(app.ClientID, q.Target.URI, state); v != "" {
			values["session_state"] = v
		}
	}
	q.Target.send(w, web.SiteOf(r).Base, values)
	return nil
}
