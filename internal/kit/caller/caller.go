// Package caller says on whose behalf a transaction runs: its tenant, and the actor for the audit
// log.
//
// Only kit/web, kit/job and tests create callers, which the architecture test checks. All other
// code passes on the caller it was given.
package caller

import (
	"context"
	"net/netip"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Kind says what sort of actor a caller has.
type Kind string

// The kinds of actor.
const (
	Anonymous   Kind = "anonymous"   // not authenticated yet
	User        Kind = "user"        // a signed-in person
	Application Kind = "application" // a machine application with its own token
	System      Kind = "system"      // Gatehouse itself: a job, the command line
)

// Actor is the user, application or system that acts.
type Actor struct {
	Kind   Kind
	ID     id.ID  // user or application; zero for Anonymous and System
	Tenant id.ID  // the actor's home tenant; differs from Caller.Tenant for a platform operator
	Name   string // for readers of the audit log: a user's login, an application name, a job kind
	// Via is the application whose token a user acts through. It is zero for a user in a browser
	// session.
	Via id.ID
	// Session is the browser session that the user acts in; zero if there is none.
	Session id.ID
}

// Caller is an actor and the tenant whose data it may touch. It never changes after its creation.
type Caller struct {
	Tenant    id.ID // the tenant whose data is touched
	Actor     Actor
	Address   netip.Addr // client address; zero for System
	Agent     string     // User-Agent, cut to 256 bytes
	RequestID string     // ties audit events to the request's log line
}

// As returns a copy of c with the actor a, for a door that has authenticated a caller.
func (c Caller) As(a Actor) Caller {
	c.Actor = a
	return c
}

// AddressKey is the key of a context's value for the address of the client that it serves.
type AddressKey struct{}

// AddressOf returns the address of the client that ctx serves, or the invalid address. It is for
// limits that no client may use up alone, where no caller is at hand.
func AddressOf(ctx context.Context) netip.Addr {
	a, _ := ctx.Value(AddressKey{}).(netip.Addr)
	return a
}

// TenantKey is the key of a context's value for the tenant that it serves.
type TenantKey struct{}

// TenantOf returns the tenant that ctx serves, or zero. It is for limits, as AddressOf is.
func TenantOf(ctx context.Context) id.ID {
	t, _ := ctx.Value(TenantKey{}).(id.ID)
	return t
}
