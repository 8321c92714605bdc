package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// maxResources is how many APIs one authorization may be for.
const maxResources = 8

// targetError is an answer of invalid_target (RFC 8707 §2).
type targetError struct{ reason string }

func (e *targetError) Error() string { return codeInvalidTarget + ": " + e.reason }

func badTarget(reason string, args ...any) error {
	return &targetError{fmt.Sprintf(reason, args...)}
}

// targetRefused returns err as an error of the token endpoint, if it is a targetError.
func targetRefused(err error) error {
	if e, ok := errors.AsType[*targetError](err); ok {
		return badRequest(codeInvalidTarget, e.reason)
	}
	return err
}

// resources returns the APIs that a request names by resource (RFC 8707) and audience, in their
// order, or byDefault if it names none. For a base of the tenant that is Tenant, and for a built-in
// API a name that begins with it.
//
// In a tenant that has registered no API, what is not built in means nothing, as to a server that
// knows no resources. Some clients send them to every server.
func (d *Door) resources(ctx context.Context, c caller.Caller, p params, byDefault string) ([]string, error) {
	named, audience := slices.Clone(p.lists["resource"]), p.lists["audience"]
	if len(named) == 0 && len(audience) == 0 {
		if byDefault == "" {
			return nil, nil
		}
		named = []string{byDefault}
	} else if byDefault == "" {
		if exist, err := d.APIs.Exist(ctx, c); err != nil {
			return nil, err
		} else if !exist {
			return d.onlyBuiltIn(ctx, c, append(named, audience...))
		}
	}
	if len(audience) > 1 {
		return nil, badTarget("audience was sent more than once. Send resource for each API instead.")
	}
	if named = distinct(append(named, audience...)); len(named) > maxResources {
		return nil, badTarget("resource names more than %d APIs.", maxResources)
	}
	for i, uri := range named {
		if !resourceserver.ValidIdentifier(uri) {
			return nil, badTarget("resource must be an absolute URI without a fragment (RFC 8707).")
		}
		name, ours, err := d.nameOf(ctx, c, uri)
		if err != nil {
			return nil, err
		}
		if ours {
			named[i] = name
		}
	}
	err := d.respell(ctx, c, named)
	return distinct(named), err // two texts may have named one API
}

// onlyBuiltIn is resources for a tenant that has registered no API.
func (d *Door) onlyBuiltIn(ctx context.Context, c caller.Caller, uris []string) ([]string, error) {
	var named []string
	for _, uri := range uris[:min(len(uris), maxResources)] {
		if uri != web.SiteIn(ctx).Base && !resourceserver.EndsBuiltIn(uri) { // most have another host: ask nothing
			continue
		}
		name, ours, err := d.nameOf(ctx, c, uri)
		if err != nil {
			return nil, err
		}
		if ours {
			named = append(named, name)
		}
	}
	return distinct(named), nil
}

// distinct returns the first of each value, in their order.
func distinct(values []string) []string {
	var out []string
	for _, v := range values {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// nameOf is resourceserver.NameOf with the bases of the tenant.
func (d *Door) nameOf(ctx context.Context, c caller.Caller, uri string) (string, bool, error) {
	return resourceserver.NameOf(uri, func(base string) (bool, error) {
		err := d.verifier.CheckIssuer(ctx, c.Tenant, base)
		if errors.Is(err, grant.ErrToken) {
			return false, nil
		}
		return err == nil, err
	})
}

// resource is resources of a token request, which may name one API at most: no token is for two.
func (d *Door) resource(ctx context.Context, c caller.Caller, p params, byDefault string) (string, error) {
	named, err := d.resources(ctx, c, p, byDefault)
	switch {
	case err != nil:
		return "", err
	case len(named) > 1:
		return "", badTarget("An access token is for one API. Send a request for each.")
	case len(named) == 0:
		return "", nil
	}
	return named[0], nil
}

// admitted returns the API that is built in or that find finds, if app may ask for its tokens.
func admitted(ctx context.Context, app *application.Application, identifier string,
	find func() (*resourceserver.API, error)) (*resourceserver.API, error) {
	a, err := resourceserver.Named(identifier, web.SiteIn(ctx).Base, find)
	if fault.Of(err) == fault.NotFound || err == nil && a != nil && !a.Admits(app) {
		return nil, badTarget("The API %s is not registered here, or this application may not ask for it: it needs "+
			"one of the API's scopes, or a place in its list.", addressOf(ctx, identifier))
	}
	return a, err
}

// api returns an API of which app may get tokens, and nil for the tenant itself.
func (d *Door) api(ctx context.Context, c caller.Caller, app *application.Application, identifier string) (
	*resourceserver.API, error) {
	return admitted(ctx, app, identifier, func() (*resourceserver.API, error) {
		return d.APIs.ByIdentifier(ctx, c, identifier)
	})
}

// apiOf returns the API of which g gives app a token. asked is the one that the request names, or
// "": then it is the first of the grant (RFC 8707 §2.2).
func (d *Door) apiOf(ctx context.Context, tx *db.Tx, app *application.Application, g grant.Grant, asked string) (
	*resourceserver.API, error) {
	granted := g.Resources
	if len(granted) == 0 {
		granted = []string{resourceserver.Tenant}
	}
	if asked == "" {
		asked = granted[0]
	}
	if !slices.Contains(granted, asked) {
		return nil, badTarget("The authorization was not for %s. Name it in the authorization request too.",
			addressOf(ctx, asked))
	}
	return admitted(ctx, app, asked, func() (*resourceserver.API, error) { return d.APIs.Within(ctx, tx, asked) })
}

// addressOf returns what a grant calls an API or the tenant as a client calls it.
func addressOf(ctx context.Context, name string) string {
	if path, ours := strings.CutPrefix(name, resourceserver.Tenant); ours && (path == "" || path[0] == '/') {
		return web.SiteIn(ctx).Base + path
	}
	return name
}

// scopesAt returns those of scopes that a token for api may have: its own, and those about the
// person. nil stands for the tenant itself, which takes every scope.
func scopesAt(api *resourceserver.API, scopes []string) []string {
	if api == nil {
		return scopes
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
		return !resourceserver.AboutPeople(s) && !api.Has(s)
	})
}

// asked is what a request asks for.
type asked struct {
	scopes    []string
	resources []string              // of grant.Grant
	apis      []*resourceserver.API // of resources; nil for the tenant itself
}

// ask returns the APIs that a request names, or app's default, and those of scopes that at least
// one of them has. It fails with a targetError, or with errNoScope.
func (d *Door) ask(ctx context.Context, c caller.Caller, p params, app *application.Application, scopes []string) (
	asked, error) {
	named, err := d.resources(ctx, c, p, app.DefaultAPI)
	if err != nil || len(named) == 0 {
		return asked{scopes: scopes}, err
	}
	a := asked{resources: named, apis: make([]*resourceserver.API, len(named))}
	for i := range named {
		if a.apis[i], err = d.api(ctx, c, app, named[i]); err != nil {
			return asked{}, err
		}
	}
	a.scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
		return !slices.ContainsFunc(a.apis, func(a *resourceserver.API) bool {
			return len(scopesAt(a, []string{s})) > 0
		})
	})
	if len(a.scopes) == 0 {
		return asked{}, errNoScope
	}
	return a, nil
}

