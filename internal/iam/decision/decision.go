package decision

import (
	"hash/fnv"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Kind says which kind of request the engine answered.
type Kind string

// The kinds.
const (
	Check      Kind = "check"      // Cerbos CheckResources
	Plan       Kind = "plan"       // Cerbos PlanResources
	Evaluation Kind = "evaluation" // AuthZEN evaluation, evaluations and searches
	SignIn     Kind = "signin"     // gatehouse:signin
	Admin      Kind = "admin"      // our own management API
)

// Decision is one answer of the engine. From Record on its messages belong to the Recorder. They
// may be shared, but nothing may change them.
type Decision struct {
	ID   id.ID // the call id of the answer; a version 7 UUID of the answer's time
	Kind Kind
	Mode application.PrincipalMode // "" if the request has no such choice
	// Reason is a code such as "principal.suspended" if all was denied without asking a policy.
	Reason   string
	Revision int64 // of the policies; 0 is the base policies alone
	Took     time.Duration
	Size     int // bytes of the request, about: the memory held until the record is written

	// Of all kinds but Plan. Outputs[i] answers Inputs[i].
	Inputs  []*enginev1.CheckInput
	Outputs []*enginev1.CheckOutput

	// Of a Plan.
	PlanInput  *enginev1.PlanResourcesInput
	PlanOutput *enginev1.PlanResourcesOutput
}

// Record is a decision as stored. Its Outputs have effects, policies, scopes and derived roles
// only.
type Record struct {
	Decision
	At        time.Time // microseconds, from the ID
	Actor     caller.Actor
	RequestID string // ties the record to the answer and the server's log
	Redacted  []Mark // the values that the tenant's rule removed
	Oversized bool   // the input was too large to keep: it has no attributes
	Hidden    bool   // hideFrom removed values

	shown []int // the inputs that a list's filter matches; nil for all
}

// Mark says that a rule changed an input.
type Mark struct {
	Input int    // index of the input; -1 for the principal and auxData, which all share
	Path  string // of the rule
}

// ErrNotFound is the fault for a record that does not exist.
var ErrNotFound = fault.New(fault.NotFound, "decision.not_found",
	"There is no decision with this id. Records are kept as long as the tenant's retention says.")

// askedBy returns the application that sent the request; zero if there is none.
func askedBy(a caller.Actor) id.ID {
	if a.Kind == caller.Application {
		return a.ID
	}
	return a.Via
}

// principal returns the principal of the request, or the first of several.
func (d *Decision) principal() *enginev1.Principal {
	if d.PlanInput != nil {
		return d.PlanInput.GetPrincipal()
	}
	if len(d.Inputs) > 0 {
		return d.Inputs[0].GetPrincipal()
	}
	return nil
}

// key maps an id of any length to a column. Two ids may share a key, so readers compare the ids
// too.
func key(s string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return int64(h.Sum64())
}

// several is the key of a record with many principals, or with no or many resources.
const several = int64(0)

func (d *Decision) principalKey() int64 {
	for _, in := range d.Inputs {
		if in.GetPrincipal() != d.Inputs[0].GetPrincipal() &&
			in.GetPrincipal().GetId() != d.Inputs[0].GetPrincipal().GetId() {
			return several
		}
	}
	return key(d.principal().GetId())
}

func (d *Decision) resourceKey() int64 {
	if len(d.Inputs) != 1 {
		return several
	}
	return key(d.Inputs[0].GetResource().GetId())
}

// The bits of effects.
const (
	someAllowed     = 1
	someDenied      = 2
	someConditional = 4 // a plan with a condition
)

// effects returns the bits, and how many answers allow and deny. A plan is one answer, which denies
// if no resource can be allowed.
func (d *Decision) effects() (int, int, int) {
	var bits, allowed, denied int
	for _, o := range d.Outputs {
		for _, a := range o.GetActions() {
			if a.GetEffect() == effectv1.Effect_EFFECT_ALLOW {
				allowed++
			} else {
				denied++
			}
		}
	}
	if d.PlanOutput != nil {
		switch d.PlanOutput.GetFilter().GetKind() {
		case enginev1.PlanResourcesFilter_KIND_ALWAYS_ALLOWED:
			allowed++
		case enginev1.PlanResourcesFilter_KIND_CONDITIONAL:
			return someConditional, 1, 0
		default:
			denied++
		}
	}
	if allowed > 0 {
		bits |= someAllowed
	}
	if denied > 0 {
		bits |= someDenied
	}
	return bits, allowed, denied
}
