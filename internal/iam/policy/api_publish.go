package policy

import (
	"context"
	"fmt"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
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
			if err != nil {
				return ImportView{}, err
			}
			v := draftView(draft, infos, settings)
			imported := ImportView{Draft: &v}
			return imported, req.Keep(ctx, tx, imported)
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
	return testAndPublish(ctx, d, deps, req, p, "", func(r Revision, found []compiler.Problem) ImportView {
		return ImportView{Revision: r.Number, Warnings: problemViews(found)}
	})
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
	return testAndPublish(ctx, d, deps, req, p, in.Body.Acknowledged,
		func(r Revision, found []compiler.Problem) RevisionView {
			v := revisionView(r)
			v.Warnings = problemViews(found)
			return v
		})
}

// testAndPublish compiles and tests outside of the transaction, then publishes exactly what it
// tested. It answers what view makes of the revision and the compiler's warnings, and keeps that
// answer.
func testAndPublish[V any](ctx context.Context, d *db.DB, deps Deps, req api.Request, p publishing, acknowledged string,
	view func(Revision, []compiler.Problem) V) (V, error) {
	ready, err := prepare(ctx, p)
	if err != nil {
		var none V
		return none, err
	}
	return db.Write(ctx, d, req.Caller, func(tx *db.Tx) (V, error) {
		var none V
		if deps.Acknowledged != nil && !p.Version.IsZero() {
			if err := deps.Acknowledged(ctx, tx, p.Version, acknowledged); err != nil {
				return none, err
			}
		}
		r, err := publish(ctx, tx, ready)
		if err != nil {
			return none, err
		}
		answer := view(r, ready.compiled.Warnings)
		return answer, req.Keep(ctx, tx, answer)
	})
}
