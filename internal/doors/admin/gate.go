package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Scope is what a token must have to be good for this API. Roles say what its
// holder may do; the scope says that this token was meant for it, so that a token
// given to some web application does not administer a tenant.
const Scope = "gatehouse:manage"

// Tokens finds out whether an access token is good; grant.Verifier does.
type Tokens interface {
	Verify(ctx context.Context, c caller.Caller, issuer, bearer string) (grant.Token, error)
}

// Deps are what a Gate works with; all are required.
type Deps struct {
	DB     *db.DB
	Tokens Tokens
	// Engine answers by the policies in policies/; the management API's kinds are
	// reserved, so no tenant's own policies are asked.
	Engine policy.Engine
	// Decisions keeps what was answered, allowed or refused, to be found and explained later.
	Decisions *decision.Recorder
	// Platform is the platform tenant's site, whose operators may act on others.
	Platform web.Site
	Clock    clock.Clock
}

// Gate admits callers to operations. It is safe for concurrent use.
type Gate struct {
	Deps
	refused *refusals
}

// NewGate makes a gate.
func NewGate(d Deps) *Gate { return &Gate{Deps: d, refused: newRefusals()} }

var errScope = fault.New(fault.Denied, "token.scope", "The access token is good, but it does not have the scope %s.", Scope)

// Admit implements api.Gate.
func (g *Gate) Admit(r *http.Request, op api.Op) (api.Request, error) {
	ctx, site, c := r.Context(), web.SiteOf(r), web.CallerOf(r)
	if op.Platform && site.Tenant != g.Platform.Tenant {
		return api.Request{}, fault.New(fault.NotFound, "request.not_found", "There is nothing at this address: it exists under the platform tenant only.")
	}
	bearer, err := bearerOf(r)
	if err != nil {
		return api.Request{}, err
	}
	home, ok := g.home(site, bearer)
	if !ok {
		return api.Request{}, grant.ErrToken
	}
	atHome := c
	atHome.Tenant = home.Tenant
	token, err := g.Tokens.Verify(ctx, atHome, home.Base, bearer)
	if err != nil {
		return api.Request{}, err
	}
	if !slices.Contains(token.Audience, home.Base) {
		return api.Request{}, grant.ErrToken
	}
	if !token.Has(Scope) {
		return api.Request{}, errScope
	}
	actor, held, err := g.holder(ctx, atHome, token)
	if err != nil {
		return api.Request{}, err
	}
	c = c.As(actor)
	resource := resourceOf(r, c)
	a, err := g.ask(ctx, c, op, principalOf(actor, held, atHome.Tenant == g.Platform.Tenant), resource)
	if err != nil {
		return api.Request{}, err
	}
	if !a.allowed {
		return api.Request{}, g.refuse(ctx, c, op, resource, a.decision)
	}
	g.Decisions.Record(c, a.decision) // a read leaves no other trace
	return api.Request{Caller: c, Rights: held, Filter: a.shown}, nil
}

// refuse records a refused call, in the audit log and as a decision, and returns the
// fault that names the action.
func (g *Gate) refuse(ctx context.Context, c caller.Caller, op api.Op, resource string, d decision.Decision) error {
	write, more := g.refused.count(refusal{c.Tenant, c.Actor.ID, op.Action}, g.Clock.Now())
	if write {
		noun, _, _ := strings.Cut(op.Action, ".")
		e := audit.Event{
			Action: "access.refuse", Target: audit.Target{Kind: noun, ID: resource}, Outcome: audit.Refused,
			Detail: map[string]any{"action": op.Action, "operation": op.ID, "decision": d.ID.String()},
		}
		if more > 0 {
			e.Detail["not_recorded"] = more // of this action, since the event before
		}
		if err := g.DB.Update(ctx, c, func(tx *db.Tx) error {
			audit.Write(tx, e)
			return nil
		}); err != nil {
			return err
		}
		g.Decisions.Record(c, d)
	}
	return api.Denied(op.Action)
}

// home is the tenant whose token it claims to be: the one addressed, or the
// platform. Nothing is believed yet; it only says whose keys and rows to ask.
func (g *Gate) home(site web.Site, bearer string) (web.Site, bool) {
	if t, err := secret.ParseToken(bearer); err == nil {
		switch t.Tenant {
		case site.Tenant:
			return site, true
		case g.Platform.Tenant:
			return g.Platform, true
		}
		return web.Site{}, false
	}
	switch issuerOf(bearer) {
	case site.Base:
		return site, true
	case g.Platform.Base:
		return g.Platform, true
	}
	return web.Site{}, false
}

// holder finds who holds a token and what they may do at this moment.
func (g *Gate) holder(ctx context.Context, c caller.Caller, t grant.Token) (actor caller.Actor, held role.Set, err error) {
	subject := role.OfApplication(t.Application)
	if !t.User.IsZero() {
		subject = role.OfUser(t.User)
	}
	err = g.DB.View(ctx, c, func(tx *db.Tx) error {
		app, err := application.Get(ctx, tx, t.Application)
		if errors.Is(err, application.ErrNotFound) || err == nil && app.Status != application.Active {
			return grant.ErrToken
		}
		if err != nil {
			return err
		}
		actor = caller.Actor{Kind: caller.Application, ID: app.ID, Tenant: c.Tenant, Name: app.Name}
		if !t.User.IsZero() {
			actor = caller.Actor{Kind: caller.User, ID: t.User, Tenant: c.Tenant, Name: t.UserName, Via: app.ID, Session: t.Session}
		}
		held, err = role.ActionsOf(ctx, tx, subject)
		return err
	})
	return actor, held, err
}

// bearerOf reads the one bearer token of a request (RFC 6750 §2.1). Tokens in the
// query or a form are not looked for.
func bearerOf(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", grant.ErrToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", grant.ErrToken
	}
	return token, nil
}

// issuerOf reads the iss claim of a JWT without believing it.
func issuerOf(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || len(jwt) > 16<<10 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return ""
	}
	return claims.Issuer
}
