package decision

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var background = context.Background()

// found is a report of new ALLOWs of the given principals.
func found(principals ...string) *Report {
	r := &Report{ID: id.New()}
	for _, p := range principals {
		r.NewAllows = append(r.NewAllows,
			Flip{Principal: p, ResourceKind: "document", ResourceID: "d1", Action: "read", Before: "EFFECT_DENY",
				After: "EFFECT_ALLOW"})
	}
	r.digest = digest(r.NewAllows)
	return r
}

// desk stores and acknowledges replays as one tenant.
type desk struct {
	t *testing.T
	d *testkit.Database
	c caller.Caller
}

func (k desk) keep(version id.ID, r *Report) error {
	return k.d.Update(background, k.c, func(tx *db.Tx) error { return keepReplay(background, tx, version, version, r) })
}

func (k desk) acknowledged(version id.ID, text string) error {
	return k.d.View(background, k.c, func(tx *db.Tx) error { return Acknowledged(background, tx, version, text) })
}

func (k desk) last(version id.ID) (Report, error) {
	var r Report
	err := k.d.View(background, k.c,
		func(tx *db.Tx) error {
			var err error
			r, err = lastReplay(background, tx, version)
			return err
		})
	return r, err
}

// Only the acknowledgement of all replays of a version publishes it.
func TestAllReplaysOfTheVersionAreAcknowledged(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		k := desk{t, d, d.Tenant(t, "acme")}
		neighbour := desk{t, d, d.Tenant(t, "globex")}
		one, two := id.New(), id.New()
		refuses := func(version id.ID, texts ...string) {
			t.Helper()
			for _, text := range texts {
				if err := k.acknowledged(version, text); !errors.Is(err, errUnacknowledged) {
					t.Errorf("acknowledged with %q: %v", text, err)
				}
			}
		}
		accepts := func(version id.ID, text string) {
			t.Helper()
			if err := k.acknowledged(version, text); err != nil {
				t.Errorf("not acknowledged with %q: %v", text, err)
			}
		}
		keep := func(version id.ID, r *Report) *Report {
			t.Helper()
			if err := k.keep(version, r); err != nil {
				t.Fatal(err)
			}
			if got, err := k.last(version); err != nil || got.ID != r.ID || got.Acknowledge != r.Acknowledge ||
				got.DraftVersion != version.String() {
				t.Errorf("the last replay is %+v: %v", got, err)
			}
			return r
		}
		accepts(one, "")
		if nothing := keep(one, found()); nothing.Acknowledge != "" {
			t.Errorf("nothing was found, and %q acknowledges it", nothing.Acknowledge)
		}
		accepts(one, "")
		ada := keep(one, found("ada"))
		if ada.Acknowledge != ada.digest {
			t.Errorf("%q acknowledges %q", ada.Acknowledge, ada.digest)
		}
		accepts(one, ada.Acknowledge)
		bob := keep(one, found("bob"))
		refuses(one, "", "x", ada.Acknowledge, bob.digest, found("ada", "bob").digest)
		accepts(one, bob.Acknowledge)
		// A replay that finds nothing, or the same again, withdraws no acknowledgement.
		for _, r := range []*Report{found(), found("ada"), found("bob")} {
			if again := keep(one, r); again.Acknowledge != bob.Acknowledge {
				t.Errorf("%q acknowledges after another replay", again.Acknowledge)
			}
		}
		refuses(one, "", ada.digest)
		if err := neighbour.acknowledged(one, ""); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
		if err := neighbour.keep(one, found("eve")); err != nil {
			t.Error(err)
		}
		accepts(one, bob.Acknowledge)

		// The draft changes: neither the findings about it nor their acknowledgement count.
		accepts(two, "")
		if _, err := k.last(two); !errors.Is(err, errNoReplay) {
			t.Errorf("a version that was not replayed: %v", err)
		}
		eve := keep(two, found("eve"))
		if eve.Acknowledge != eve.digest {
			t.Errorf("another version's replays are in %q", eve.Acknowledge)
		}
		refuses(two, "", bob.Acknowledge)
		if _, err := k.last(one); !errors.Is(err, errNoReplay) {
			t.Errorf("a version that is no more: %v", err)
		}
		if err := d.Update(background, k.c,
			func(tx *db.Tx) error { return keepReplay(background, tx, two, id.New(), found("max")) }); !errors.Is(err,
			errDraftMoved) {
			t.Errorf("a draft that moved: %v", err)
		}
		var events []string
		if err := d.View(background, k.c, func(tx *db.Tx) error {
			var err error
			events, err = db.List(background, tx, db.Column[string],
				`SELECT action FROM audit_events WHERE tenant_id = $1 AND action = 'policy.replay'`)
			return err
		}); err != nil || len(events) != 7 {
			t.Errorf("%d events of 7 replays: %v", len(events), err)
		}
	})
}

