package oidc

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// authorizeContinue answers the application when the sign-in pages are done. The answer depends
// only on the flow's row, the session and what is true now. The browser brings only the flow's id.
func (d *Door) authorizeContinue(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), web.CallerOf(r)
	flow, err := flowID(r)
	if err != nil {
		return err
	}
	browser := web.Browser(w, r)
	was, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (finished, error) {
		f, err := d.SignIn.Load(ctx, tx, flow, browserOf(r, browser, flow))
		if err != nil {
			return finished{}, err
		}
		now, err := d.SignIn.Inspect(ctx, tx, f, web.Cookies(r, session.Cookie)...)
		if err != nil {
			return finished{}, err
		}
		was := finished{flow: f, next: now.Next()}
		if now.Session != nil {
			was.session = *now.Session
		}
		return was, nil
	})
	if err != nil {
		return err
	}
	f := was.flow
	q, err := decodeRequest(f.Request)
	if err != nil || f.Kind != signin.Authorize || q.Application != f.Application {
		return signin.ErrGone.Because(err)
	}
	// The application may have changed since the flow began.
	app, err := d.Applications.ByID(ctx, c, f.Application)
	if err != nil {
		return err
	}
	if app.Status != application.Active || !app.MatchesRedirect(q.Target.URI) {
		return onPage("oauth.client_changed",
			"The application was changed while you signed in. Go back to it and start again.")
	}
	err = d.finish(w, r, app, was, &q, browser)
	if errors.Is(err, signin.ErrNotDone) {
		seeOther(w, web.SiteOf(r).Local(signinPath)+"?flow="+f.ID.String())
		return nil
	}
	if errors.Is(err, signin.ErrGone) {
		return err // another request consumed it: there is nothing left to answer
	}
	err = atTarget(ctx, q.Target, err)
	if e, ok := errors.AsType[*redirectError](err); ok {
		e.client = app.ClientID
	}
	return err
}

// finished is a flow that the pages say is done.
type finished struct {
	flow    signin.Flow     // as it was saved
	next    signin.Step     // what it needs by what is true now
	session session.Session // the browser's; zero without one
}

// finish consumes the flow and answers the application.
func (d *Door) finish(w http.ResponseWriter, r *http.Request, app *application.Application, was finished, q *request,
	browser string) error {
	f, s := was.flow, was.session
	key, err := d.subjectKey(r.Context(), web.CallerOf(r), app, q.SubjectOf)
	if err != nil {
		return err
	}
	consume := func(ctx context.Context, tx *db.Tx) error {
		_, err := signin.Finish(ctx, tx, f.ID, browser)
		return err
	}
	refuse := func(code, description string) error {
		err := d.DB.Update(r.Context(), web.CallerOf(r), func(tx *db.Tx) error { return consume(r.Context(), tx) })
		if err != nil {
			return err
		}
		return q.Target.fail(code, "%s", description)
	}
	switch {
	case f.Denied && f.Refused:
		return refuse(codeAccessDenied, "The person may not sign in to this application.")
	case f.Denied:
		return refuse(codeAccessDenied, "The person did not allow this.")
	case f.Session.IsZero():
		return signin.ErrNotDone
	case s.ID != f.Session || s.User != f.User:
		return refuse(codeLoginRequired, "The session that was started for this has ended already.")
	case q.Subject != "" && q.Subject != key.Of(s.User):
		return refuse(codeLoginRequired, "Another user signed in than the request asked for.")
	}
	// More may be required since the pages were done: an authenticator app was set up elsewhere,
	// or the policies changed.
	if was.next != signin.Done {
		return signin.ErrNotDone
	}
	if _, ok := q.acrOf(s); !ok {
		return refuse(codeUnmetAuthentication,
			"The person could not sign in as strongly as the essential acr asks for.")
	}
	web.ClearCookieOf(w, r, signin.CarriedCookie, f.ID.String())
	return d.grant(w, r, app, q, s, consume)
}

// browserOf returns what the browser brings for a flow.
func browserOf(r *http.Request, browser string, flow id.ID) signin.Browser {
	return signin.Browser{Secret: browser, Tokens: web.Cookies(r, session.Cookie),
		Carried: web.CookiesOf(r, signin.CarriedCookie, flow.String())}
}

// flowID returns the flow in the address that the pages return to.
func flowID(r *http.Request) (id.ID, error) {
	p, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return id.ID{}, signin.ErrGone
	}
	flow, err := id.Parse(p.get("flow"))
	if err != nil {
		return id.ID{}, signin.ErrGone
	}
	return flow, nil
}
