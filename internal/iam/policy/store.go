package policy

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func scanNumber(row db.Row) (int64, error) {
	var n int64
	err := row.Scan(&n)
	return n, err
}

func scanBytes(row db.Row) ([]byte, error) {
	var b []byte
	err := row.Scan(&b)
	return b, err
}

// Settings.

type storedSettings struct {
	engine.Settings
	updatedAt time.Time // zero: never stored
}

// settingsInForce returns the tenant's settings of the engine: those of the revision in force. If
// nothing is published, or by an earlier release, they stand in a row of their own.
func settingsInForce(ctx context.Context, tx *db.Tx) (engine.Settings, error) {
	text, err := db.One(ctx, tx, db.Column[string],
		`SELECT settings FROM policy_revisions WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1`)
	if errors.Is(err, db.ErrNoRows) {
		text, err = "", nil
	}
	if err != nil {
		return engine.Settings{}, err
	}
	return settingsOf(ctx, tx, text)
}

// settingsOf parses the settings of a revision; without any, it returns those of the row.
func settingsOf(ctx context.Context, tx *db.Tx, text string) (engine.Settings, error) {
	if text != "" {
		return parseSettings(text)
	}
	s, err := getSettings(ctx, tx)
	return s.Settings, err
}

func getSettings(ctx context.Context, tx *db.Tx) (storedSettings, error) {
	s, err := db.One(ctx, tx, func(row db.Row) (storedSettings, error) {
		var s storedSettings
		var text string
		if err := row.Scan(&text, &s.updatedAt); err != nil {
			return s, err
		}
		settings, err := parseSettings(text)
		s.Settings = settings
		return s, err
	}, `SELECT settings, updated_at FROM policy_settings WHERE tenant_id = $1`)
	if errors.Is(err, db.ErrNoRows) {
		return storedSettings{Settings: engine.DefaultSettings()}, nil
	}
	return s, err
}

// lockSettings keeps the row of the settings until the commit. Until the first revision no number
// tells its publisher and those who change the settings of one another. Each locks the row, and
// reads afterwards.
func lockSettings(ctx context.Context, tx *db.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO policy_settings (tenant_id, settings, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id) DO UPDATE SET updated_at = policy_settings.updated_at`,
		settingsText(engine.DefaultSettings()), tx.Now())
	return err
}

// mirrorSettings stores the settings of the new revision in the row that replicas of an earlier
// release read.
func mirrorSettings(tx *db.Tx, s engine.Settings) {
	tx.Later(`INSERT INTO policy_settings (tenant_id, settings, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at`,
		settingsText(s), tx.Now())
}

// putSettings stores s. It fails with errSettingsChanged if the settings changed since read.
func putSettings(ctx context.Context, tx *db.Tx, s engine.Settings, read time.Time) error {
	at := tx.Now()
	if !at.After(read) {
		at = read.Add(time.Microsecond)
	}
	var n int64
	var err error
	if read.IsZero() {
		n, err = tx.Exec(ctx, `INSERT INTO policy_settings (tenant_id, settings, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (tenant_id) DO NOTHING`, settingsText(s), at)
	} else {
		n, err = tx.Exec(ctx, `UPDATE policy_settings SET settings = $2, updated_at = $3
			WHERE tenant_id = $1 AND updated_at = $4`, settingsText(s), at, read)
	}
	if err == nil && n == 0 {
		err = errSettingsChanged
	}
	return err
}

// The draft.

// getDraft returns the draft; without changes, one without a version.
func getDraft(ctx context.Context, tx *db.Tx) (Draft, error) {
	d, err := db.One(ctx, tx, func(row db.Row) (Draft, error) {
		var d Draft
		err := row.Scan(&d.Version, &d.Base, &d.UpdatedBy, &d.UpdatedAt, &d.settings)
		return d, err
	}, `SELECT version, base, updated_by, updated_at, settings FROM policy_drafts WHERE tenant_id = $1`)
	if errors.Is(err, db.ErrNoRows) {
		d = Draft{}
		d.Base, err = currentNumber(ctx, tx)
	}
	return d, err
}

// insertDraft stores an empty draft, and reports whether there was none.
func insertDraft(ctx context.Context, tx *db.Tx, base int64) (bool, error) {
	n, err := tx.Exec(ctx,
		`INSERT INTO policy_drafts (tenant_id, version, base, updated_by, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (tenant_id) DO NOTHING`,
		id.New(), base, tx.Caller().Actor.Name, tx.Now())
	return n > 0, err
}

// bump gives the draft a new version, and locks it until the commit. where is the version it must
// have; zero for any.
func bump(ctx context.Context, tx *db.Tx, where id.ID) (Draft, error) {
	d := Draft{Version: id.New(), UpdatedBy: tx.Caller().Actor.Name, UpdatedAt: tx.Now()}
	query, args := `UPDATE policy_drafts SET version = $2, updated_by = $3, updated_at = $4
		WHERE tenant_id = $1 RETURNING base, settings`, []any{d.Version, d.UpdatedBy, d.UpdatedAt}
	if !where.IsZero() {
		query, args = `UPDATE policy_drafts SET version = $2, updated_by = $3, updated_at = $4
			WHERE tenant_id = $1 AND version = $5 RETURNING base, settings`, append(args, where)
	}
	_, err := db.One(ctx, tx, func(row db.Row) (struct{}, error) {
		return struct{}{}, row.Scan(&d.Base, &d.settings)
	}, query, args...)
	if errors.Is(err, db.ErrNoRows) {
		return Draft{}, errDraftChanged
	}
	return d, err
}

// setDraftSettings stores the settings that the draft publishes.
func setDraftSettings(ctx context.Context, tx *db.Tx, text string) error {
	_, err := tx.Exec(ctx, `UPDATE policy_drafts SET settings = $2 WHERE tenant_id = $1`, text)
	return err
}

// advanceDraft moves the base of the draft to a revision that has the files of the base before. A
// draft with settings of its own stays behind, because it would take back the revision's.
func advanceDraft(tx *db.Tx, from, to int64) {
	tx.Later(`UPDATE policy_drafts SET base = $3 WHERE tenant_id = $1 AND base = $2 AND settings = ''`, from, to)
}

// dropDraft deletes the draft with its files, and reports whether there was one.
func dropDraft(ctx context.Context, tx *db.Tx) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM policy_drafts WHERE tenant_id = $1`)
	return n > 0, err
}

// takeDraft deletes the draft if it still has this version, and reports whether it had. Of several
// publishers of a draft, one takes it.
func takeDraft(ctx context.Context, tx *db.Tx, version id.ID) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM policy_drafts WHERE tenant_id = $1 AND version = $2`, version)
	return n > 0, err
}

// insertFiles adds files to a draft that has none.
func insertFiles(tx *db.Tx, files compiler.Files) {
	for path, content := range files {
		tx.Later(`INSERT INTO policy_draft_files (tenant_id, path, path_key, updated_at, content)
			VALUES ($1, $2, $3, $4, $5)`,
			path, strings.ToLower(path), tx.Now(), content)
	}
}

func upsertFile(ctx context.Context, tx *db.Tx, path string, content []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO policy_draft_files (tenant_id, path, path_key, updated_at, content) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, path) DO UPDATE SET content = excluded.content, updated_at = excluded.updated_at`,
		path, strings.ToLower(path), tx.Now(), content)
	return err
}

