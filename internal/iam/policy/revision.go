package policy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Revision is a published set of policies. It never changes.
type Revision struct {
	Number    int64 // 1 for the tenant's first
	Origin    int64 // the revision that a rollback published again; 0 for none
	Reason    string
	Author    caller.Actor // Kind, ID, Tenant and Name
	CreatedAt time.Time
	Files     int64
	Bytes     int64
	Digest    []byte // SHA-256 of the files as tar.gz: equal digests, equal files

	settings string // of the engine, as JSON; "" in a revision of an earlier release
}

var (
	// ErrNothingPublished reports that the tenant has no revision.
	ErrNothingPublished = fault.New(fault.NotFound, "policy.nothing_published", "No policies of this tenant have "+
		"been published yet.")
	// errRevisionNotFound reports a number that the tenant does not have.
	errRevisionNotFound = fault.New(fault.NotFound, "policy.revision_not_found", "There is no revision with this "+
		"number.")

	errNothingToPublish = fault.New(fault.Conflict, "policy.nothing_to_publish", "The draft has no change to "+
		"publish: it is the same as the revision in force. If you changed it, another user may just have "+
		"published it. Read the list of revisions.")
	errOvertaken = fault.New(fault.Conflict, "policy.overtaken", "Another revision was published while "+
		"yours was being checked. Read what it changed, then publish again.")
	errDraftMoved = fault.New(fault.Conflict, "policy.draft_changed", "The draft was changed or published "+
		"while it was being checked, so this request published nothing. Read the draft, test it, and publish again.")
)

// ErrInvalid reports that the policies do not compile, or that their suites do not pass. Its fields
// are the problems, each with file, line and column. Doors answer it with a status of its own, if
// they have one: the request is right, the policies are wrong.
var ErrInvalid = fault.New(fault.Invalid, "policy.invalid", "The policies are not valid. Nothing has been changed.")

// publishing is the request to publish a draft or an import.
type publishing struct {
	Version id.ID // of the draft; zero for an import, which replaces the draft
	Base    int64 // the revision that it follows
	Files   compiler.Files
	Reason  string

	Settings   engine.Settings // of the engine, which the revision keeps
	Before     string          // the settings in force, as JSON, if Settings are those; otherwise ""
	AllowEmpty bool            // a set without a policy that decides something
	Of         int64           // the revision whose files these are, if only the settings change; otherwise 0
}

// prepared is compiled, tested and packed, and waits for its transaction.
type prepared struct {
	publishing
	compiled compiler.Compiled
	sources  []byte
}

// prepare compiles the files and runs their suites, outside of any transaction because that is
// slow. It fails with ErrInvalid.
func prepare(ctx context.Context, p publishing) (prepared, error) {
	tested, err := compiler.Test(ctx, p.Files, p.Settings)
	if err == nil {
		err = tested.Err()
	}
	if err == nil && !p.AllowEmpty {
		err = tested.DecidesNothing(p.Files)
	}
	if err != nil {
		return prepared{}, refused(err)
	}
	return prepared{p, tested.Compiled, Pack(p.Files, TarGz)}, nil
}

// refused turns Problems into ErrInvalid, and returns other errors unchanged.
func refused(err error) error {
	problems, ok := errors.AsType[compiler.Problems](err)
	if !ok || len(problems) == 0 {
		return err
	}
	f := *ErrInvalid
	for _, p := range problems {
		f.Fields = append(f.Fields, fault.Field{Name: p.File, Reason: p.Message, File: true, Line: p.Line,
			Column: p.Column})
	}
	return &f
}

