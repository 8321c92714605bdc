package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// me is the answer about the caller.
type me struct {
	Kind        string     `json:"kind" enum:"user,application" doc:"What calls: a person, or a machine application for itself."`
	ID          id.ID      `json:"id" format:"uuid"`
	Name        string     `json:"name" doc:"A person's email address or username, or the application's name."`
	Tenant      meTenant   `json:"tenant" doc:"The tenant that the request addressed."`
	Home        meTenant   `json:"home" doc:"The tenant that the caller belongs to. It is the platform for an operator at another tenant."`
	Application *id.ID     `json:"application_id,omitempty" format:"uuid" doc:"Through which a person acts, such as 00000000-0000-7000-8000-000000000010 for the admin console."`
	User        *meUser    `json:"user,omitempty" doc:"Of a person."`
	Session     *meSession `json:"session,omitempty" doc:"The session in which the person signed in. Absent after it ended, and for a machine application."`
	Roles       []meRole   `json:"roles" doc:"The caller's roles at this moment, and where each comes from. A role can come from several places."`
	Actions     []string   `json:"actions" doc:"What this call may do in the addressed tenant, sorted. Of a person's call through an application, that is what both may do." example:"[\"user.read\"]"`
	Limited     []meLimit  `json:"limited_actions" doc:"What the caller may do with single things only."`
}

type meTenant struct {
	ID     id.ID  `json:"id" format:"uuid"`
	Slug   string `json:"slug"`
	Name   string `json:"name"`
	Issuer string `json:"issuer" format:"uri"`
}

type meUser struct {
	Email      string `json:"email,omitempty"`
	Username   string `json:"username,omitempty"`
	GivenName  string `json:"given_name,omitempty"`
	FamilyName string `json:"family_name,omitempty"`
	Locale     string `json:"locale,omitempty"`
}

type meSession struct {
	ID        id.ID     `json:"id" format:"uuid"`
	AuthTime  time.Time `json:"auth_time" doc:"When the first factor was proved."`
	ExpiresAt time.Time `json:"expires_at" doc:"When it ends without another visit."`
	AMR       []string  `json:"amr" doc:"The methods proved (RFC 8176)."`
	ACR       string    `json:"acr" doc:"aal1: one factor; aal2: two."`
}

type meRole struct {
	Role  string     `json:"role"`
	Until *time.Time `json:"until,omitempty" doc:"When it ends. Absent: it does not."`
	Group *meGroup   `json:"group,omitempty" doc:"The group that brings it. Absent for an assignment to the caller."`
}

type meGroup struct {
	ID   id.ID  `json:"id" format:"uuid"`
	Name string `json:"name"`
}

type meLimit struct {
	Action string  `json:"action"`
	IDs    []id.ID `json:"ids" doc:"The things that it is limited to."`
}

// operations are those that belong to no feature.
func (g *Gate) operations() []api.Operation {
	return []api.Operation{api.Call(api.Op{Method: "GET", Path: "/me", ID: "get-me", Everyone: true, Tag: "Me",
		Summary: "Get yourself: who you are and what you may do",
		Description: "For a program that decides what to offer. Every other operation checks the action again. " +
			"No action is needed, and no decision is recorded."}, g.me)}
}

