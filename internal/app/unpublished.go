package app

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

// unpublished is a source of no policies: every tenant has the base policies alone.
type unpublished struct{}

// Published implements policy.Source.
func (unpublished) Published(context.Context, caller.Caller) (policy.Published, error) {
	return policy.Published{Settings: policy.DefaultSettings()}, nil
}
