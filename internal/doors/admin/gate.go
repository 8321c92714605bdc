package admin

import (
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Deps are what a Gate works with. All are required.
type Deps struct {
	DB     *db.DB
	Access *access.Guard
	// Engine evaluates the policies in policies/. The kinds of the management API are reserved, so
	// a tenant's own policies never count.
	Engine *engine.Engine
	// Decisions records every answer, allowed or refused.
	Decisions *decision.Recorder
	Ring      *secret.KeyRing // for api.Mount
	Clock     clock.Clock
}

// Gate admits callers to operations. It is safe for concurrent use.
type Gate struct {
	Deps
	refused *audit.Refusals
}

// NewGate returns a gate.
func NewGate(d Deps) *Gate { return &Gate{Deps: d, refused: audit.NewRefusals()} }

// Admit implements api.Gate.
func (g *Gate) Admit(r *http.Request, op api.Op) (api.Request, error) {
	ctx, site := r.Context(), web.SiteOf(r)
	platform := g.Access.Platform.Tenant
	if op.Platform && site.Tenant != platform {
		return api.Request{}, fault.New(fault.NotFound, "request.not_found",
			"There is nothing at this address: it exists under the platform tenant only.")
	}
	h, err := g.holderOf(r)
	if err != nil {
		g.Access.Record(ctx, web.CallerOf(r), access.RefusedManagement, err)
		return api.Request{}, err
	}
	c := h.Caller
	if op.Everyone {
		return api.Request{Caller: c, Rights: h.Rights, Reads: true}, nil
	}
	resource := resourceOf(r, c)
	a, err := g.ask(ctx, c, op, principalOf(c.Actor, h.Rights, h.Home.Tenant == platform), resource)
	if err != nil {
		return api.Request{}, err
	}
	if !a.allowed {
		return api.Request{}, g.refuse(r, c, op, a.decision)
	}
	g.Decisions.Record(c, a.decision) // a read leaves no other trace
	reads, err := g.mayRead(ctx, c, op, principalOf(c.Actor, h.Rights, h.Home.Tenant == platform), resource)
	if err != nil {
		return api.Request{}, err
	}
	return api.Request{Caller: c, Rights: h.Rights, Filter: a.shown, Reads: reads}, nil
}

// holderOf returns the holder of a request's token or cookie.
func (g *Gate) holderOf(r *http.Request) (access.Holder, error) {
	proof, err := access.ProofOf(r)
	if err != nil {
		return access.Holder{}, err
	}
	return g.Access.Admit(r.Context(), web.CallerOf(r), web.SiteOf(r), proof,
		access.Want{Own: resourceserver.Management, Operators: true, Rights: true, Console: true})
}

// refuse records a refused call in the audit log and as a decision. It returns the fault that names
// the action.
func (g *Gate) refuse(r *http.Request, c caller.Caller, op api.Op, d decision.Decision) error {
	write, more := g.refused.AllowActor(c.Tenant, c.Actor.ID, op.Action, g.Clock.Now())
	if write {
		noun, _, _ := strings.Cut(op.Action, ".")
		e := audit.Event{
			Action: "access.refuse", Target: audit.Target{Kind: noun, ID: objectOf(r)}, Outcome: audit.Refused,
			Detail: map[string]any{"action": op.Action, "operation": op.ID, "decision": d.ID.String()},
		}
		if more > 0 {
			e.Detail["not_recorded"] = more // of this action, since the event before
		}
		if err := g.DB.Update(r.Context(), c, func(tx *db.Tx) error {
			audit.Write(tx, e)
			return nil
		}); err != nil {
			return err
		}
		g.Decisions.Record(c, d)
	}
	return api.Denied(op.Action)
}