func removeFile(ctx context.Context, tx *db.Tx, path string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM policy_draft_files WHERE tenant_id = $1 AND path = $2`, path)
	return n > 0, err
}

// getFile returns one file of a stored draft, or errFileNotFound.
func getFile(ctx context.Context, tx *db.Tx, path string) ([]byte, error) {
	b, err := db.One(ctx, tx, scanBytes, `SELECT content FROM policy_draft_files WHERE tenant_id = $1 AND path = $2`,
		path)
	if errors.Is(err, db.ErrNoRows) {
		err = errFileNotFound
	}
	return b, err
}

// listFiles describes the files of a stored draft, by path.
func listFiles(ctx context.Context, tx *db.Tx) ([]fileInfo, error) {
	return db.List(ctx, tx, func(row db.Row) (fileInfo, error) {
		var f fileInfo
		err := row.Scan(&f.Path, &f.Size, &f.UpdatedAt)
		return f, err
	}, `SELECT path, length(content), updated_at FROM policy_draft_files WHERE tenant_id = $1 ORDER BY path`)
}

func draftFiles(ctx context.Context, tx *db.Tx) (compiler.Files, error) {
	files := compiler.Files{}
	_, err := db.List(ctx, tx, func(row db.Row) (struct{}, error) {
		var path string
		var content []byte
		err := row.Scan(&path, &content)
		if content == nil {
			content = []byte{} // an empty file
		}
		files[path] = content
		return struct{}{}, err
	}, `SELECT path, content FROM policy_draft_files WHERE tenant_id = $1`)
	return files, err
}

// measureFiles returns the number of files of a stored draft, and their bytes.
func measureFiles(ctx context.Context, tx *db.Tx) (int64, int64, error) {
	var count, size int64
	_, err := db.One(ctx, tx, func(row db.Row) (struct{}, error) { return struct{}{}, row.Scan(&count, &size) },
		`SELECT count(*), coalesce(sum(length(content)), 0) FROM policy_draft_files WHERE tenant_id = $1`)
	return count, size, err
}

// Revisions.

const revisionColumns = `number, origin, reason, author_kind, author_id, author_tenant, author_name, created_at,
	files, bytes, digest, settings`

func scanRevision(row db.Row) (Revision, error) {
	var r Revision
	err := row.Scan(&r.Number, &r.Origin, &r.Reason, &r.Author.Kind, &r.Author.ID, &r.Author.Tenant,
		&r.Author.Name, &r.CreatedAt, &r.Files, &r.Bytes, &r.Digest, &r.settings)
	return r, err
}

// currentNumber returns the number of the revision in force; 0 if there is none.
func currentNumber(ctx context.Context, tx *db.Tx) (int64, error) {
	return db.One(ctx, tx, scanNumber, `SELECT coalesce(max(number), 0) FROM policy_revisions WHERE tenant_id = $1`)
}

// currentRevision returns the revision in force, or ErrNothingPublished.
func currentRevision(ctx context.Context, tx *db.Tx) (Revision, error) {
	r, err := db.One(ctx, tx, scanRevision,
		`SELECT `+revisionColumns+` FROM policy_revisions WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1`)
	if errors.Is(err, db.ErrNoRows) {
		err = ErrNothingPublished
	}
	return r, err
}

// getRevision returns a revision by its number, or errRevisionNotFound.
func getRevision(ctx context.Context, tx *db.Tx, number int64) (Revision, error) {
	r, err := db.One(ctx, tx, scanRevision,
		`SELECT `+revisionColumns+` FROM policy_revisions WHERE tenant_id = $1 AND number = $2`, number)
	if errors.Is(err, db.ErrNoRows) {
		err = errRevisionNotFound
	}
	return r, err
}

// listRevisions returns up to limit revisions, newest first, older than before; 0 for the newest.
func listRevisions(ctx context.Context, tx *db.Tx, before int64, limit int) ([]Revision, error) {
	if before == 0 {
		return db.List(ctx, tx, scanRevision,
			`SELECT `+revisionColumns+` FROM policy_revisions
				WHERE tenant_id = $1 ORDER BY number DESC LIMIT $2`, limit)
	}
	return db.List(ctx, tx, scanRevision,
		`SELECT `+revisionColumns+` FROM policy_revisions
			WHERE tenant_id = $1 AND number < $3 ORDER BY number DESC LIMIT $2`, limit, before)
}

// RevisionFiles returns the files of a revision, or errRevisionNotFound.
func RevisionFiles(ctx context.Context, tx *db.Tx, number int64) (compiler.Files, error) {
	b, err := revisionArchive(ctx, tx, number)
	if err != nil {
		return nil, err
	}
	return ReadArchive(b)
}

// revisionArchive returns the files of a revision as the tar.gz that was stored.
func revisionArchive(ctx context.Context, tx *db.Tx, number int64) ([]byte, error) {
	b, err := db.One(ctx, tx, scanBytes, `SELECT sources FROM policy_revisions WHERE tenant_id = $1 AND number = $2`,
		number)
	if errors.Is(err, db.ErrNoRows) {
		err = errRevisionNotFound
	}
	return b, err
}

// insertRevision adds a revision, and reports whether its number was free.
func insertRevision(ctx context.Context, tx *db.Tx, r Revision, compiled, sources []byte) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO policy_revisions (tenant_id, number, reason, author_kind, author_id, author_tenant, author_name, created_at, files, bytes, digest, compiled, sources, settings)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (tenant_id, number) DO NOTHING`,
		r.Number, r.Reason, string(r.Author.Kind), r.Author.ID, r.Author.Tenant, r.Author.Name, r.CreatedAt,
		r.Files, r.Bytes, r.Digest, compiled, sources, r.settings)
	return n > 0, err
}

