package role

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Limits are what a tenant's own role is limited to: its actions then count for these
// applications only, and for everything else its holders may as little as without the
// role. The zero Limits are none.
type Limits struct {
	Applications []id.ID `json:"applications,omitempty" maxItems:"100" doc:"The actions count for these applications only: application.read, application.update and application.delete."`
}

// None reports whether there is no limit.
func (l Limits) None() bool { return len(l.Applications) == 0 }

// maxLimits bounds what one role can be limited to.
const maxLimits = 100

// limitable are the actions that are about one application and no other.
var limitable = []string{"application.read", "application.update", "application.delete"}

// check cleans l in place and notes what is wrong with it, for a role with these actions.
func (l *Limits) check(actions []string, wrong *fault.Fields) {
	l.Applications = slices.CompactFunc(slices.SortedFunc(slices.Values(l.Applications), compareIDs), func(a, b id.ID) bool { return a == b })
	if l.None() {
		return
	}
	if len(l.Applications) > maxLimits {
		wrong.Add("limits", "A role can be limited to at most %d applications.", maxLimits)
	}
	for _, a := range actions {
		if Known(a) && !slices.Contains(limitable, a) {
			wrong.Add("actions", "A role that is limited to applications can only have %s.", strings.Join(limitable, ", "))
			return
		}
	}
}

// exist fails with an Invalid fault when something that l names is not there.
// application returns a NotFound fault for an application that is not there.
func (l Limits) exist(ctx context.Context, tx *db.Tx, application func(ctx context.Context, tx *db.Tx, application id.ID) error) error {
	for _, a := range l.Applications[:min(len(l.Applications), maxLimits)] {
		err := application(ctx, tx, a)
		if err != nil && fault.Of(err) == fault.NotFound {
			return fault.InvalidField("role.invalid", "limits", "There is no application with the id %s.", a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func compareIDs(a, b id.ID) int { return slices.Compare(a[:], b[:]) }

// A right of a Set is an action, or an action, "@" and the id of the one thing that it
// is limited to.
const at = "@"

func limited(action string, to id.ID) string { return action + at + to.String() }

// rights are what the role brings into a Set.
func (r Role) rights() []string {
	if r.Limits.None() {
		return r.Actions
	}
	var out []string
	for _, a := range r.Actions {
		for _, to := range r.Limits.Applications {
			out = append(out, limited(a, to))
		}
	}
	return out
}
