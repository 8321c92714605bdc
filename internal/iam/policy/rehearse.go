package policy

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Rehearsal is a draft that answers without being published, beside the revision in force.
type Rehearsal struct {
	Draft   Draft
	Current int64     // the number of the revision in force; 0 for none
	New     Rehearsed // the draft
	Old     Rehearsed // the revision in force; its Evaluator is nil if there is none
}

// Rehearsed is what answers in a rehearsal.
type Rehearsed struct {
	Files     compiler.Files
	Settings  engine.Settings
	Evaluator *engine.Evaluator
}

// Rehearse reads and compiles the tenant's draft, and loads the revision in force. If the draft
// changes meanwhile, Draft.Version is out of date. It fails with ErrInvalid.
func Rehearse(ctx context.Context, d *db.DB, c caller.Caller) (Rehearsal, error) {
	s, err := readState(ctx, d, c)
	if err != nil {
		return Rehearsal{}, err
	}
	compiled, err := compiler.Compile(ctx, s.files, s.settings)
	if err != nil {
		return Rehearsal{}, refused(err)
	}
	r := Rehearsal{Draft: s.draft, New: Rehearsed{Files: s.files, Settings: s.settings}}
	if r.New.Evaluator, err = engine.Load(compiled.Table, s.settings); err != nil {
		return Rehearsal{}, err
	}
	published, err := db.Read(ctx, d, c, func(tx *db.Tx) (engine.Published, error) {
		p, err := Published(ctx, tx, 0)
		if err == nil && p.Revision > 0 {
			r.Old.Files, err = RevisionFiles(ctx, tx, p.Revision)
		}
		return p, err
	})
	if err != nil || published.Revision == 0 {
		return r, err
	}
	r.Current, r.Old.Settings = published.Revision, published.Settings
	r.Old.Evaluator, err = engine.Load(published.Table, published.Settings)
	return r, err
}

// DraftVersion returns the version of the tenant's draft; zero without changes.
func DraftVersion(ctx context.Context, tx *db.Tx) (id.ID, error) {
	d, err := getDraft(ctx, tx)
	return d.Version, err
}
