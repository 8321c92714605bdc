package decision

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/batch"
	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

const (
	settingsSize = 50_000    // tenants whose settings a replica caches
	maxBody      = 256 << 10 // bytes of a stored record; a larger one loses its attributes
	hashPurpose  = "decision redaction"
)

// Recorder stores decisions in batches. It is safe for concurrent use.
type Recorder struct {
	*batch.Writer[recorded]
	settings settingsOf
	ring     *secret.KeyRing
}

type recorded struct {
	Decision
	actor     caller.Actor
	requestID string
}

// NewRecorder starts a recorder; Close ends it. The ring keys the hashes of redacted values.
func NewRecorder(d *db.DB, ring *secret.KeyRing, log *slog.Logger) *Recorder {
	r := &Recorder{settings: settingsOf{d, cache.New[struct{}](cache.Options[[]rule]{Max: settingsSize})}, ring: ring}
	d.Watch(r.Drop)
	r.Writer = batch.New(d, log, batch.Table[recorded]{
		Name: "decision records", Into: "decisions",
		Columns: []string{"id", "principal", "resource", "application_id", "revision", "effects", "body",
			"kind", "allowed", "denied"},
		Rows: r.rows,
	})
	return r
}

// Record queues a decision and never waits. If the queue is full it drops and counts the decision.
// Redaction and encoding happen later, outside the caller's request.
func (r *Recorder) Record(c caller.Caller, d Decision) {
	r.Put(c.Tenant, recorded{d, c.Actor, c.RequestID}, d.Size)
}

func (r *Recorder) rows(ctx context.Context, c caller.Caller, records []recorded) ([]any, error) {
	rules, err := r.settings.rules(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("the redaction rule cannot be read: %w", err)
	}
	hash := func(b []byte) string {
		sum, _ := r.ring.MAC(r.ring.Current(), c.Tenant, hashPurpose, b) // cannot fail for the current key
		return hashText(r.ring.Current(), sum)
	}
	values := make([]any, 0, 10*len(records))
	size := 0 // a record has about the size of its request
	for _, d := range records {
		size += 512 + d.Size
	}
	bodies := make([]byte, 0, size)
	var wrong error
	for _, d := range records {
		rec := Record{Decision: d.Decision, Actor: d.actor, RequestID: d.requestID}
		if rec.Actor.Tenant == c.Tenant {
			rec.Actor.Tenant = id.ID{}
		}
		if rec.ID.IsZero() {
			wrong = errors.Join(wrong, errors.New("a decision without an id"))
			continue
		}
		rec.trim()
		rec.redact(rules, hash)
		start := len(bodies)
		if bodies, err = rec.encode(bodies); len(bodies)-start > maxBody {
			rec.strip()
			bodies, err = rec.encode(bodies[:start])
		}
		if err == nil && len(bodies)-start > maxBody { // its names alone are too large
			err = fmt.Errorf("a record of %d bytes", len(bodies)-start)
		}
		if err != nil {
			bodies, wrong = bodies[:start], errors.Join(wrong, err)
			continue
		}
		effects, allowed, denied := rec.effects()
		values = append(values, rec.ID, rec.principalKey(), rec.resourceKey(), askedBy(rec.Actor), rec.Revision,
			effects, bodies[start:len(bodies):len(bodies)], rec.Kind.number(), allowed, denied)
	}
	return values, wrong
}

// trim removes from the outputs what is not stored.
func (r *Record) trim() {
	outputs := make([]*enginev1.CheckOutput, len(r.Outputs))
	for i, o := range r.Outputs {
		outputs[i] = &enginev1.CheckOutput{Actions: o.GetActions(), EffectiveDerivedRoles: o.GetEffectiveDerivedRoles()}
	}
	r.Outputs = outputs
	if r.PlanOutput != nil {
		r.PlanOutput = &enginev1.PlanResourcesOutput{Filter: r.PlanOutput.GetFilter()}
	}
}
