package policy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func (deps Deps) draftOperations() []api.Operation {
	return slices.Concat(deps.draftAsAWhole(), draftFileOperations(), deps.draftChecks())
}

// draftAsAWhole are the operations on all of the draft.
func (deps Deps) draftAsAWhole() []api.Operation {
	return []api.Operation{
		api.Call(api.Op{Method: "POST", Path: "/policies/import", ID: "import-policies", Action: "policy.update",
			Tag: draftTag, Summary: "Import policies into the draft", Status: 201, Body: maxArchive, AtOnce: compiling,
			Accepts: []string{"application/gzip"},
			Description: "The body is a zip or tar.gz of an ordinary Cerbos policy directory. It replaces the " +
				"whole draft. With `publish=true` (which needs the action `policy.publish`) the policies are " +
				"compiled, tested and published at once. If anything is wrong, the answer is 422 with every " +
				"error, and nothing changes."},
			deps.importArchive),
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
		api.Write(api.Op{Method: "DELETE", Path: "/policies/draft", ID: "discard-policy-draft", Versioned: true,
			Action: "policy.update", Tag: draftTag, Summary: "Discard the draft",
			Description: "Drops every change since the revision in force."},
			func(ctx context.Context, tx *db.Tx, req api.Request, _ *struct{}) (api.None, error) {
				if req.Preconditions.Given() {
					d, err := getDraft(ctx, tx)
					if err == nil {
						err = req.Preconditions.Check(true, d.tag())
					}
					if err == nil && d.Changed() {
						_, err = bump(ctx, tx, d.Version) // it is still the one that was checked
					}
					if err != nil {
						return api.None{}, moved(err)
					}
				}
				return api.None{}, discard(ctx, tx)
			}),
		api.Call(api.Op{Method: "GET", Path: "/policies/draft/diff", ID: "diff-policy-draft", Action: "policy.read",
			Tag: draftTag, Summary: "Compare the draft with a revision", AtOnce: compiling},
			func(ctx context.Context, d *db.DB, req api.Request, in *draftDiffInput) (Diff, error) {
				return compare(ctx, d, req.Caller, func(tx *db.Tx) (int64, Version, error) {
					s, err := stateOf(ctx, tx)
					return cmp.Or(in.Against, s.current), Version{Files: s.files, Settings: s.settings}, err
				})
			}),
	}
}

// draftFileOperations are the operations on one file of the draft.
func draftFileOperations() []api.Operation {
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: "/policies/draft/files/{path...}", ID: "get-policy-file",
			Action: "policy.read", Tag: draftTag, Summary: "Get a draft file",
			Produces: []string{"text/plain", "application/json"}},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *fileInput) (api.File, error) {
				d, err := getDraft(ctx, tx)
				if err != nil {
					return api.File{}, err
				}
				f := api.File{ContentType: contentType(in.Path), ETag: d.tag()}
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
			Action: "policy.update", Reads: "policy.update", Versioned: true, Tag: draftTag,
			Summary: "Write a draft file", Body: compiler.MaxFile,
			Errors: []int{422},
			Description: "The body is the file, as it is. It may be wrong: the draft is checked when it is " +
				"validated, tested and published."},
			func(ctx context.Context, d *db.DB, req api.Request, in *putFileInput) (WrittenView, error) {
				content := slices.Clone(in.RawBody) // huma takes the buffer back
				return change(ctx, d, req, in.Path, func(tx *db.Tx, seen id.ID) (Draft, error) {
					return putFile(ctx, tx, seen, in.Path, content)
				})
			}),
		api.Call(api.Op{Method: "DELETE", Path: "/policies/draft/files/{path...}", ID: "delete-policy-file",
			Action: "policy.update", Reads: "policy.update", Versioned: true, Tag: draftTag,
			Summary: "Delete a draft file"},
			func(ctx context.Context, d *db.DB, req api.Request, in *fileInput) (WrittenView, error) {
				return change(ctx, d, req, in.Path, func(tx *db.Tx, seen id.ID) (Draft, error) {
					return deleteFile(ctx, tx, seen, in.Path)
				})
			}),
	}
}

