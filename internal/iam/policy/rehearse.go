package policy

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Rehearsal is a draft that answers without being published.
type Rehearsal struct {
	Draft     Draft
	Files     compiler.Files
	Settings  engine.Settings
	Evaluator *engine.Evaluator
}

// Rehearse reads and compiles the tenant's draft. If the draft changes meanwhile, Draft.Version is
// out of date. It fails with ErrInvalid.
func Rehearse(ctx context.Context, d *db.DB, c caller.Caller) (Rehearsal, error) {
	s, err := readState(ctx, d, c)
	if err != nil {
		return Rehearsal{}, err
	}
	table, err := compiler.Compile(ctx, s.files, s.settings)
	if err != nil {
		return Rehearsal{}, refused(err)
	}
	e, err := engine.Load(table, s.settings)
	return Rehearsal{s.draft, s.files, s.settings, e}, err
}

// DraftVersion returns the version of the tenant's draft; zero without changes.
func DraftVersion(ctx context.Context, tx *db.Tx) (id.ID, error) {
	d, err := getDraft(ctx, tx)
	return d.Version, err
}
