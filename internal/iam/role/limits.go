package role

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Limits restrict a custom role to some applications. For other applications the role allows
// nothing. The zero Limits restrict nothing.
type Limits struct {
	Applications []id.ID `json:"applications,omitempty" maxItems:"100" doc:"The actions count for these applications only: application.read, application.update and application.delete."`
}

// none reports whether l restricts nothing.
func (l Limits) none() bool { return len(l.Applications) == 0 }

// maxLimits is how many applications one role can be limited to.
const maxLimits = 100

// limitable are the actions that concern exactly one application.
var limitable = []string{"application.read", "application.update", "application.delete"}

// validate normalizes l in place, and adds to wrong what a role with these actions cannot have.
func (l *Limits) validate(actions []string, wrong *fault.Fields) {
	l.Applications = slices.CompactFunc(slices.SortedFunc(slices.Values(l.Applications), compareIDs),
		func(a, b id.ID) bool { return a == b })
	if l.none() {
		return
	}
	if len(l.Applications) > maxLimits {
		wrong.Add("limits", "A role can be limited to at most %d applications.", maxLimits)
	}
	for _, a := range actions {
		if Known(a) && !slices.Contains(limitable, a) {
			wrong.Add("actions", "A role that is limited to applications can only have %s.",
				strings.Join(limitable, ", "))
			return
		}
	}
}

// exist fails with an Invalid fault if one of the limits does not exist. application returns a
// NotFound fault for an unknown application.
func (l Limits) exist(ctx context.Context, tx *db.Tx,
	application func(ctx context.Context, tx *db.Tx, application id.ID) (Subject, error)) error {
	for _, a := range l.Applications[:min(len(l.Applications), maxLimits)] {
		_, err := application(ctx, tx, a)
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

// A right of a Set is an action, or an action, "@" and the id of the one thing it is limited to.
const at = "@"

func limited(action string, to id.ID) string { return action + at + to.String() }

// rights returns what the role adds to a Set.
func (r Role) rights() []string {
	if r.Limits.none() {
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
