package pdp

import (
	"context"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Actions returns the actions that policies name for a kind; engine.Engine implements it.
type Actions interface {
	Actions(ctx context.Context, c caller.Caller, kind string) (engine.Actions, error)
}

// Recorder keeps decisions and never blocks; decision.Recorder implements it.
type Recorder interface {
	Record(c caller.Caller, d decision.Decision)
}

// Deps is what the door needs. All fields are required.
type Deps struct {
	Access     *access.Guard
	Engine     *engine.Engine
	Actions    Actions
	Principals *principal.Resolver
	Recorder   Recorder
	Clock      clock.Clock
}

// Door answers decision requests. It is safe for concurrent use.
type Door struct {
	Deps
	clients *clients
}

// New returns the door.
func New(d Deps) *Door { return &Door{Deps: d, clients: newClients(d.Clock)} }

// Serve registers the gRPC services.
func (d *Door) Serve(s *web.RPC) {
	s.Register(&svcv1.CerbosService_ServiceDesc, cerbosService{d: d}, d.admitCall)
	s.Register(&authzenv1.AuthorizationService_ServiceDesc, authzenService{d: d}, d.admitCall)
}
