package pdp

import (
	"context"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// jwts verifies the JWTs of auxData with the tenants' key sets.
type jwts struct {
	sets  KeySets
	clock clock.Clock
}

func newJWTs(sets KeySets, c clock.Clock) *jwts { return &jwts{sets: sets, clock: c} }

func (j *jwts) drop(id.ID) {}

func (j *jwts) auxData(_ context.Context, _ caller.Caller, in *requestv1.AuxData) (*enginev1.AuxData, error) {
	if in.GetJwt() == nil && len(in.GetJwts()) == 0 {
		return nil, nil
	}
	return nil, invalid("invalid auxData")
}
