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
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Where the pages door takes over.
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

// authorizePost answers one sent by POST. Browsers hold our cookies back when another
// site's page posts (SameSite), so the browser is asked to come again by GET: only
// then can we see that it is signed in.
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

// authorizeTo goes on once it is known where errors go.
func (d *Door) authorizeTo(w http.ResponseWriter, r *http.Request, p params, app *application.Application, t target) error {
	ctx, c := r.Context(), web.CallerOf(r)
	q, err := parseRequest(p, app, t)
	if err != nil {
		return err
	}
	if hint := p.get("id_token_hint"); hint != "" {
		h, err := d.readHint(ctx, c, web.SiteOf(r).Base, hint)
		switch {
		case errors.Is(err, errHint):
			return t.fail(codeInvalidRequest, "id_token_hint is not an ID token of this issuer.")
		case err != nil:
			return err
		case q.Subject != "" && q.Subject != h.Subject:
			return t.fail(codeLoginRequired, "id_token_hint and the claims parameter name different people.")
		}
		q.Subject = h.Subject
	}
	s, err := d.situationOf(r, c, &q, app)
	if err != nil {
		return err
	}
	switch missing := q.decide(s); {
	case missing == "":
		return d.grant(w, r, app, &q, *s.session, nil)
	case q.None:
		return t.fail(missing, "prompt=none was asked for, but the person has to do something first.")
	}
	return d.interact(w, r, app, &q, s)
}

// situationOf finds out who is in front of the browser and what they have allowed.
func (d *Door) situationOf(r *http.Request, c caller.Caller, q *request, app *application.Application) (situation, error) {
	s := situation{ask: q.consentScopes(app)}
	err := d.DB.View(r.Context(), c, func(tx *db.Tx) error {
		s.now = tx.Now()
		found, err := session.Find(r.Context(), tx, web.Cookie(r, session.Cookie))
		if errors.Is(err, session.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		s.session = &found
		if s.verdict, err = d.MaySignIn(r.Context(), tx, found, app.ID); err != nil {
			return err
		}
		if len(s.ask) > 0 {
			s.consented, err = grant.Consented(r.Context(), tx, found.User, app.ID)
		}
		return err
	})
	return s, err
}

// interact sends the browser to the sign-in pages, which bring it back to
// authorizeContinue.
func (d *Door) interact(w http.ResponseWriter, r *http.Request, app *application.Application, q *request, s situation) error {
	n := signin.New{
		Kind: signin.Authorize, Browser: web.Browser(w, r), Application: app.ID, Request: q.encode(), ReturnTo: continuePath,
		LoginHint: q.LoginHint, Locales: q.Locales, Reauthenticate: q.Login, MaxAge: q.maxAge(), RequireMFA: q.RequireMFA,
		ConsentScopes: s.ask, ForceConsent: q.Consent,
	}
	// A session of somebody else than the request insists on is no credit at all.
	if s.session != nil && (q.Subject == "" || q.Subject == s.session.User.String()) {
		n.Credit = &signin.Credit{Session: s.session.ID, User: s.session.User, AMR: s.session.AMR, AuthTime: s.session.AuthTime}
	}
	var f signin.Flow
	err := d.DB.Update(r.Context(), web.CallerOf(r), func(tx *db.Tx) (err error) {
		f, err = signin.Begin(r.Context(), tx, n)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	seeOther(w, web.SiteOf(r).Local(signinPath)+"?flow="+f.ID.String())
	return nil
}

// grant gives the application its code and answers it. before, if not nil, runs in the
// same transaction and comes first.
func (d *Door) grant(w http.ResponseWriter, r *http.Request, app *application.Application, q *request, s session.Session, before func(context.Context, *db.Tx) error) error {
	acr, ok := q.acrOf(s)
	if !ok {
		return q.Target.fail(codeUnmetAuthentication, "The person could not sign in as strongly as the essential acr asks for.")
	}
	n := grant.New{
		Application: app.ID, User: s.User, UserName: s.UserName, Session: s.ID,
		Offline: slices.Contains(q.Scopes, scopeOffline), Scopes: q.Scopes, Nonce: q.Nonce,
		AuthTime: s.AuthTime, AMR: s.AMR, ACR: acr, Lifetime: app.Lifetimes.RefreshMax,
		RedirectURI: q.Target.URI, CodeChallenge: q.Challenge,
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
	err := d.DB.Update(r.Context(), c, func(tx *db.Tx) (err error) {
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
	q.Target.send(w, web.SiteOf(r).Base, map[string]string{"code": code.Reveal()})
	return nil
}