// draftChecks are the operations that compile the draft, and its settings.
func (deps Deps) draftChecks() []api.Operation {
	return []api.Operation{
		api.Call(api.Op{Method: "POST", Path: "/policies/draft/validate", ID: "validate-policy-draft",
			Action: "policy.update", Reads: "policy.update", Tag: draftTag,
			Summary: "Validate the draft", AtOnce: compiling},
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
			Action: "policy.update", Reads: "policy.update", Tag: draftTag,
			Summary: "Test the draft", AtOnce: compiling,
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
		api.Call(api.Op{Method: "POST", Path: "/policies/draft/publish", ID: "publish-policy-draft", Versioned: true,
			Action: "policy.publish", Tag: draftTag, Summary: "Publish the draft", Status: 201, AtOnce: compiling,
			Description: "Compiles the draft, runs its suites and publishes exactly what passed. The revision is " +
				"in force on every replica within two seconds. If anything is wrong, the answer is 422 with every " +
				"error."},
			deps.publishDraft),
		api.Call(api.Op{Method: "PATCH", Path: "/policies/draft/settings", ID: "update-policy-draft-settings",
			Action: "policy.update", Reads: "policy.update", Versioned: true, Tag: draftTag,
			Summary: "Update the draft's settings of the policy engine",
			Description: "Validation, suites and replay of the draft use them, and its publication puts them in " +
				"force. If the settings in force change meanwhile, publishing the draft answers 409 first."},
			func(ctx context.Context, d *db.DB, req api.Request, in *patchDraftSettingsInput) (WrittenView, error) {
				return change(ctx, d, req, "", func(tx *db.Tx, seen id.ID) (Draft, error) {
					return changeSettings(ctx, tx, seen, in.Body)
				})
			}),
	}
}

// version reads the version of a publish request; zero for none.
func version(text string) (id.ID, error) {
	if text = strings.TrimSpace(text); text == "" {
		return id.ID{}, nil
	}
	v, err := id.Parse(text)
	if err != nil {
		return id.ID{}, fault.InvalidField("policy.version", "version", "This is not a version of a draft. Take it "+
			"from the answer that showed you the draft.")
	}
	return v, nil
}

// state is the draft with its files, the number in force and the settings.
type state struct {
	draft    Draft
	current  int64
	files    compiler.Files
	settings engine.Settings
}

// readState reads the state in a transaction of its own.
func readState(ctx context.Context, d *db.DB, c caller.Caller) (state, error) {
	return db.Read(ctx, d, c, func(tx *db.Tx) (state, error) { return stateOf(ctx, tx) })
}

// stateOf fails with errDraftMoved if the draft changes meanwhile: the parts would not fit.
func stateOf(ctx context.Context, tx *db.Tx) (state, error) {
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
	if err != nil {
		return state{}, err
	}
	now, err := getDraft(ctx, tx)
	if err == nil && now.Version != draft.Version {
		err = errDraftMoved
	}
	return state{draft, current, files, settings}, err
}

// change makes one change of the draft, or of its file at path. Without a draft it begins one from
// the revision in force. The preconditions of the request are on the draft's version, and on
// whether the file exists.
func change(ctx context.Context, d *db.DB, req api.Request, path string,
	fn func(tx *db.Tx, seen id.ID) (Draft, error)) (WrittenView, error) {
	before, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (state, error) {
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
	now, err := db.Write(ctx, d, req.Caller, func(tx *db.Tx) (Draft, error) {
		begun := false
		if !before.draft.Changed() {
			var err error
			if begun, err = begin(ctx, tx, before.draft.Base, before.files); err != nil {
				return Draft{}, err
			}
		}
		if !req.Preconditions.Given() {
			return fn(tx, id.ID{})
		}
		now, err := getDraft(ctx, tx)
		if err != nil {
			return Draft{}, err
		}
		tag := now.tag()
		if begun {
			tag = before.draft.tag()
		}
		exists := true
		if path != "" {
			if _, err := getFile(ctx, tx, path); errors.Is(err, errFileNotFound) {
				exists = false
			} else if err != nil {
				return Draft{}, err
			}
		}
		if err := req.Preconditions.Check(exists, tag); err != nil {
			return Draft{}, err
		}
		changed, err := fn(tx, now.Version)
		return changed, moved(err)
	})
	return WrittenView{now.Version.String(), now.Base}, err
}

// moved returns the failure of a precondition for a draft that changed after it was checked.
func moved(err error) error {
	if errors.Is(err, errDraftChanged) {
		return api.ErrPrecondition
	}
	return err
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

func contentType(path string) string {
	if strings.HasSuffix(path, ".json") {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}