// publish stores a prepared revision. It succeeds only if the draft is the one that was checked,
// and the revision before is still in force. Of several publishers one succeeds; the others fail
// with a Conflict fault.
func publish(ctx context.Context, tx *db.Tx, p prepared) (Revision, error) {
	if p.Of > 0 {
		advanceDraft(tx, p.Of, p.Base+1)
	} else if p.Version.IsZero() {
		if _, err := dropDraft(ctx, tx); err != nil {
			return Revision{}, err
		}
	} else if taken, err := takeDraft(ctx, tx, p.Version); err != nil {
		return Revision{}, err
	} else if !taken {
		return Revision{}, errDraftMoved
	}
	if p.Base == 0 {
		if err := lockSettings(ctx, tx); err != nil {
			return Revision{}, err
		}
	}
	before, err := settingsInForce(ctx, tx)
	if err != nil {
		return Revision{}, err
	}
	if p.Base == 0 && p.Before != "" && p.Before != settingsText(before) {
		return Revision{}, errSettingsChanged
	}
	r := Revision{
		Number: p.Base + 1, Reason: p.Reason, Author: tx.Caller().Actor, CreatedAt: tx.Now(),
		Files: int64(len(p.Files)), Bytes: p.Files.Size(), Digest: digestOf(p.sources),
		settings: settingsText(p.Settings),
	}
	free, err := insertRevision(ctx, tx, r, p.compiled.Table, p.sources)
	if err != nil {
		return Revision{}, err
	}
	if !free {
		return Revision{}, errOvertaken
	}
	audit.Write(tx, audit.Event{Action: "policy.publish", Target: r.target(),
		Detail:  map[string]any{"reason": r.Reason, "files": r.Files},
		Changed: audit.Changes{}.With("settings", settingsView(before), settingsView(p.Settings))})
	mirrorSettings(tx, p.Settings)
	tenant.Touch(tx)
	return r, nil
}

// rollback publishes revision number again as a new revision, with the table that was compiled
// then and the engine's settings of then. A draft stays as it is. It fails with
// errRevisionNotFound, or with a Conflict fault if that revision is in force or another was
// published meanwhile.
func rollback(ctx context.Context, tx *db.Tx, number int64, reason string) (Revision, error) {
	reason, err := checkReason(reason)
	if err != nil {
		return Revision{}, err
	}
	old, err := getRevision(ctx, tx, number)
	if err != nil {
		return Revision{}, err
	}
	current, err := readInForce(ctx, tx)
	if err != nil {
		return Revision{}, err
	}
	settings := current.engine // an earlier release did not keep them
	if old.settings != "" {
		if settings, err = parseSettings(old.settings); err != nil {
			return Revision{}, err
		}
	}
	if current.is(old.Digest, settings) {
		return Revision{}, fault.New(fault.Conflict, "policy.in_force", "Revision %d, which is in force, has the "+
			"same files and settings as revision %d. There is nothing to roll back.", current.Number, number)
	}
	old.settings = settingsText(settings)
	r := old
	r.Number, r.Origin, r.Reason, r.Author, r.CreatedAt = current.Number+1, number, reason, tx.Caller().Actor, tx.Now()
	free, err := repeatRevision(ctx, tx, r)
	if err != nil {
		return Revision{}, err
	}
	if !free {
		return Revision{}, errOvertaken
	}
	audit.Write(tx, audit.Event{Action: "policy.rollback", Target: r.target(),
		Detail:  map[string]any{"reason": r.Reason, "to": number},
		Changed: audit.Changes{}.With("settings", settingsView(current.engine), settingsView(settings))})
	mirrorSettings(tx, settings)
	tenant.Touch(tx)
	return r, nil
}

// inForce is the revision in force with the engine's settings. Its number is 0 if there is none,
// and the settings are then those of the first revision.
type inForce struct {
	Revision
	engine engine.Settings
}

func readInForce(ctx context.Context, tx *db.Tx) (inForce, error) {
	r, err := currentRevision(ctx, tx)
	if err != nil && !errors.Is(err, ErrNothingPublished) {
		return inForce{}, err
	}
	s, err := settingsOf(ctx, tx, r.settings)
	return inForce{r, s}, err
}

// is reports whether the revision has the files of a digest and the settings, so that publishing
// them would change nothing.
func (f inForce) is(digest []byte, s engine.Settings) bool {
	return f.Number > 0 && bytes.Equal(f.Digest, digest) && settingsText(f.engine) == settingsText(s)
}

// digestOf returns the digest of a packed set of files.
func digestOf(sources []byte) []byte {
	sum := sha256.Sum256(sources)
	return sum[:]
}

func (r Revision) target() audit.Target {
	n := strconv.FormatInt(r.Number, 10)
	return audit.Target{Kind: "policy", ID: n, Name: "revision " + n}
}

// maxReason bounds a reason, in bytes.
const maxReason = 1000

// checkReason returns the reason as it is stored, or an Invalid fault.
func checkReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return "", fault.InvalidField("policy.reason", "reason", "Say why, in a sentence: it is kept with the "+
			"revision.")
	case len(reason) > maxReason:
		return "", fault.InvalidField("policy.reason", "reason", "The reason may have at most %d bytes.", maxReason)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool {
		return unicode.IsControl(r) &&
			r != '\n' && r != '\t'
	}):
		return "", fault.InvalidField("policy.reason", "reason", "The reason contains control characters.")
	}
	return reason, nil
}
