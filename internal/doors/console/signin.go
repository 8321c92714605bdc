package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// signIn gives the browser a console session and sends it to the route of the app in the parameter
// return. A person who is not signed in well enough first goes to the pages of iam/signin.
func (d *Door) signIn(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), web.CallerOf(r)
	to := routeOf(r.URL.Query().Get("return"))
	now, err := db.Read(ctx, d.DB, c, func(tx *db.Tx) (signin.Standing, error) {
		return d.SignIn.BeginWith(ctx, tx, web.Cookies(r, session.Cookie), signin.ToConsole([]byte(to)))
	})
	if err != nil {
		return err
	}
	if now.Next() == signin.Done {
		return d.open(w, r, *now.Session, to, nil)
	}
	text, err := d.SignIn.CarryOrStore(ctx, d.DB, c, now, web.Browser(w, r))
	if err != nil {
		return err
	}
	if text != "" {
		web.SetCookieOf(w, r, signin.CarriedCookie, now.Flow.ID.String(), text, signin.Lifetime)
	}
	seeOther(w, web.SiteOf(r).Local("/signin")+"?flow="+now.Flow.ID.String())
	return nil
}

// finish gives the browser its console session when the pages are done. The browser brings only the
// flow's id: the flow is its own, and has the route to return to.
func (d *Door) finish(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	flow, err := id.Parse(r.URL.Query().Get("flow"))
	if err != nil {
		seeOther(w, web.SiteOf(r).Local(root))
		return nil
	}
	b := signin.Browser{Secret: web.Browser(w, r), Tokens: web.Cookies(r, session.Cookie),
		Carried: web.CookiesOf(r, signin.CarriedCookie, flow.String())}
	now, err := db.Read(ctx, d.DB, web.CallerOf(r), func(tx *db.Tx) (signin.Standing, error) {
		return d.SignIn.Read(ctx, tx, flow, b)
	})
	switch {
	case errors.Is(err, signin.ErrGone): // such as after Back: the app asks for a sign-in if it needs one
		seeOther(w, web.SiteOf(r).Local(root))
		return nil
	case err != nil:
		return err
	case now.Flow.Kind != signin.Console:
		return signin.ErrGone
	case now.Flow.Denied: // the person went back from a refusal
		seeOther(w, web.SiteOf(r).Local("/account"))
		return nil
	case now.Next() != signin.Done || now.Session == nil || now.Session.ID != now.Flow.Session:
		seeOther(w, web.SiteOf(r).Local("/signin")+"?flow="+flow.String())
		return nil
	}
	web.ClearCookieOf(w, r, signin.CarriedCookie, flow.String())
	err = d.open(w, r, *now.Session, routeOf(string(now.Flow.Request)), func(ctx context.Context, tx *db.Tx) error {
		_, err := signin.Finish(ctx, tx, flow, b.Secret)
		return err
	})
	switch {
	case errors.Is(err, signin.ErrNotDone):
		seeOther(w, web.SiteOf(r).Local("/signin")+"?flow="+flow.String())
		return nil
	case errors.Is(err, signin.ErrGone): // a second request of the same browser was faster
		seeOther(w, web.SiteOf(r).Local(root))
		return nil
	}
	return err
}

// open opens a console session for the browser's session, and sends the browser to a route of the
// app. before, if not nil, runs first in the same transaction.
func (d *Door) open(w http.ResponseWriter, r *http.Request, on session.Session, to string,
	before func(context.Context, *db.Tx) error) error {
	ctx, c := r.Context(), web.CallerOf(r)
	token, err := db.Write(ctx, d.DB, c.As(on.Actor(c.Tenant)), func(tx *db.Tx) (secret.String, error) {
		if before != nil {
			if err := before(ctx, tx); err != nil {
				return "", err
			}
		}
		if on.Stale(tx.Now()) {
			session.Touch(tx, on.ID)
		}
		return session.OpenConsole(ctx, tx, on)
	})
	if err != nil {
		return err
	}
	session.SetConsoleCookie(w, r, token)
	seeOther(w, web.SiteOf(r).Local(strings.TrimSuffix(root, "/")+to))
	return nil
}

// maxRoute bounds a route of the app, in bytes.
const maxRoute = 1 << 10

// routeOf returns the route of the app that a text names, with its query, or "/" for any other
// text. What it returns stays within the console whatever a browser makes of it: it has no host,
// and no part that a browser takes for "..".
func routeOf(s string) string {
	const start = "/"
	u, err := url.Parse(s)
	if err != nil || len(s) > maxRoute || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.Contains(s, `\`) {
		return start
	}
	clean := path.Clean(u.Path)
	if strings.HasSuffix(u.Path, "/") && clean != "/" {
		clean += "/"
	}
	if clean != u.Path || signInPath == "/console"+u.Path || signin.ConsoleReturn == "/console"+u.Path {
		return start
	}
	return u.String()
}
