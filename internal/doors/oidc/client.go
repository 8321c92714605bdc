package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxAssertionLife bounds how far ahead a client assertion may expire. Its jti is stored that long.
// An hour is what Authlib gives by default.
const maxAssertionLife = time.Hour

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
		if e, ok := errors.AsType[*apiError](err); ok { // a refused authentication, whatever its code
			e.client = true
		}
		return nil, params{}, err
	}
	ctx, c := r.Context(), web.CallerOf(r)
	app, err := d.Applications.ByClientID(ctx, c, shown.clientID)
	switch {
	case err != nil && fault.Of(err) == fault.NotFound:
		err = authRefusal{why: "There is no such client."}
	case err == nil && app.Status != application.Active:
		err = authRefusal{why: "The client is disabled."}
	case err == nil:
		err = d.checkClient(ctx, c, app, shown, web.SiteOf(r).Base)
	}
	if refused, ok := errors.AsType[authRefusal](err); ok {
		e := invalidClient("The client is unknown or disabled, or its authentication is wrong.",
			r.Header.Get("Authorization") != "")
		e.cause = refused.why
		if refused.tell {
			e.description = refused.why
		}
		err = e
	}
	if err != nil {
		return nil, params{}, err
	}
	return app, p, nil
}

// authRefusal says why a client's authentication is refused. The log and the audit log have it.
type authRefusal struct {
	why  string
	tell bool // the answer has it too, because it tells a stranger nothing
}

func (r authRefusal) Error() string { return r.why }

// checkClient fails with an authRefusal unless a client authenticated as it was registered. Basic
// and post carry the same secret and are interchangeable. Every other mixture is refused, so that a
// client that has a key cannot omit it.
func (d *Door) checkClient(
	ctx context.Context, c caller.Caller, app *application.Application, shown presented, issuer string,
) error {
	secretShown := shown.method == application.AuthBasic || shown.method == application.AuthPost
	switch {
	case secretShown && app.AuthMethod == application.AuthNone:
		return authRefusal{"This application has no secret. Send its client_id only.", true}
	case secretShown && app.AuthMethod == application.AuthJWT:
		return authRefusal{"This application has no secret. It authenticates by private_key_jwt (RFC 7523).", true}
	case secretShown:
		now := d.Clock.Now()
		if app.CheckSecret(secret.HashOf(shown.secret), now) ||
			shown.plain != "" && app.CheckSecret(secret.HashOf(shown.plain), now) {
			return nil
		}
	case shown.method == application.AuthJWT && app.AuthMethod == application.AuthJWT:
		return d.checkAssertion(ctx, c, app, shown.assertion, issuer)
	case shown.method == app.AuthMethod: // none
		return nil
	}
	return authRefusal{why: fmt.Sprintf("The client is registered for %s. Its authentication by %s is wrong.",
		app.AuthMethod, shown.method)}
}

// checkAssertion checks a private_key_jwt (RFC 7523 §3). It is signed by a key of the client, about
// the client, for this tenant only, current, and used once. It fails with an authRefusal. The
// client is told why as soon as the signature proves that it is the client.
func (d *Door) checkAssertion(
	ctx context.Context, c caller.Caller, app *application.Application, assertion, issuer string,
) error {
	signed := false
	refused := func(why string, args ...any) error {
		return authRefusal{"The client assertion does not count: " + fmt.Sprintf(why, args...) + ".", signed}
	}
	keys, err := d.keysOf(ctx, c, app)
	if err != nil {
		return err
	}
	var unread error
	payload, err := jose.Verify(assertion, []string{"", jose.TypeJWT, "client-authentication+jwt"},
		func(kid string) []jose.PublicKey {
			var found []jose.PublicKey
			found, unread = d.find(ctx, c, keys, kid)
			return found
		})
	if unread != nil {
		return authRefusal{why: "The keys of the application cannot be read from its jwks_uri. " + unread.Error()}
	}
	if err != nil {
		return refused("its signature is wrong, or by no key of the application")
	}
	signed = true
	var claims jose.Claims
	if jose.ReadClaims(payload, &claims) != nil {
		return refused("its claims cannot be read")
	}
	meant, err := d.meansTenant(ctx, c, app, claims.Audience)
	if err != nil {
		return err
	}
	now := d.Clock.Now()
	life := claims.Expiry.Time().Sub(now)
	switch {
	case claims.Issuer != app.ClientID, claims.Subject != app.ClientID:
		return refused("iss and sub must be the client_id")
	case !meant && app.TokenEndpointAudience:
		return refused("aud must be the issuer %s or the token endpoint %s", issuer, issuer+tokenPath)
	case !meant:
		return refused("aud must be the issuer %s alone", issuer)
	case !claims.Current(now):
		return refused("it has expired, or begins later")
	case life > maxAssertionLife+jose.Skew: // the client's clock may be ahead
		return refused("exp is %d seconds ahead, and at most %d are accepted", life/time.Second,
			maxAssertionLife/time.Second)
	case claims.ID == "", len(claims.ID) > maxJTI, !printable(claims.ID):
		return refused("jti is missing, longer than %d bytes or not printable", maxJTI)
	}
	first, err := db.Write(ctx, d.DB, c, func(tx *db.Tx) (bool, error) {
		return grant.UseJTI(ctx, tx, app.ClientID, claims.ID, claims.Expiry.Time())
	})
	if err == nil && !first {
		return refused("its jti was used before")
	}
	return err
}

// meansTenant reports whether the audience of a client assertion is the tenant alone, by any of its
// issuers (RFC 7523bis §4). RFC 7523 §3 suggested the token endpoint. Another server of the client
// could choose that address, and use there what the client sends to it. So only an application
// whose libraries know nothing else accepts it.
func (d *Door) meansTenant(
	ctx context.Context, c caller.Caller, app *application.Application, audience jose.Audience,
) (bool, error) {
	most := 1
	if app.TokenEndpointAudience { // some libraries send both
		most = 2
	}
	if len(audience) == 0 || len(audience) > most {
		return false, nil
	}
	for _, a := range audience {
		if app.TokenEndpointAudience {
			a = strings.TrimSuffix(a, tokenPath)
		}
		err := d.verifier.CheckIssuer(ctx, c.Tenant, a)
		if errors.Is(err, grant.ErrToken) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
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
