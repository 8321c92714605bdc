package policy

import (
	"context"
	"encoding/binary"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

func revisionOperations() []api.Operation {
	return []api.Operation{
		api.Call(api.Op{Method: "GET", Path: "/policies/export", ID: "export-policies", Action: "policy.read",
			Tag: revisionTag, Summary: "Export policies as a zip or tar.gz", AtOnce: costly,
			Produces: []string{"application/zip", "application/gzip"},
			Description: "An ordinary Cerbos policy directory: `cerbos compile` takes it. The same files always " +
				"produce the same bytes."},
			export),
		api.Read(api.Op{Method: "GET", Path: "/policies/revisions", ID: "list-policy-revisions",
			Action: "policy.read", Tag: revisionTag, Summary: "List revisions",
			Description: "Newest first. The first is in force."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.Page) (page.List[RevisionView], error) {
				r, err := in.Request()
				if err != nil {
					return page.List[RevisionView]{}, err
				}
				found, err := listRevisions(ctx, tx, numberAt(r.After), r.Fetch())
				return page.Map(page.Of(r, found, func(r Revision) id.ID { return placeOf(r.Number) }),
					revisionView), err
			}),
		api.Read(api.Op{Method: "GET", Path: "/policies/revisions/{n}", ID: "get-policy-revision",
			Action: "policy.read", Tag: revisionTag, Summary: "Get a revision"},
			showRevision),
		api.Call(api.Op{Method: "GET", Path: "/policies/revisions/{n}/diff", ID: "diff-policy-revision",
			Action: "policy.read", Tag: revisionTag, Summary: "Compare two revisions", AtOnce: compiling},
			func(ctx context.Context, d *db.DB, req api.Request, in *diffInput) (Diff, error) {
				return compare(ctx, d, req.Caller, func(tx *db.Tx) (int64, Version, error) {
					old := in.Against
					if old == 0 {
						old = in.N - 1
					}
					now, err := versionOf(ctx, tx, in.N)
					return old, now, err
				})
			}),
		api.Write(api.Op{Method: "POST", Path: "/policies/revisions/{n}/rollback", ID: "rollback-policies",
			Action: "policy.publish", Tag: revisionTag, Summary: "Roll back to a revision", Status: 201,
			Description: "Publishes the older revision again, as a new one, with the engine's settings that it had."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *rollbackInput) (RevisionView, error) {
				r, err := rollback(ctx, tx, in.N, in.Body.Reason)
				if err != nil {
					return RevisionView{}, err
				}
				return revisionView(r), nil
			}),
	}
}

func showRevision(ctx context.Context, tx *db.Tx, _ api.Request, in *byNumber) (RevisionView, error) {
	r, err := getRevision(ctx, tx, in.N)
	if err != nil {
		return RevisionView{}, err
	}
	v := revisionView(r)
	if r.settings != "" {
		s, err := parseSettings(r.settings)
		if err != nil {
			return RevisionView{}, err
		}
		settings := settingsView(s)
		v.Settings = &settings
	}
	return v, nil
}

func export(ctx context.Context, d *db.DB, req api.Request, in *exportInput) (api.File, error) {
	if in.Draft && in.Revision > 0 {
		return api.File{}, fault.InvalidField("request.invalid", "draft", "Ask for the draft or for a revision, "+
			"not for both.")
	}
	out := api.File{ContentType: "application/zip", Name: "policies.zip"}
	if in.Format == TarGz {
		out.ContentType, out.Name = "application/gzip", "policies.tar.gz"
	}
	content, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) ([]byte, error) {
		if in.Draft {
			s, err := stateOf(ctx, tx)
			return Pack(s.files, in.Format), err
		}
		number := in.Revision
		if number == 0 {
			current, err := currentRevision(ctx, tx)
			if err != nil {
				return nil, err
			}
			number = current.Number
		}
		archive, err := revisionArchive(ctx, tx, number)
		if err != nil || in.Format == TarGz {
			return archive, err
		}
		files, err := ReadArchive(archive)
		return Pack(files, in.Format), err
	})
	out.Content = content
	return out, err
}

// compare compares a version with a revision, number 0 for none, both as read returns them.
func compare(ctx context.Context, d *db.DB, c caller.Caller, read func(tx *db.Tx) (old int64, now Version,
	err error)) (Diff, error) {
	type versions struct{ before, now Version }
	v, err := db.Read(ctx, d, c, func(tx *db.Tx) (versions, error) {
		number, now, err := read(tx)
		if err != nil || number == 0 {
			return versions{Version{Settings: engine.DefaultSettings()}, now}, err
		}
		before, err := versionOf(ctx, tx, number)
		return versions{before, now}, err
	})
	if err != nil {
		return Diff{}, err
	}
	out, err := Compare(ctx, v.before.Files, v.now.Files)
	out.Settings = compareSettings(v.before.Settings, v.now.Settings)
	return out, err
}

// versionOf returns a revision as a diff compares it.
func versionOf(ctx context.Context, tx *db.Tx, number int64) (Version, error) {
	p, err := Published(ctx, tx, number)
	if err != nil {
		return Version{}, err
	}
	files, err := RevisionFiles(ctx, tx, number)
	return Version{files, p.Settings}, err
}

// placeOf puts a revision's number into a cursor; numberAt reads it.
func placeOf(number int64) id.ID {
	var at id.ID
	binary.BigEndian.PutUint64(at[8:], uint64(number))
	return at
}

func numberAt(at id.ID) int64 { return int64(binary.BigEndian.Uint64(at[8:])) }
