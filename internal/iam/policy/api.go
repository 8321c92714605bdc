package policy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Deps is what the operations need from other packages.
type Deps struct {
	// Acknowledged refuses, by a Conflict fault, to publish a version of the draft whose
	// replay found decisions that become ALLOW and were not acknowledged. It runs in the
	// transaction that publishes; acknowledged is what the request says. nil accepts all.
	Acknowledged func(ctx context.Context, tx *db.Tx, draft id.ID, acknowledged string) error
}

// version reads an If-Match header, or the version of a publish request.
func version(text string) (id.ID, error) {
	text = strings.Trim(strings.TrimSpace(text), `"`)
	if text == "" || text == "*" {
		return id.ID{}, nil
	}
	v, err := id.Parse(text)
	if err != nil {
		return id.ID{}, fault.InvalidField("policy.version", "version", "This is not a version of a draft. Take it "+
			"from the answer that showed you the draft.")
	}
	return v, nil
}

// Bounds on a tenant's costly requests at once. The whole process has few places for compiling, so
// a tenant gets one. Other costly requests pack archives.
const (
	compiling = 1
	costly    = 2
)

// Operations are the management operations on policies.
func Operations(deps Deps) []api.Operation {
	const draftTag, revisionTag = "Policy draft", "Policy revisions"
	return []api.Operation{
		api.Call(api.Op{Method: "POST", Path: "/policies/import", ID: "import-policies", Action: "policy.update",
			Tag: draftTag, Summary: "Import policies into the draft", Status: 201, Body: maxArchive, AtOnce: compiling,
			Description: "The body is a zip or tar.gz of an ordinary Cerbos policy directory. It replaces the " +
				"whole draft. With `publish=true` (which needs the action `policy.publish`) the policies are " +
				"compiled, tested and published at once. If anything is wrong, the answer is 422 with every " +
				"error, and nothing changes."},
			deps.importArchive),
		api.Call(api.Op{Method: "GET", Path: "/policies/export", ID: "export-policies", Action: "policy.read",
			Tag: revisionTag, Summary: "Export policies as a zip or tar.gz", AtOnce: costly,
			Description: "An ordinary Cerbos policy directory: `cerbos compile` takes it. The same files always " +
				"produce the same bytes."},
			export),
		api.Read(api.Op{Method: "GET", Path: "/policies/draft", ID: "get-policy-draft", Action: "policy.read",
			Tag: draftTag, Summary: "Get the draft", Description: "With the list of its files."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (DraftView, error) {
				d, err := getDraft(ctx, tx)
				if err != nil {
					return DraftView{}, err
				}
				settings, err := draftSettings(ctx, tx, d)
				if err != nil {
					return DraftView{}, err
				}
				infos, err := describe(ctx, tx, d)
				return draftView(d, infos, settings), err
			}),
		api.Write(api.Op{Method: "DELETE", Path: "/policies/draft", ID: "discard-policy-draft",
			Action: "policy.update", Tag: draftTag, Summary: "Discard the draft",
			Description: "Drops every change since the revision in force."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (api.None, error) {
				return api.None{}, discard(ctx, tx)
			}),
		api.Call(api.Op{Method: "GET", Path: "/policies/draft/diff", ID: "diff-policy-draft", Action: "policy.read",
			Tag: draftTag, Summary: "Compare the draft with a revision", AtOnce: compiling},
			func(ctx context.Context, d *db.DB, req api.Request, in *draftDiffInput) (Diff, error) {
				return compare(ctx, d, req.Caller, func(tx *db.Tx) (int64, Version, error) {
					old := in.Against
					if old == 0 {
						var err error
						if old, err = currentNumber(ctx, tx); err != nil {
							return 0, Version{}, err
						}
					}
					draft, err := getDraft(ctx, tx)
					if err != nil {
						return 0, Version{}, err
					}
					now := Version{}
					if now.Settings, err = draftSettings(ctx, tx, draft); err != nil {
						return 0, Version{}, err
					}
					now.Files, err = filesOf(ctx, tx, draft)
					return old, now, err
				})
			}),
		api.Read(api.Op{Method: "GET", Path: "/policies/draft/files/{path...}", ID: "get-policy-file",
			Action: "policy.read", Tag: draftTag, Summary: "Get a draft file"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *fileInput) (api.File, error) {
				d, err := getDraft(ctx, tx)
				if err != nil {
					return api.File{}, err
				}
				f := api.File{ContentType: contentType(in.Path), ETag: d.Version.String()}
				if d.Changed() {
					f.Content, err = getFile(ctx, tx, in.Path)
					return f, err
				}
				files, err := filesOf(ctx, tx, d)
				if err != nil {
					return api.File{}, err
				}
				content, ok := files[in.Path]
				if !ok {
					return api.File{}, errFileNotFound
				}
				f.Content = content
				return f, nil
			}),
		api.Call(api.Op{Method: "PUT", Path: "/policies/draft/files/{path...}", ID: "put-policy-file",
			Action: "policy.update", Tag: draftTag, Summary: "Write a draft file", Body: compiler.MaxFile,
			Description: "The body is the file, as it is. It may be wrong: the draft is checked when it is " +
				"validated, tested and published."},
			func(ctx context.Context, d *db.DB, req api.Request, in *putFileInput) (WrittenView, error) {
				content := slices.Clone(in.RawBody) // huma takes the buffer back
				return change(ctx, d, req.Caller, in.IfMatch, func(tx *db.Tx, seen id.ID) (Draft, error) {
					return putFile(ctx, tx, seen, in.Path, content)
				})
			}),
		api.Call(api.Op{Method: "DELETE", Path: "/policies/draft/files/{path...}", ID: "delete-policy-file",
			Action: "policy.update", Tag: draftTag, Summary: "Delete a draft file"},
			func(ctx context.Context, d *db.DB, req api.Request, in *deleteFileInput) (WrittenView, error) {
				return change(ctx, d, req.Caller, in.IfMatch, func(tx *db.Tx, seen id.ID) (Draft, error) {
					return deleteFile(ctx, tx, seen, in.Path)
				})
			}),
		api.Call(api.Op{Method: "POST", Path: "/policies/draft/validate", ID: "validate-policy-draft",
			Action: "policy.update", Tag: draftTag, Summary: "Validate the draft", AtOnce: compiling},
			func(ctx context.Context, d *db.DB, req api.Request, in *validateInput) (ValidationView, error) {
				s, err := readState(ctx, d, req.Caller)
				if err != nil {
					return ValidationView{}, err
				}
				v := ValidationView{Valid: true, Version: s.draft.Version.String(), Errors: []ProblemView{},
					Warnings: []ProblemView{}}
				compiled, err := compiler.Compile(ctx, s.files, s.settings)
				if err == nil {
					v.Warnings = problemViews(compiled.Warnings)
					if !in.AllowEmpty {
						err = compiled.DecidesNothing(s.files)
					}
				}
				if problems, ok := errors.AsType[compiler.Problems](err); ok {
					v.Valid, v.Errors, err = false, problemViews(problems), nil
				}
				return v, err
			}),
		api.Call(api.Op{Method: "POST", Path: "/policies/draft/test", ID: "test-policy-draft",
			Action: "policy.update", Tag: draftTag, Summary: "Test the draft", AtOnce: compiling,
			Description: "Every `*_test.yaml` of the draft, case by case. If the policies do not compile, the " +
				"answer is 422."},
			func(ctx context.Context, d *db.DB, req api.Request, _ *nothing) (TestView, error) {
				s, err := readState(ctx, d, req.Caller)
				if err != nil {
					return TestView{}, err
				}
				r, err := compiler.Test(ctx, s.files, s.settings)
				return TestView{r.Results, s.draft.Version.String()}, refused(err)
			}),
		api.Call(api.Op{Method: "POST", Path: "/policies/draft/publish", ID: "publish-policy-draft",
			Action: "policy.publish", Tag: draftTag, Summary: "Publish the draft", Status: 201, AtOnce: compiling,
			Description: "Compiles the draft, runs its suites and publishes exactly what passed. The revision is " +
				"in force on every replica within two seconds. If anything is wrong, the answer is 422 with every " +
				"error."},
			deps.publishDraft),
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
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *byNumber) (RevisionView, error) {
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
			}),
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
		api.Read(api.Op{Method: "GET", Path: "/policies/settings", ID: "get-policy-settings", Action: "policy.read",
			Tag: "Policy settings", Summary: "Get the settings of the policy engine"},
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (SettingsView, error) {
				s, err := settingsInForce(ctx, tx)
				return settingsView(s), err
			}),
		api.Call(api.Op{Method: "PATCH", Path: "/policies/settings", ID: "update-policy-settings",
			Action: "policy.publish", Tag: "Policy settings", Summary: "Update the settings of the policy engine",
			AtOnce: compiling,
			Description: "They apply at once: the files in force are tested by them and published again, as a new " +
				"revision. To try settings first, change those of the draft."},
			deps.configure),
		api.Call(api.Op{Method: "PATCH", Path: "/policies/draft/settings", ID: "update-policy-draft-settings",
			Action: "policy.update", Tag: draftTag, Summary: "Update the draft's settings of the policy engine",
			Description: "Validation, suites and replay of the draft use them, and its publication puts them in " +
				"force."},
			func(ctx context.Context, d *db.DB, req api.Request, in *patchDraftSettingsInput) (WrittenView, error) {
				return change(ctx, d, req.Caller, in.IfMatch, func(tx *db.Tx, seen id.ID) (Draft, error) {
					return changeSettings(ctx, tx, seen, in.Body)
				})
			}),
	}
}

