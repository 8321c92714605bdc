package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// byProgram reports whether a client sent a logout request itself, with its credentials, instead of
// sending the browser.
func byProgram(r *http.Request, form url.Values) bool {
	return r.Header.Get("Authorization") != "" || form.Has("client_secret") || form.Has("client_assertion") ||
		form.Has("client_assertion_type")
}

// logoutByClient ends the session that an ID token names, for the confidential client to which it
// was issued. The client proves who it is, and that it took part in the session. So the user does
// not have to confirm, and the browser is not needed. A session that has ended already is fine.
func (d *Door) logoutByClient(w http.ResponseWriter, r *http.Request) error {
	app, p, err := d.authenticate(r)
	if err != nil {
		return err
	}
	if app.AuthMethod == application.AuthNone {
		return invalidClient("Only clients that authenticate may end a session without its browser.", false)
	}
	ctx, c := r.Context(), web.CallerOf(r)
	ended, err := d.sessionOfHint(ctx, c, app, p.get("id_token_hint"))
	if err != nil {
		return err
	}
	err = d.DB.Update(ctx, actorOf(c, app), func(tx *db.Tx) error {
		return logout.End(ctx, tx, ended, "signout")
	})
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sessionOfHint returns the session of an ID token that was issued to app.
func (d *Door) sessionOfHint(
	ctx context.Context, c caller.Caller, app *application.Application, token string,
) (id.ID, error) {
	if token == "" {
		return id.ID{}, invalidRequest("id_token_hint is missing. Send an ID token of the session that shall end.")
	}
	h, err := d.readHint(ctx, c, token)
	switch {
	case errors.Is(err, errHint):
		return id.ID{}, invalidRequest("id_token_hint is not an ID token of this issuer.")
	case err != nil:
		return id.ID{}, err
	case !slices.Contains(h.Audience, app.ClientID), h.IssuedAt.Before(app.CreatedAt.Truncate(time.Second)):
		// An earlier application may have had the same client_id.
		return id.ID{}, invalidRequest("id_token_hint was issued to another client.")
	}
	ended, err := id.Parse(h.Session)
	if err != nil {
		return id.ID{}, invalidRequest("id_token_hint names no session: it has no sid.")
	}
	return ended, nil
}

// errNoBrowser answers a program that called the logout endpoint as if it were the person's
// browser. The redirect to a page that says "signed out" would mislead it.
var errNoBrowser = invalidRequest("No session came with this request, so none was ended. Send the person's browser " +
	"here. Or end the session of an ID token by POST, with id_token_hint and the credentials of a confidential client.")

// fromProgram reports whether a request cannot be a person's browser: it has no cookie and wants no
// page.
func fromProgram(r *http.Request) bool {
	return r.Header.Get("Cookie") == "" && r.Header.Get("Sec-Fetch-Mode") == "" &&
		!strings.Contains(r.Header.Get("Accept"), "text/html")
}