// errNoScope is returned for a request without a scope of an API that it names.
var errNoScope = errors.New("oidc: no scope at the API")

const noScopeThere = "scope names nothing that this application may ask for at the API."

// name makes the request one for APIs, and keeps the scopes that at least one of them has.
func (q *request) name(ctx context.Context, d *Door, c caller.Caller, p params, app *application.Application) error {
	a, err := d.ask(ctx, c, p, app, q.Scopes)
	if e, ok := errors.AsType[*targetError](err); ok {
		return q.Target.fail(codeInvalidTarget, "%s", e.reason)
	}
	if errors.Is(err, errNoScope) {
		return q.Target.fail(codeInvalidScope, noScopeThere)
	}
	if err != nil {
		return err
	}
	q.Scopes, q.Resources, q.apis = a.scopes, a.resources, a.apis
	return q.meet(resourceserver.DemandOf(a.apis...))
}

// meet makes the request ask for at least what its APIs demand of the sign-in.
func (q *request) meet(demand resourceserver.Demand) error {
	if demand.TwoFactors {
		if len(q.ACR) > 0 && !slices.Contains(q.ACR, signin.TwoFactors) {
			return q.Target.fail(codeUnmetAuthentication, "An API of the request asks for %s, which the essential acr "+
				"excludes.", signin.TwoFactors)
		}
		q.RequireMFA = true
	}
	if demand.MaxAge != nil {
		most := int64(*demand.MaxAge / time.Second)
		if q.MaxAge == nil || *q.MaxAge > most {
			q.MaxAge = &most
		}
	}
	return nil
}

// enough fails with an apiError unless the sign-in of a grant, which was age ago, is what api
// demands. The person has to sign in again, so the client is told to begin again.
func enough(api *resourceserver.API, g grant.Grant, age time.Duration) error {
	if resourceserver.DemandOf(api).Meets(g.ACR, age) {
		return nil
	}
	return invalidGrant("The API " + api.Identifier + " asks for a stronger or more recent sign-in. Send the person " +
		"to the authorization endpoint.")
}

// audience returns the audience of a token. A token with openid for an API is good at userinfo too,
// where clients take it. It is not for one of the type JWT: our own doors take no such token.
func (m mint) audience(scopes []string) []string {
	if m.api == nil {
		return []string{m.issuer}
	}
	out := []string{m.api.Identifier}
	if at := m.userinfo(scopes); at != "" && at != m.api.Identifier {
		out = append(out, at)
	}
	return out
}

// userinfo returns the address of userinfo if a token with scopes is good there, or "".
func (m mint) userinfo(scopes []string) string {
	if !slices.Contains(scopes, scopeOpenID) || m.api != nil && m.api.TokenProfile == resourceserver.JWT {
		return ""
	}
	return m.issuer + userinfoPath
}

// apiSigner returns the signer of an API's JWTs. While clients may not have the key of its
// algorithm yet, ES256 signs.
func (d *Door) apiSigner(ctx context.Context, c caller.Caller, api *resourceserver.API) (*jose.Signer, error) {
	typ := jose.TypeAccessToken
	if api.TokenProfile == resourceserver.JWT {
		typ = jose.TypeJWT
	}
	s, err := d.Keys.Signer(ctx, c, jose.Algorithm(api.SigningAlg), typ)
	if errors.Is(err, signingkey.ErrNotPublished) {
		return d.Keys.Signer(ctx, c, jose.ES256, typ)
	}
	return s, err
}