func TestAVersionIsReplayedABoundedNumberOfTimes(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		k, version := desk{t, d, d.Tenant(t, "acme")}, id.New()
		for i := range maxReplays {
			if err := k.keep(version, found(fmt.Sprint(i))); err != nil {
				t.Fatalf("replay %d: %v", i, err)
			}
		}
		if err := k.keep(version, found("7")); err != nil {
			t.Errorf("what was found before takes no more room: %v", err)
		}
		if err := k.keep(version, found("one more")); !errors.Is(err, errManyReplays) {
			t.Errorf("one more than is counted when it is published: %v", err)
		}
		if err := k.keep(id.New(), found("one more")); err != nil {
			t.Errorf("the next version: %v", err)
		}
	})
}

// Another new ALLOW gives another digest; another count does not.
func TestADigestStandsForTheNewAllows(t *testing.T) {
	flip := Flip{Principal: "ada", ResourceKind: "document", ResourceID: "d1", Action: "read", Before: "EFFECT_DENY",
		After: "EFFECT_ALLOW"}
	want := digest([]Flip{flip})
	for name, change := range map[string]func(f *Flip){
		"principal": func(f *Flip) { f.Principal = "bob" },
		"kind":      func(f *Flip) { f.ResourceKind = "folder" },
		"resource":  func(f *Flip) { f.ResourceID = "d2" },
		"action":    func(f *Flip) { f.Action = "write" },
		"answer":    func(f *Flip) { f.After = "KIND_CONDITIONAL" },
	} {
		f := flip
		change(&f)
		if digest([]Flip{f}) == want || digest([]Flip{flip, f}) == want {
			t.Errorf("another %s has the same digest", name)
		}
	}
	often := flip
	often.Times, often.Last, often.Decision = 7, time.Now(), id.New()
	if digest([]Flip{often}) != want || digest(nil) != "" {
		t.Error("the digest is about more than who may do what")
	}
}

// A record at which the time ran out does not count: the next replay starts with it.
func TestWhatTheTimeEndedIsNotCounted(t *testing.T) {
	d := testkit.Open(t, testkit.SQLite(t))
	files := compiler.Files{"document.yaml": []byte(
		"apiVersion: api.cerbos.dev/v1\nresourcePolicy: {resource: document, version: default, rules: [{actions: " +
			"[read], effect: EFFECT_ALLOW, roles: [employee]}]}\n")}
	compiled, err := compiler.Compile(background, files, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Load(compiled.Table, engine.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	to := d.Clock.Now()
	run := replay{draft: e, reads: func(string) bool { return false }, flips: map[flipped]*Flip{},
		differ: map[flipped]*Flip{}, unable: map[string]int{}, report: Report{Until: to}}
	over, cancel := context.WithCancel(background)
	cancel()
	r := &Record{At: to.Add(-time.Minute), Decision: Decision{
		Inputs: []*enginev1.CheckInput{
			{Principal: &enginev1.Principal{Id: "ada", Roles: []string{"employee"}},
				Resource: &enginev1.Resource{Kind: "document", Id: "d1"}, Actions: []string{"read"}}},
		Outputs: []*enginev1.CheckOutput{{Actions: map[string]*enginev1.CheckOutput_ActionEffect{"read": {Effect: 2}}}},
	}}
	if err := run.record(over, r); !errors.Is(err, context.Canceled) || run.report.Records != 0 ||
		!run.report.Until.Equal(to) || len(run.unable) != 0 {
		t.Errorf("%v, %+v, %v", err, run.report, run.unable)
	}
	if err := run.record(background, r); err != nil || run.report.Records != 1 || !run.report.Until.Equal(r.At) ||
		len(run.finish().NewAllows) != 1 {
		t.Errorf("%v, %+v", err, run.report)
	}

	acme := d.Tenant(t, "acme")
	rehearsal := policy.Rehearsal{New: policy.Rehearsed{Files: files, Settings: engine.DefaultSettings(),
		Evaluator: e}}
	p := Period{From: to.Add(-time.Hour), To: to, Records: 10}
	got, err := replayWithin(background, time.Nanosecond, d.DB, acme, rehearsal, p)
	if err != nil || got.Complete || got.Stopped != "time" || !got.Until.Equal(to) {
		t.Errorf("without time: %+v %v", got, err)
	}
	if _, err := Replay(over, d.DB, acme, rehearsal, p); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever asked went away: %v", err)
	}
}