// state is the draft with its files, the number in force and the settings. The draft's version is
// read first, so that a later change is noticed when versions are compared.
type state struct {
	draft    Draft
	current  int64
	files    compiler.Files
	settings engine.Settings
}

func readState(ctx context.Context, d *db.DB, c caller.Caller) (state, error) {
	return db.Read(ctx, d, c, func(tx *db.Tx) (state, error) {
		draft, err := getDraft(ctx, tx)
		if err != nil {
			return state{}, err
		}
		current, err := currentNumber(ctx, tx)
		if err != nil {
			return state{}, err
		}
		settings, err := draftSettings(ctx, tx, draft)
		if err != nil {
			return state{}, err
		}
		files, err := filesOf(ctx, tx, draft)
		return state{draft, current, files, settings}, err
	})
}

// change makes one change of the draft. Without a draft it begins one from the revision in force.
// ifMatch is the header.
func change(ctx context.Context, d *db.DB, c caller.Caller, ifMatch string, fn func(tx *db.Tx, seen id.ID) (Draft,
	error)) (WrittenView, error) {
	seen, err := version(ifMatch)
	if err != nil {
		return WrittenView{}, err
	}
	before, err := db.Read(ctx, d, c, func(tx *db.Tx) (state, error) {
		now, err := getDraft(ctx, tx)
		if err != nil || now.Changed() {
			return state{draft: now}, err
		}
		files, err := filesOf(ctx, tx, now)
		return state{draft: now, files: files}, err
	})
	if err != nil {
		return WrittenView{}, err
	}
	now, err := db.Write(ctx, d, c, func(tx *db.Tx) (Draft, error) {
		if seen.IsZero() && !before.draft.Changed() {
			if err := begin(ctx, tx, before.draft.Base, before.files); err != nil {
				return Draft{}, err
			}
		}
		return fn(tx, seen)
	})
	return WrittenView{now.Version.String(), now.Base}, err
}

