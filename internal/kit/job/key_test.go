package job_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// Of the jobs with one key the first due runs, whichever was enqueued first. A job that was given
// up no longer waits, so it does not keep the key.
func TestOfOneKeyTheFirstDueRuns(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		q, r, acme := setup(t, d)
		var ran []string
		fail := true
		r.Handle("say", func(_ context.Context, _ caller.Caller, p []byte) error {
			ran = append(ran, string(p))
			return nil
		})
		r.HandleAlone("fail", func(context.Context, caller.Caller) error {
			if fail {
				return errors.New("not yet")
			}
			ran = append(ran, "recovered")
			return nil
		})
		work := func(want ...string) {
			t.Helper()
			for r.Work(context.Background()) {
			}
			if !slices.Equal(ran, want) {
				t.Fatalf("ran %v, want %v", ran, want)
			}
		}
		say := func(text string, in time.Duration) {
			enqueue(t, d, q, acme, job.New{Kind: "say", Payload: text, Key: "k", Due: d.Clock.Now().Add(in)})
		}
		say("late", time.Hour)
		say("soon", time.Minute)
		say("later", 2*time.Hour)
		d.Clock.Advance(time.Minute)
		work(`"soon"`)
		d.Clock.Advance(3 * time.Hour)
		work(`"soon"`)

		enqueue(t, d, q, acme, job.New{Kind: "fail", Key: "k"})
		for range 20 {
			work(`"soon"`)
			d.Clock.Advance(time.Hour)
		}
		fail = false
		work(`"soon"`) // it was given up
		enqueue(t, d, q, acme, job.New{Kind: "fail", Key: "k"})
		work(`"soon"`, "recovered")
	})
}