func (g *Gate) me(ctx context.Context, d *db.DB, req api.Request, _ *struct{}) (me, error) {
	actor, held := req.Caller.Actor, role.Of(req.Rights)
	out := me{Kind: "application", ID: actor.ID, Name: actor.Name, Tenant: tenantOf(web.SiteIn(ctx)), Roles: []meRole{},
		Actions: []string{}, Limited: []meLimit{}}
	out.Home = out.Tenant
	if actor.Tenant != req.Caller.Tenant {
		out.Home = tenantOf(g.Access.Platform)
	}
	who := role.OfApplication(actor.ID)
	if actor.Kind == caller.User {
		out.Kind, who = "user", role.OfUser(actor.ID)
		out.Application = &actor.Via
	}
	atHome := req.Caller
	atHome.Tenant = actor.Tenant
	if err := d.View(ctx, atHome, func(tx *db.Tx) error { return out.read(ctx, tx, who, actor.Session) }); err != nil {
		return me{}, err
	}
	for action, ids := range held.Only() {
		limit := meLimit{Action: action}
		for _, s := range ids {
			thing, err := id.Parse(s)
			if err != nil {
				return me{}, fmt.Errorf("admin: limit of %s: %w", action, err)
			}
			limit.IDs = append(limit.IDs, thing)
		}
		out.Limited = append(out.Limited, limit)
	}
	slices.SortFunc(out.Limited, func(a, b meLimit) int { return strings.Compare(a.Action, b.Action) })
	var err error
	out.Actions, err = g.actions(ctx, req.Caller, held)
	return out, err
}

// read reads what the caller's home tenant knows of the caller.
func (m *me) read(ctx context.Context, tx *db.Tx, who role.Subject, of id.ID) error {
	sources, err := role.SourcesOf(ctx, tx, who)
	if err != nil {
		return err
	}
	m.Roles = []meRole{}
	for _, s := range sources {
		r := meRole{Role: s.Role}
		if !s.Until.IsZero() {
			r.Until = &s.Until
		}
		if !s.Group.IsZero() {
			r.Group = &meGroup{ID: s.Group, Name: s.GroupName}
		}
		m.Roles = append(m.Roles, r)
	}
	if who.User.IsZero() {
		return nil
	}
	u, err := user.Get(ctx, tx, who.User)
	if err != nil {
		return err
	}
	m.User = &meUser{Email: u.Email, Username: u.Username, GivenName: u.GivenName, FamilyName: u.FamilyName,
		Locale: u.Locale}
	if of.IsZero() {
		return nil
	}
	s, err := session.Get(ctx, tx, of)
	if err != nil {
		if fault.Of(err) == fault.NotFound {
			return nil // a token with offline_access outlives its session
		}
		return err
	}
	v := session.ViewOf(s)
	m.Session = &meSession{ID: v.ID, AuthTime: v.AuthTime, ExpiresAt: v.ExpiresAt, AMR: v.AMR, ACR: v.ACR}
	return nil
}

func tenantOf(s web.Site) meTenant {
	return meTenant{ID: s.Tenant, Slug: s.Slug, Name: s.Name, Issuer: s.Base}
}

// actions returns the actions that the policies allow a caller without a limit, in one evaluation
// of all kinds. What exists in the platform only is left out elsewhere.
func (g *Gate) actions(ctx context.Context, c caller.Caller, held role.Set) ([]string, error) {
	platform := g.Access.Platform.Tenant
	p := principalOf(c.Actor, held, c.Actor.Tenant == platform)
	verbs := map[string][]string{}
	for _, a := range role.Actions {
		kind, verb := kindOf(a.Name)
		if kind != kindOfTenants || c.Tenant == platform {
			verbs[kind] = append(verbs[kind], verb)
		}
	}
	var in []*enginev1.CheckInput
	for kind, of := range verbs {
		in = append(in, &enginev1.CheckInput{RequestId: c.RequestID, Actions: of, Principal: p,
			Resource: &enginev1.Resource{Kind: kind, Id: c.Tenant.String()}})
	}
	checked, err := g.Engine.Check(ctx, c, in)
	if err != nil {
		return nil, fmt.Errorf("admin: check every action: %w", err)
	}
	allowed := []string{}
	for i, out := range checked.Outputs {
		for verb, effect := range out.GetActions() {
			if effect.GetEffect() == effectv1.Effect_EFFECT_ALLOW {
				allowed = append(allowed, actionOf(in[i].GetResource().GetKind(), verb))
			}
		}
	}
	slices.Sort(allowed)
	return allowed, nil
}
