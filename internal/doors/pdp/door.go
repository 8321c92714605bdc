package pdp

import (
	"context"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	svcv1 "github.com/cerbos/cerbos/api/genpb/cerbos/svc/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Principals makes the principal of a question; principal.Resolver does.
type Principals interface {
	Resolve(ctx context.Context, c caller.Caller, ask principal.Ask) (*enginev1.Principal, principal.Outcome, error)
	Users(ctx context.Context, c caller.Caller, ask principal.Ask, after id.ID, limit int) (principal.Page, error)
}

// Actions says what actions policies name; engine.Engine does.
type Actions interface {
	Actions(ctx context.Context, c caller.Caller, kind string) (engine.Actions, error)
}

// Recorder keeps decisions and never waits; decision.Recorder does.
type Recorder interface {
	Record(c caller.Caller, d decision.Decision)
}

// AuxData verifies the JWTs that a request brings for its conditions with the tenant's key sets;
// engine.Engine does.
type AuxData interface {
	AuxData(ctx context.Context, c caller.Caller, in *requestv1.AuxData) (*enginev1.AuxData, error)
}

// Deps is what the door works with. All fields are required.
type Deps struct {
	Access     *access.Guard
	Engine     *engine.Engine
	Actions    Actions
	Principals Principals
	Recorder   Recorder
	AuxData    AuxData
	Clock      clock.Clock
}

// Door answers questions. It is safe for concurrent use.
type Door struct {
	Deps
}

// New returns the door.
func New(d Deps) *Door { return &Door{Deps: d} }

// Serve registers the gRPC services.
func (d *Door) Serve(s *web.RPC) {
	s.Register(&svcv1.CerbosService_ServiceDesc, cerbosService{d: d}, d.admitCall)
	s.Register(&authzenv1.AuthorizationService_ServiceDesc, authzenService{d: d}, d.admitCall)
}
