package policy

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Draft is the set of files that becomes the next revision.
//
// Without changes since the last revision the tenant has no draft stored, and reads the files of
// that revision. The first change copies them.
type Draft struct {
	Version   id.ID // changes with every change of the draft; zero without one
	Base      int64 // the revision it was begun from; 0 for none
	UpdatedBy string
	UpdatedAt time.Time

	settings string // of the engine, as JSON; "" for those in force
}

// tag returns the draft's entity tag.
func (d Draft) tag() string { return tagOf(d.Version.String(), d.Base) }

// Changed reports whether there is a change to publish.
func (d Draft) Changed() bool { return !d.Version.IsZero() }

// fileInfo describes a file of the draft.
type fileInfo struct {
	Path      string
	Size      int64 // bytes
	UpdatedAt time.Time
}

var (
	errFileNotFound = fault.New(fault.NotFound, "policy.file_not_found", "The draft has no file at this path.")
	errDraftChanged = fault.New(fault.Conflict, "policy.draft_changed", "The draft was changed since you read it. "+
		"Read it again and repeat what you wanted.")
	errFileCase = fault.New(fault.Conflict, "policy.file_case", "The draft has a file whose path differs from "+
		"this one in upper and lower case only. Use its path, or delete it first.")
)

// begin stores a draft with the files of revision base, and reports whether it did. It does nothing
// if there is a draft. It fails with errDraftChanged if base is no longer in force.
func begin(ctx context.Context, tx *db.Tx, base int64, files compiler.Files) (bool, error) {
	made, err := insertDraft(ctx, tx, base)
	if err != nil || !made {
		return false, err
	}
	if now, err := currentNumber(ctx, tx); err != nil {
		return false, err
	} else if now != base {
		return false, errDraftChanged
	}
	insertFiles(tx, files)
	return true, nil
}

// putFile writes one file of the stored draft. where is the version that the caller has seen; zero
// for any.
func putFile(ctx context.Context, tx *db.Tx, where id.ID, path string, content []byte) (Draft, error) {
	if err := (compiler.Files{path: content}).Check(); err != nil {
		return Draft{}, refused(err)
	}
	d, err := bump(ctx, tx, where)
	if err != nil {
		return Draft{}, err
	}
	before, err := getFile(ctx, tx, path)
	if err != nil && !errors.Is(err, errFileNotFound) {
		return Draft{}, err
	}
	err = upsertFile(ctx, tx, path, content)
	if db.IsConflict(err, "policy_draft_files", "path_key") {
		return Draft{}, errFileCase
	}
	if err != nil {
		return Draft{}, err
	}
	count, size, err := measureFiles(ctx, tx)
	if err != nil {
		return Draft{}, err
	}
	if err := checkSize(count, size); err != nil {
		return Draft{}, err
	}
	audit.Write(tx, audit.Event{Action: "policy.update", Target: draftTarget, Detail: map[string]any{"file": path,
		"bytes": len(content)}, Changed: fileChange(before, content)})
	return d, nil
}

// changeSettings changes the engine's settings that the stored draft publishes. It fails with an
// Invalid fault that names every wrong field.
func changeSettings(ctx context.Context, tx *db.Tx, where id.ID, p SettingsChange) (Draft, error) {
	d, err := bump(ctx, tx, where)
	if err == nil && d.Base == 0 {
		err = lockSettings(ctx, tx)
	}
	if err != nil {
		return Draft{}, err
	}
	before, err := draftSettings(ctx, tx, d)
	if err != nil {
		return Draft{}, err
	}
	s, err := p.changed(before)
	if err != nil {
		return Draft{}, err
	}
	changed := audit.Changes{}.With("settings", settingsView(before), settingsView(s))
	if len(changed) == 0 {
		return d, nil
	}
	d.settings = settingsText(s)
	if err := setDraftSettings(ctx, tx, d.settings); err != nil {
		return Draft{}, err
	}
	audit.Write(tx, audit.Event{Action: "policy.update", Target: draftTarget,
		Changed: changed})
	return d, nil
}

// draftSettings returns the engine's settings that the draft publishes.
func draftSettings(ctx context.Context, tx *db.Tx, d Draft) (engine.Settings, error) {
	if d.settings != "" {
		return parseSettings(d.settings)
	}
	return settingsInForce(ctx, tx)
}

// deleteFile removes one file of the stored draft, or fails with errFileNotFound.
func deleteFile(ctx context.Context, tx *db.Tx, where id.ID, path string) (Draft, error) {
	d, err := bump(ctx, tx, where)
	if err != nil {
		return Draft{}, err
	}
	before, err := getFile(ctx, tx, path)
	if err != nil {
		return Draft{}, err
	}
	found, err := removeFile(ctx, tx, path)
	if err != nil {
		return Draft{}, err
	}
	if !found {
		return Draft{}, errFileNotFound
	}
	audit.Write(tx, audit.Event{Action: "policy.update", Target: draftTarget, Detail: map[string]any{"file": path},
		Changed: fileChange(before, nil)})
	return d, nil
}

// fileChange says that a file of the draft changed. The content is in the revisions.
func fileChange(before, after []byte) audit.Changes {
	return audit.Changes{}.With("content", audit.Digest(before), audit.Digest(after))
}

// replace replaces the whole draft with files.
func replace(ctx context.Context, tx *db.Tx, files compiler.Files) (Draft, error) {
	if _, err := dropDraft(ctx, tx); err != nil {
		return Draft{}, err
	}
	base, err := currentNumber(ctx, tx)
	if err != nil {
		return Draft{}, err
	}
	made, err := insertDraft(ctx, tx, base)
	if err != nil {
		return Draft{}, err
	}
	if !made { // another caller began one at this moment
		return Draft{}, errDraftChanged
	}
	insertFiles(tx, files)
	audit.Write(tx, audit.Event{Action: "policy.import", Target: draftTarget,
		Detail: map[string]any{"files": len(files), "bytes": files.Size()}})
	return getDraft(ctx, tx)
}

// discard removes the draft.
func discard(ctx context.Context, tx *db.Tx) error {
	dropped, err := dropDraft(ctx, tx)
	if err != nil || !dropped {
		return err
	}
	audit.Write(tx, audit.Event{Action: "policy.discard", Target: draftTarget})
	return nil
}

func filesOf(ctx context.Context, tx *db.Tx, d Draft) (compiler.Files, error) {
	switch {
	case d.Changed():
		return draftFiles(ctx, tx)
	case d.Base == 0:
		return compiler.Files{}, nil
	}
	return RevisionFiles(ctx, tx, d.Base)
}

var draftTarget = audit.Target{Kind: "policy", ID: "draft", Name: "draft"}

func checkSize(count, size int64) error {
	if count > compiler.MaxFiles {
		return fault.New(fault.Invalid, "policy.too_large", "The draft may have at most %d files.", compiler.MaxFiles)
	}
	if size > compiler.MaxTotal {
		return fault.New(fault.Invalid, "policy.too_large", "The files of the draft may have at most %d bytes "+
			"together.", compiler.MaxTotal)
	}
	return nil
}
