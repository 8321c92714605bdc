package decision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// maxReplays bounds the stored replays of one version of a draft. All of them count when it is
// published.
const maxReplays = 100

var (
	errNoReplay = fault.New(fault.NotFound, "policy.no_replay",
		"This version of the draft has not been replayed. Replay it first.")
	errManyReplays = fault.New(fault.Limited, "policy.many_replays",
		"This version of the draft has been replayed %d times. Change it or publish it.", maxReplays)
	errUnacknowledged = fault.New(fault.Conflict, "policy.unacknowledged",
		"Replaying this draft found decisions that were denied and would be allowed, and this request does not "+
			"acknowledge them. Read them in the replay. If they are meant, publish with its acknowledge as "+
			"acknowledged.")
	errDraftMoved = fault.New(fault.Conflict, "policy.draft_changed",
		"The draft was changed while it was being replayed. Replay it again.")
	errPeriod = fault.InvalidField("request.invalid", "from", "The period must begin before it ends.")
)

// Period selects the records of a replay.
type Period struct {
	From, To time.Time // From inclusive, To exclusive
	Records  int       // at most, of those that a draft can change; more if several share the last microsecond
	// WithoutPeople skips records about people of the directory. A draft is a question, so a caller
	// who may not see people could read their attributes from its answers.
	WithoutPeople bool
}

// Replay answers the records of a period again with a draft and the revision in force, the newest
// first. It stops at the end of the period or at a limit.
func Replay(ctx context.Context, d *db.DB, c caller.Caller, r policy.Rehearsal, p Period) (Report, error) {
	return replayWithin(ctx, replayTime, d, c, r, p)
}

func replayWithin(ctx context.Context, bound time.Duration, d *db.DB, c caller.Caller, r policy.Rehearsal,
	p Period) (Report, error) {
	byDraft, byCurrent := mayRead(r.New.Files, r.New.Settings), mayRead(r.Old.Files, r.Old.Settings)
	run := replay{draft: r.New.Evaluator, current: r.Old.Evaluator, flips: map[flipped]*Flip{},
		differ: map[flipped]*Flip{}, unable: map[string]int{}, withoutPeople: p.WithoutPeople,
		reads: func(path string) bool { return byDraft(path) || byCurrent(path) }}
	run.report = Report{ID: id.New(), Revision: r.Current, From: p.From, To: p.To, Until: p.To}
	limited, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	f := Filter{From: p.From, To: p.To}
	for after := (id.ID{}); ; {
		rows, err := db.Read(limited, d, c, func(tx *db.Tx) ([]Record, error) {
			run.report.At = tx.Now()
			return f.scan(limited, tx, after, scanRows)
		})
		for i := 0; err == nil && i < len(rows); i++ {
			// Never stop between two records of one moment: the replay from Until would skip the
			// second.
			between := !rows[i].At.Equal(run.report.Until)
			switch {
			// Skip records that no draft can change: management calls alone may exceed the limit.
			case between && run.report.Records-run.report.Unaffected >= p.Records:
				run.report.Stopped = "records"
			case between && len(run.flips) >= maxFlips:
				run.report.Stopped = "flips"
			}
			if run.report.Stopped != "" {
				return run.finish(), nil
			}
			after = rows[i].ID
			err = run.record(limited, &rows[i])
		}
		switch {
		case ctx.Err() != nil:
			return Report{}, ctx.Err()
		case limited.Err() != nil:
			run.report.Stopped = "time"
			if run.report.Records > 0 { // read the last moment again: it may have more records
				run.report.Until = run.report.Until.Add(time.Microsecond)
			}
			return run.finish(), nil
		case err != nil:
			return Report{}, err
		case len(rows) < scanRows:
			run.report.Complete, run.report.Until = true, p.From
			return run.finish(), nil
		}
	}
}

// keepReplay stores a report about a version of the draft. It completes the report with the text
// that acknowledges all replays of the version, and deletes the replays of other versions. It fails
// with a Conflict fault if the draft has changed meanwhile.
func keepReplay(ctx context.Context, tx *db.Tx, version, now id.ID, r *Report) error {
	if now != version {
		return errDraftMoved
	}
	if _, err := tx.Exec(ctx,
		`DELETE FROM policy_replays WHERE tenant_id = $1 AND (draft_version <> $2 OR digest = $3)`, version,
		r.digest); err != nil {
		return err
	}
	found, err := digests(ctx, tx, version)
	if err != nil {
		return err
	}
	if len(found) >= maxReplays {
		return errManyReplays
	}
	r.DraftVersion, r.Acknowledge = version.String(), together(append(found, r.digest))
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tx.Later(
		`INSERT INTO policy_replays (tenant_id, id, draft_version, digest, report, created_at)
			VALUES ($1, $2, $3, $4, $5, $6)`,
		r.ID, version, r.digest, text, tx.Now())
	audit.Write(tx, audit.Event{Action: "policy.replay",
		Target: audit.Target{Kind: "policy", ID: "draft", Name: "draft"}, Detail: map[string]any{
			"records": r.Records, "replayed": r.Replayed, "new_allows": len(r.NewAllows),
			"new_denies": len(r.NewDenies), "differ": r.Differ, "complete": r.Complete}})
	return nil
}

// lastReplay returns the newest report about a version of the draft.
func lastReplay(ctx context.Context, tx *db.Tx, version id.ID) (Report, error) {
	var r Report
	text, err := db.One(ctx, tx, db.Column[[]byte],
		`SELECT report FROM policy_replays WHERE tenant_id = $1 AND draft_version = $2 ORDER BY id DESC LIMIT 1`,
		version)
	if errors.Is(err, db.ErrNoRows) {
		return Report{}, errNoReplay
	}
	if err != nil {
		return Report{}, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return Report{}, fmt.Errorf("replay: %w", err)
	}
	return r, nil
}

// digests returns those of all replays of a version, with "" for a replay without new ALLOWs.
func digests(ctx context.Context, tx *db.Tx, version id.ID) ([]string, error) {
	return db.List(ctx, tx, db.Column[string],
		fmt.Sprintf(`SELECT digest FROM policy_replays WHERE tenant_id = $1 AND draft_version = $2 LIMIT %d`,
			maxReplays), version)
}

// together returns the acknowledgement of several replays: the digest of one, or a digest of them
// all.
func together(found []string) string {
	found = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(found))),
		func(s string) bool { return s == "" })
	if len(found) < 2 {
		return strings.Join(found, "")
	}
	sum := sha256.Sum256([]byte(strings.Join(found, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Acknowledged rejects the publication of a draft with unacknowledged new ALLOWs. It fails with a
// Conflict fault.
func Acknowledged(ctx context.Context, tx *db.Tx, version id.ID, acknowledged string) error {
	found, err := digests(ctx, tx, version)
	if err != nil {
		return err
	}
	if wanted := together(found); wanted != "" && wanted != acknowledged {
		return errUnacknowledged
	}
	return nil
}