// repeatRevision adds the files and the table of revision r.Origin again as r, and reports whether
// the number was free.
func repeatRevision(ctx context.Context, tx *db.Tx, r Revision) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO policy_revisions (tenant_id, number, origin, reason, author_kind, author_id, author_tenant, author_name, created_at, files, bytes, digest, compiled, sources, settings)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, files, bytes, digest, compiled, sources, $10 FROM policy_revisions WHERE tenant_id = $1 AND number = $3
		ON CONFLICT (tenant_id, number) DO NOTHING`,
		r.Number, r.Origin, r.Reason, string(r.Author.Kind), r.Author.ID, r.Author.Tenant, r.Author.Name, r.CreatedAt,
		r.settings)
	return n > 0, err
}

// Published returns the table and the settings of a revision; of the one in force for 0. It fails
// with errRevisionNotFound.
func Published(ctx context.Context, tx *db.Tx, number int64) (engine.Published, error) {
	query, args := `SELECT number, compiled, settings FROM policy_revisions
		WHERE tenant_id = $1 AND number = $2`, []any{number}
	if number == 0 {
		query, args = `SELECT number, compiled, settings FROM policy_revisions
			WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1`, nil
	}
	var settings string
	p, err := db.One(ctx, tx, func(row db.Row) (engine.Published, error) {
		var p engine.Published
		err := row.Scan(&p.Revision, &p.Table, &settings)
		return p, err
	}, query, args...)
	if errors.Is(err, db.ErrNoRows) && number == 0 {
		err = nil
	} else if errors.Is(err, db.ErrNoRows) {
		err = errRevisionNotFound
	}
	if err != nil {
		return engine.Published{}, err
	}
	p.Settings, err = settingsOf(ctx, tx, settings)
	return p, err
}

// Store is the engine's Source: it reads what is in force.
type Store struct{ DB *db.DB }

// Published implements engine.Source.
func (s Store) Published(ctx context.Context, c caller.Caller) (engine.Published, error) {
	return db.Read(ctx, s.DB, c, func(tx *db.Tx) (engine.Published, error) { return Published(ctx, tx, 0) })
}
