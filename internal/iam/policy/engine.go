package policy

import (
	"context"
	"strings"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

// Engine answers by the policies of one tenant, the caller's (c.Tenant). It never asks who
// the caller is: that is the principal of the input.
//
// Inputs must have a principal and a resource; they and the outputs are shared with nobody.
type Engine interface {
	// Check answers every input, in order. The answer is whole or an error.
	Check(ctx context.Context, c caller.Caller, in []*enginev1.CheckInput) (Checked, error)
	// Plan answers which resources of a kind the principal may act on, as a condition.
	Plan(ctx context.Context, c caller.Caller, in *enginev1.PlanResourcesInput) (Planned, error)
}

// Checked is the answer to a check.
type Checked struct {
	Revision int64                   // by which the tenant's own kinds were answered; 0: the base policies alone
	Outputs  []*enginev1.CheckOutput // one for every input, in order
}

// Planned is the answer to a plan.
type Planned struct {
	Revision int64
	Output   *enginev1.PlanResourcesOutput
}

// Published is what the engine runs for a tenant.
type Published struct {
	Revision int64  // 0 where nothing is published
	Table    []byte // the compiled rule table, from Compile; nil where nothing is published
	Settings Settings
}

// Source says what is in force for a tenant. The engine asks it when it has no evaluator for the tenant,
// and again after Drop.
type Source interface {
	Published(ctx context.Context, c caller.Caller) (Published, error)
}

// reservedKind begins the kinds of resources that only the base policies define.
const reservedKind = "gatehouse:"

// Reserved reports whether a kind of resource belongs to the base policies, whatever a
// tenant publishes.
func Reserved(kind string) bool { return strings.HasPrefix(kind, reservedKind) }
