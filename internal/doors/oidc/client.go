package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxAssertionLife bounds how far ahead a client assertion may expire. Its jti is stored that long.
const maxAssertionLife = 10 * time.Minute

// maxJTI bounds the jti of a client assertion, in bytes.
const maxJTI = 256

// authenticate returns the client that sent a form request, and its parameters. It fails with the
// same invalid_client whether the client is unknown, disabled or shows a wrong credential.
func (d *Door) authenticate(r *http.Request) (*application.Application, params, error) {
	form, err := web.Form(r)
	if err != nil {
		return nil, params{}, err
	}
	p, err := paramsOf(form)
	if err != nil {
		return nil, params{}, invalidRequest("%s", sentence(err))
	}
	if p.repeated != "" {
		return nil, params{}, invalidRequest("%s was sent more than once.", p.repeated)
	}
	shown, err := parseClientAuth(r, p)
	if err != nil {
		return nil, params{}, err
	}
	ctx, c := r.Context(), web.CallerOf(r)
	app, err := d.Applications.ByClientID(ctx, c, shown.clientID)
	if err != nil && fault.Of(err) != fault.NotFound {
		return nil, params{}, err
	}
	valid, cause := false, "There is no such client."
	if err == nil {
		cause = "The client is disabled."
	}
	if err == nil && app.Status == application.Active {
		cause = fmt.Sprintf("The client is registered for %s. Its authentication by %s is wrong.", app.AuthMethod,
			shown.method)
		valid, err = d.checkClient(ctx, c, app, shown, web.SiteOf(r).Base)
		if why, ok := errors.AsType[assertionRefusal](err); ok {
			cause, err = "The client assertion does not count: "+why.Error()+".", nil
		}
		if err != nil {
			return nil, params{}, err
		}
	}
	basic := r.Header.Get("Authorization") != ""
	if !valid && app != nil && app.AuthMethod == application.AuthNone &&
		(shown.method == application.AuthBasic || shown.method == application.AuthPost) {
		return nil, params{}, invalidClient("This application has no secret. Send its client_id only.", basic)
	}
	if !valid {
		e := invalidClient("The client is unknown or disabled, or its authentication is wrong.", basic)
		e.cause = cause
		return nil, params{}, e
	}
	return app, p, nil
}

// checkClient reports whether a client authenticated as it was registered. Basic and post carry the
// same secret and are interchangeable. Every other mixture is refused, so that a client that has a
// key cannot omit it.
func (d *Door) checkClient(
	ctx context.Context, c caller.Caller, app *application.Application, shown presented, issuer string,
) (bool, error) {
	switch shown.method {
	case application.AuthNone:
		return app.AuthMethod == application.AuthNone, nil
	case application.AuthBasic, application.AuthPost:
		now := d.Clock.Now()
		return app.AuthMethod.Secret() && (app.CheckSecret(secret.HashOf(shown.secret), now) ||
			shown.plain != "" && app.CheckSecret(secret.HashOf(shown.plain), now)), nil
	case application.AuthJWT:
		return d.checkAssertion(ctx, c, app, shown.assertion, issuer)
	}
	return false, nil
}

// assertionRefusal says why a client assertion does not count. It is for the log and the audit log.
type assertionRefusal string

func (r assertionRefusal) Error() string { return string(r) }

// checkAssertion checks a private_key_jwt (RFC 7523 §3). It is signed by a key of the client, about
// the client, for this issuer only, current, and used once.
func (d *Door) checkAssertion(
	ctx context.Context, c caller.Caller, app *application.Application, assertion, issuer string,
) (bool, error) {
	refused := func(why string) (bool, error) {
		return false, assertionRefusal(why)
	}
	if app.AuthMethod != application.AuthJWT {
		return refused("the application does not authenticate by private_key_jwt")
	}
	keys, err := d.keysOf(ctx, c, app)
	if err != nil {
		return false, err
	}
	payload, err := jose.Verify(assertion, []string{"", jose.TypeJWT, "client-authentication+jwt"}, keys.Find)
	if err != nil {
		return refused("its signature is wrong, or by no key of the application")
	}
	var claims jose.Claims
	if json.Unmarshal(payload, &claims) != nil {
		return refused("its claims cannot be read")
	}
	now := d.Clock.Now()
	switch {
	case claims.Issuer != app.ClientID, claims.Subject != app.ClientID:
		return refused("iss and sub must be the client_id")
	case len(claims.Audience) != 1 || claims.Audience[0] != issuer:
		return refused("aud must be the issuer " + issuer + " alone")
	case !claims.Current(now):
		return refused("it has expired, or begins later")
	case claims.Expiry.Time().Sub(now) > maxAssertionLife+jose.Skew: // the client's clock may be ahead
		return refused("exp is more than ten minutes ahead")
	case claims.ID == "", len(claims.ID) > maxJTI, !printable(claims.ID):
		return refused("jti is missing, too long or not printable")
	}
	first, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (bool, error) {
		return grant.UseJTI(ctx, tx, app.ClientID, claims.ID, claims.Expiry.Time())
	})
	if err == nil && !first {
		return refused("its jti was used before")
	}
	return first, err
}

// keySetKey identifies a parsed key set. It changes with the application.
type keySetKey struct {
	app     id.ID
	updated time.Time
}

func (d *Door) keysOf(ctx context.Context, c caller.Caller, app *application.Application) (jose.Set, error) {
	return d.clients.Get(ctx, c.Tenant, keySetKey{app.ID, app.UpdatedAt}, func(context.Context) (jose.Set, error) {
		set, err := jose.ParseSet(app.JWKS)
		if err != nil {
			return nil, errors.Join(errors.New("oidc: a stored key set cannot be read"), err)
		}
		return set, nil
	})
}

// actorOf returns the caller with the application as its actor.
func actorOf(c caller.Caller, app *application.Application) caller.Caller {
	return c.As(caller.Actor{Kind: caller.Application, ID: app.ID, Tenant: c.Tenant, Name: app.Name})
}

// sentence returns the message of err as a sentence.
func sentence(err error) string {
	s := err.Error()
	return string(s[0]-'a'+'A') + s[1:] + "."
}