// describe lists the files of the draft.
func describe(ctx context.Context, tx *db.Tx, d Draft) ([]fileInfo, error) {
	if d.Changed() {
		return listFiles(ctx, tx)
	}
	files, err := filesOf(ctx, tx, d)
	var out []fileInfo
	for p, content := range files {
		out = append(out, fileInfo{Path: p, Size: int64(len(content))})
	}
	slices.SortFunc(out, func(a, b fileInfo) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

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
	if len(p.Files) == 0 {
		return ImportView{}, archiveFault("The archive has no files.")
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
	current, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (Revision, error) {
		r, err := currentRevision(ctx, tx)
		if errors.Is(err, ErrNothingPublished) {
			r, err = Revision{}, nil
		}
		if err != nil {
			return Revision{}, err
		}
		p.Settings, err = settingsInForce(ctx, tx)
		return r, err
	})
	if err != nil {
		return ImportView{}, err
	}
	if current.has(p.Files) {
		return ImportView{Revision: current.Number, Unchanged: true}, nil
	}
	p.Base = current.Number
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
	unchanged, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (bool, error) {
		r, err := currentRevision(ctx, tx)
		if errors.Is(err, ErrNothingPublished) {
			return false, nil
		}
		if err != nil || !r.has(s.files) {
			return false, err
		}
		settings, err := settingsInForce(ctx, tx)
		return settingsText(settings) == settingsText(s.settings), err
	})
	if err != nil {
		return RevisionView{}, err
	}
	if unchanged {
		return RevisionView{}, errNothingToPublish
	}
	r, found, err := deps.publish(ctx, d, req.Caller, publishing{Version: s.draft.Version, Base: base,
		Files: s.files, Settings: s.settings, Reason: reason, AllowEmpty: in.Body.AllowEmpty}, in.Body.Acknowledged)
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
			files, err := readDraftFiles(ctx, tx)
			return Pack(files, in.Format), err
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

func contentType(path string) string {
	if strings.HasSuffix(path, ".json") {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// placeOf puts a revision's number into a cursor; numberAt reads it.
func placeOf(number int64) id.ID {
	var at id.ID
	binary.BigEndian.PutUint64(at[8:], uint64(number))
	return at
}

func numberAt(at id.ID) int64 { return int64(binary.BigEndian.Uint64(at[8:])) }
