package app

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// HousekeepingEvery is how long housekeeping waits between two rounds.
const HousekeepingEvery = housekeepingEvery

// Housekeep runs one round of housekeeping. It calls pause instead of resting.
func (a *App) Housekeep(ctx context.Context, pause func(context.Context, time.Duration) error) error {
	return a.Housekeeper(housekeepingTime, pause)(ctx)
}

// Housekeeper returns a function that does one run of housekeeping, of about d.
func (a *App) Housekeeper(d time.Duration, pause func(context.Context, time.Duration) error) func(
	context.Context) error {
	h := &housekeeper{app: a, pause: pause, time: d}
	return func(ctx context.Context) error { return h.run(ctx, system(a.Platform.ID, "test")) }
}

// Ready is the check of /readyz.
func (a *App) Ready(ctx context.Context) error { return a.ready(ctx) }

// Seal seals the platform's signing keys, as the first request to a development server does.
func (a *App) Seal(ctx context.Context) error { return a.seal(ctx) }

// ResetOwner does what `gatehouse admin reset-owner` does.
func (a *App) ResetOwner(ctx context.Context, by caller.Caller, email string, password secret.String) error {
	return a.resetOwner(ctx, by, email, password, true)
}
