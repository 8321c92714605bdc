package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// The actions of audit events for refusals by the doors that call Record.
const (
	RefusedManagement = "management.refuse"
	RefusedDecision   = "decision.refuse"
)

// refusedClient is the action of a refusal of an application's own credentials.
const refusedClient = "client.refuse"

// maxReason bounds the reason in an audit event, and a client_id that is not verified, in bytes.
const maxReason = 256

// refusal is a fault of admission together with the application that it concerns.
type refusal struct {
	error
	clientID string                   // as it was shown, perhaps of no application
	app      *application.Application // nil if it is not known
	holder   caller.Actor             // of a valid token; zero if nothing was proved
}

// Error implements error. It is for the log.
func (r *refusal) Error() string {
	return fmt.Sprintf("%s (client %.64q)", r.error.Error(), r.clientID)
}

// Unwrap returns the fault.
func (r *refusal) Unwrap() error { return r.error }

// Why returns the cause of a fault of admission, for logs and audit events. It may say more than
// the answer.
func Why(err error) string {
	f := fault.As(err)
	why := f.Reason
	if cause := f.Unwrap(); cause != nil {
		why = cause.Error()
	}
	return cut(why)
}

// ClientOf returns the client_id of the application that a fault of admission concerns, or "".
func ClientOf(err error) string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return cut(r.clientID)
	}
	return ""
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxReason)], "") }

// Record writes the audit event of a request that was not admitted. The log line of the request is
// the door's. c is the request's anonymous caller, and action is one of the actions above.
//
// A stranger can send such requests, so the events of an address and of all addresses are bounded
// (audit.Refusals). A valid token's application has a bound of its own, which no stranger uses up.
func (g *Guard) Record(ctx context.Context, c caller.Caller, action string, err error) {
	f := fault.As(err)
	if f.Kind != fault.Unauthenticated && f.Kind != fault.Denied {
		return
	}
	if f.Is(ErrClient) {
		action = refusedClient
	}
	e := audit.Event{Action: action, Outcome: audit.Refused, Detail: map[string]any{"code": f.Code, "reason": Why(err)}}
	about, ok := errors.AsType[*refusal](err)
	if !ok {
		about = new(refusal)
	}
	if about.clientID != "" {
		e.Target = audit.Target{Kind: "application", Name: cut(about.clientID)}
		e.Detail["client_id"] = e.Target.Name
	}
	if about.app != nil {
		e.Target = about.app.Target()
	}
	kind, now := action+" "+f.Code, g.Clock.Now()
	if about.holder.ID.IsZero() {
		if !g.refused.Allow(c.Tenant, kind, c.Address, now) {
			return
		}
	} else {
		c = c.As(about.holder)
		write, more := g.refused.AllowActor(c.Tenant, cmp.Or(about.holder.Via, about.holder.ID), kind, now)
		if !write {
			return
		}
		if more > 0 {
			e.Detail["not_recorded"] = more
		}
	}
	if err := g.DB.Update(ctx, c, func(tx *db.Tx) error {
		audit.Write(tx, e)
		return nil
	}); err != nil {
		web.NoteError(ctx, err)
	}
}
