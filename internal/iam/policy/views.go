package policy

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// DraftView is the draft as the API shows it.
type DraftView struct {
	Changed   bool       `json:"changed" doc:"There is something to publish. Without a change the draft is the same as the revision in force."`
	Version   string     `json:"version,omitempty" doc:"It changes with every change of the draft. Send it as If-Match, or when you publish: if the draft has changed meanwhile, nothing is done."`
	Base      int64      `json:"base" doc:"The revision that the draft was begun from; 0 for none."`
	UpdatedBy string     `json:"updated_by,omitempty"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
	Files     []FileView `json:"files"`

	Settings SettingsView `json:"settings" doc:"The engine's settings that publishing the draft puts in force."`
}

// EntityTag implements api.Tagged.
func (v DraftView) EntityTag() string { return tagOf(v.Version, v.Base) }

// tagOf returns the entity tag of a draft and of its files. A draft without a change has none but
// that of the revision in force.
func tagOf(version string, base int64) string {
	if version != "" {
		return version
	}
	return "revision-" + strconv.FormatInt(base, 10)
}

// FileView is a file of the draft as the API lists it.
type FileView struct {
	Path string `json:"path" example:"policies/album.yaml"`
	Size int64  `json:"size" doc:"In bytes."`
}

// WrittenView is the answer to a change of one file.
type WrittenView struct {
	Version string `json:"version" doc:"The draft's version after the change."`
	Base    int64  `json:"base" doc:"The revision that the draft was begun from."`
}

// RevisionView is a revision as the API shows it.
type RevisionView struct {
	Revision  int64      `json:"revision" always:"true" doc:"Its number: 1, 2, 3, … of this tenant."`
	Origin    int64      `json:"rolled_back_to,omitempty" always:"true" doc:"The revision that a rollback published again."`
	Reason    string     `json:"reason" always:"true"`
	Author    AuthorView `json:"author" always:"true"`
	CreatedAt time.Time  `json:"created_at" always:"true"`
	Files     int64      `json:"files" doc:"How many files it has."`
	Bytes     int64      `json:"bytes" doc:"Their size together."`
	Digest    string     `json:"digest" doc:"SHA-256 of the files as tar.gz: revisions with the same digest have the same files."`

	Settings *SettingsView `json:"settings,omitempty" doc:"The engine's settings of this revision; only when one revision is fetched, and absent if an earlier release published it."`
	Warnings []ProblemView `json:"warnings,omitempty" always:"true" doc:"When it was just published: what you may not have meant."`
}

// AuthorView is the author of a revision.
type AuthorView struct {
	Kind     string `json:"kind" enum:"user,application,system"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	TenantID string `json:"tenant_id,omitempty" doc:"The author's own tenant: another one for a platform operator."`
}

// ImportView is the answer to an import.
type ImportView struct {
	Revision int64      `json:"revision,omitempty" always:"true" doc:"What has been published, with publish=true."`
	Draft    *DraftView `json:"draft,omitempty" doc:"The draft that was made, without publish."`

	Unchanged bool          `json:"unchanged,omitempty" always:"true" doc:"Nothing was published: the revision in force has the same files."`
	Warnings  []ProblemView `json:"warnings,omitempty" always:"true" doc:"With publish=true: what you may not have meant."`
}

// ValidationView says whether a draft compiles.
type ValidationView struct {
	Valid   bool          `json:"valid"`
	Version string        `json:"version,omitempty" doc:"The version of the draft that was validated."`
	Errors  []ProblemView `json:"errors"`

	Warnings []ProblemView `json:"warnings" doc:"What is accepted and perhaps not meant, such as a file that looks like a policy and is not read."`
}

// ProblemView is a Problem as the API shows it.
type ProblemView compiler.Problem

// TestView has the results of a draft's suites.
type TestView struct {
	compiler.Results
	Version string `json:"version,omitempty" doc:"The version of the draft that was tested."`
}

// problemViews returns problems or warnings as the API shows them.
func problemViews(ps []compiler.Problem) []ProblemView {
	out := []ProblemView{}
	for _, p := range ps {
		out = append(out, ProblemView(p))
	}
	return out
}

