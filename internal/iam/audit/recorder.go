package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/batch"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Access is a request that changed nothing.
type Access struct {
	Action    string
	Target    Target
	User      id.ID  // for whom tokens were issued; zero if for none
	GrantType string // of issued tokens
	Detail    map[string]any
}

type access struct {
	Access
	caller caller.Caller
	at     time.Time
}

// Recorder writes access records in batches. It is safe for concurrent use.
type Recorder struct {
	*batch.Writer[access]
	clock clock.Clock
}

// NewRecorder starts a recorder; Close ends it.
func NewRecorder(d *db.DB, c clock.Clock, log *slog.Logger) *Recorder {
	return &Recorder{batch.New(d, log, batch.Table[access]{
		Name: "access records", Into: "access_records",
		Columns: []string{"at", "id", "action", "actor_kind", "actor_id", "actor_name", "target_kind", "target_id",
			"target_name", "address", "request_id", "detail", "user_id", "grant_type"},
		Rows: accessRows,
	}), c}
}

// Record queues an access record and never waits. If the queue is full it drops and counts the
// record.
func (r *Recorder) Record(c caller.Caller, a Access) {
	r.Put(c.Tenant, access{a, c, r.clock.Now()}, 0)
}

func accessRows(_ context.Context, _ caller.Caller, records []access) ([]any, error) {
	args := make([]any, 0, 14*len(records))
	for _, a := range records {
		c := a.caller
		args = append(args, a.at, id.At(a.at), a.Action, c.Actor.Kind, c.Actor.ID, cut(c.Actor.Name),
			a.Target.Kind, cut(a.Target.ID), cut(a.Target.Name), address(c), c.RequestID, detail(a.Detail, nil),
			a.User, a.GrantType)
	}
	return args, nil
}
