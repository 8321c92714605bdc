package policy

import (
	"context"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func (deps Deps) importArchive(ctx context.Context, d *db.DB, req api.Request, in *importInput) (ImportView, error) {
	p := publishing{}
	if in.Publish {
		if err := req.Require("policy.publish"); err != nil {
			return ImportView{}, err
		}
		var err error
		if p.Reason, err = checkReason(in.Reason); err != nil {
			return ImportView{}, err
		}
	}
	var err error
	if p.Files, err = ReadArchive(in.RawBody); err != nil {
		return ImportView{}, err
	}
	if len(p.Files) == 0 && !in.Publish {
		return ImportView{}, archiveFault("The archive has no files. Publish it with publish=true and " +
			"allow_empty=true if every request shall be denied.")
	}
	if !in.Publish {
		return db.Write(ctx, d, req.Caller, func(tx *db.Tx) (ImportView, error) {
			draft, err := replace(ctx, tx, p.Files)
			if err != nil {
				return ImportView{}, err
			}
			settings, err := draftSettings(ctx, tx, draft)
			if err != nil {
				return ImportView{}, err
			}
			infos, err := listFiles(ctx, tx)
			v := draftView(draft, infos, settings)
			return ImportView{Draft: &v}, err
		})
	}
	p.AllowEmpty = in.AllowEmpty
	current, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (inForce, error) { return readInForce(ctx, tx) })
	if err != nil {
		return ImportView{}, err
	}
	if current.is(digestOf(Pack(p.Files, TarGz)), current.engine) {
		return ImportView{Revision: current.Number, Unchanged: true}, nil
	}
	p.Base, p.Settings, p.Before = current.Number, current.engine, settingsText(current.engine)
	r, found, err := deps.publish(ctx, d, req.Caller, p, "")
	return ImportView{Revision: r.Number, Warnings: problemViews(found)}, err
}

func (deps Deps) publishDraft(ctx context.Context, d *db.DB, req api.Request, in *publishInput) (RevisionView, error) {
	reason, err := checkReason(in.Body.Reason)
	if err != nil {
		return RevisionView{}, err
	}
	seen, err := version(in.Body.Version)
	if err != nil {
		return RevisionView{}, err
	}
	s, err := readState(ctx, d, req.Caller)
	if err != nil {
		return RevisionView{}, err
	}
	if err := req.Preconditions.Check(true, s.draft.tag()); err != nil {
		return RevisionView{}, err
	}
	base := s.draft.Base
	if in.Body.Base > 0 {
		base = in.Body.Base
	}
	switch {
	case !s.draft.Changed():
		return RevisionView{}, errNothingToPublish
	case !seen.IsZero() && seen != s.draft.Version:
		return RevisionView{}, errDraftMoved
	case base != s.current:
		return RevisionView{}, fault.New(fault.Conflict, "policy.draft_behind", fmt.Sprintf(
			"The draft was begun from revision %d, and revision %d is in force now. Read policies/draft/diff, "+
				"which shows what publishing the draft would change. If you mean that, publish with \"base\": %d.",
			base, s.current, s.current))
	}
	current, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (inForce, error) { return readInForce(ctx, tx) })
	if err != nil {
		return RevisionView{}, err
	}
	if current.is(digestOf(Pack(s.files, TarGz)), s.settings) {
		return RevisionView{}, errNothingToPublish
	}
	p := publishing{Version: s.draft.Version, Base: base,
		Files: s.files, Settings: s.settings, Reason: reason, AllowEmpty: in.Body.AllowEmpty}
	if s.draft.settings == "" {
		p.Before = settingsText(s.settings)
	}
	r, found, err := deps.publish(ctx, d, req.Caller, p, in.Body.Acknowledged)
	v := revisionView(r)
	v.Warnings = problemViews(found)
	return v, err
}

// publish compiles and tests outside of the transaction, then publishes exactly what it tested. It
// returns the compiler's warnings too.
func (deps Deps) publish(ctx context.Context, d *db.DB, c caller.Caller, p publishing,
	acknowledged string) (Revision, []compiler.Problem, error) {
	ready, err := prepare(ctx, p)
	if err != nil {
		return Revision{}, nil, err
	}
	r, err := db.Write(ctx, d, c, func(tx *db.Tx) (Revision, error) {
		if deps.Acknowledged != nil && !p.Version.IsZero() {
			if err := deps.Acknowledged(ctx, tx, p.Version, acknowledged); err != nil {
				return Revision{}, err
			}
		}
		return publish(ctx, tx, ready)
	})
	return r, ready.compiled.Warnings, err
}