func draftView(d Draft, files []fileInfo, s engine.Settings) DraftView {
	v := DraftView{Settings: settingsView(s), Changed: d.Changed(), Version: d.Version.String(), Base: d.Base,
		UpdatedBy: d.UpdatedBy,
		Files:     []FileView{}}
	if d.Changed() {
		v.UpdatedAt = &d.UpdatedAt
	}
	for _, f := range files {
		v.Files = append(v.Files, FileView{f.Path, f.Size})
	}
	return v
}

func revisionView(r Revision) RevisionView {
	return RevisionView{
		Revision: r.Number, Origin: r.Origin, Reason: r.Reason, CreatedAt: r.CreatedAt, Files: r.Files, Bytes: r.Bytes,
		Digest: hex.EncodeToString(r.Digest),
		Author: AuthorView{string(r.Author.Kind), r.Author.ID.String(), r.Author.Name, r.Author.Tenant.String()},
	}
}

type (
	fileInput struct {
		Path string `path:"path" doc:"The path in the directory of policies; may contain slashes."`
	}
	putFileInput struct {
		Path    string `path:"path" doc:"The path in the directory of policies; may contain slashes."`
		RawBody []byte `contentType:"application/yaml"`
	}
	importInput struct {
		Publish    bool   `query:"publish" doc:"Check, test and publish at once. If anything is wrong, the draft stays as it is."`
		Reason     string `query:"reason" maxLength:"1000" doc:"Why, in a sentence. Needed to publish."`
		AllowEmpty bool   `query:"allow_empty" doc:"Publish even if no file is a policy that decides something. Then every request is denied."`
		RawBody    []byte `contentType:"application/zip"`
	}
	exportInput struct {
		Format   string `query:"format" enum:"zip,tar.gz" default:"zip"`
		Revision int64  `query:"revision" minimum:"1" doc:"The revision to export. Default: the one in force."`
		Draft    bool   `query:"draft" doc:"The draft instead of a revision."`
	}
	publishInput struct {
		Body struct {
			Reason       string `json:"reason" maxLength:"1000" doc:"Why, in a sentence. It is kept with the revision."`
			Version      string `json:"version,omitempty" maxLength:"40" doc:"The version of the draft that you mean. If it has been changed since, nothing is published."`
			Base         int64  `json:"base,omitempty" minimum:"0" doc:"The revision in force, to confirm that you have seen what it changed. Needed if the draft was begun from an older one."`
			Acknowledged string `json:"acknowledged,omitempty" maxLength:"200" doc:"What the replay of the draft gave, to say that its new ALLOWs are meant."`
			AllowEmpty   bool   `json:"allow_empty,omitempty" doc:"Publish even if no file is a policy that decides something. Then every request is denied."`
		}
	}
	byNumber struct {
		N int64 `path:"n" minimum:"1" doc:"The revision's number."`
	}
	diffInput struct {
		N       int64 `path:"n" minimum:"1" doc:"The revision's number."`
		Against int64 `query:"against" minimum:"1" doc:"The revision to compare with. Default: the one before."`
	}
	draftDiffInput struct {
		Against int64 `query:"against" minimum:"1" doc:"The revision to compare with. Default: the one in force."`
	}
	rollbackInput struct {
		N    int64 `path:"n" minimum:"1" doc:"The revision's number."`
		Body struct {
			Reason string `json:"reason" maxLength:"1000" doc:"Why, in a sentence. It is kept with the revision."`
		}
	}
	patchSettingsInput struct {
		Body struct {
			SettingsChange
			Reason string `json:"reason,omitempty" maxLength:"1000" doc:"Why, in a sentence. The revision keeps it. If it is omitted, the names of the settings are the reason."`
		}
	}
	patchDraftSettingsInput struct {
		Body SettingsChange
	}
	validateInput struct {
		AllowEmpty bool      `query:"allow_empty" doc:"A draft without a policy that decides something is valid."`
		Body       *struct{} // many clients send {} with every POST
	}
	nothing struct{ Body *struct{} } // many clients send {} with every POST
)
