// Package caller says on whose behalf a transaction runs: which tenant's data it
// may touch, and who is to be named in the audit log.
//
// Only kit/web, kit/job and tests make callers (the architecture test says so);
// everything else passes on the one it was given.
package caller

import (
	"net/netip"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Kind says what sort of actor is behind a caller.
type Kind string

// The kinds of actor.
const (
	Anonymous   Kind = "anonymous"   // nobody has been authenticated yet
	User        Kind = "user"        // a signed-in person
	Application Kind = "application" // a machine application with its own token
	System      Kind = "system"      // Gatehouse itself: a job, the command line
)

// Actor is who acts.
type Actor struct {
	Kind   Kind
	ID     id.ID  // user or application; zero for Anonymous and System
	Tenant id.ID  // the actor's home tenant; differs from Caller.Tenant for a platform operator
	Name   string // for people reading the audit log: an email, an application name, a job kind
	// Via is the application whose token a user acts through; zero when the user
	// acts directly in a browser session.
	Via id.ID
	// Session is the browser session the user acts in; zero when there is none.
	Session id.ID
}

// Caller is immutable once made.
type Caller struct {
	Tenant    id.ID // the tenant whose data is touched
	Actor     Actor
	Address   netip.Addr // client address; zero for System
	Agent     string     // User-Agent, cut to 256 bytes
	RequestID string     // ties audit events to the request's log line
}

// As returns a copy of c acting as a: what a door does once it has authenticated somebody.
func (c Caller) As(a Actor) Caller {
	c.Actor = a
	return c
}

// Foreign reports whether the actor belongs to another tenant than the one touched.
func (c Caller) Foreign() bool { return !c.Actor.Tenant.IsZero() && c.Actor.Tenant != c.Tenant }
