package job

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// sealer seals payloads and opens them; the key ring of kit/secret is one.
type sealer interface {
	Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error)
	Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error)
}

// New describes a job to enqueue.
type New struct {
	Kind    string    // selects the handler
	Payload any       // marshalled to JSON, at most maxPayload bytes
	Due     time.Time // zero means now
	Key     string    // if set, at most one job of this tenant, kind and key waits: the first due
}

// maxPayload bounds the JSON of a payload, in bytes.
const maxPayload = 256 << 10

// Queue enqueues jobs. It is safe for concurrent use.
type Queue struct {
	seal sealer
	wake chan struct{} // hints to this replica's workers
}

// NewQueue returns a queue whose payloads are sealed by seal.
func NewQueue(seal sealer) *Queue { return &Queue{seal: seal, wake: make(chan struct{}, 1)} }

const (
	purpose   = "job"
	insertJob = `INSERT INTO jobs (tenant_id, id, kind, dedup_key, payload, due_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant_id, kind, dedup_key) DO UPDATE
		SET payload = excluded.payload, due_at = excluded.due_at, attempts = 0, last_error = '', failed_at = NULL
		WHERE excluded.due_at < jobs.due_at OR jobs.failed_at IS NOT NULL`
	noteTenant = `INSERT INTO job_tenants (tenant_id, due_at) VALUES ($1, $2)
		ON CONFLICT (tenant_id) DO UPDATE SET due_at = CASE WHEN excluded.due_at < job_tenants.due_at THEN excluded.due_at ELSE job_tenants.due_at END`
)

// Enqueue adds a job to tx. The job runs after the commit, or never.
func (q *Queue) Enqueue(tx *db.Tx, n New) error {
	plain, err := json.Marshal(n.Payload)
	if err != nil {
		return fmt.Errorf("job %s: payload: %w", n.Kind, err)
	}
	if len(plain) > maxPayload {
		return fmt.Errorf("job %s: payload of %d bytes, at most %d are kept", n.Kind, len(plain), maxPayload)
	}
	sealed, err := q.seal.Seal(tx.Tenant(), purpose, plain)
	if err != nil {
		return fmt.Errorf("job %s: %w", n.Kind, err)
	}
	due := n.Due
	if due.IsZero() {
		due = tx.Now()
	}
	insert(tx, n.Kind, n.Key, sealed, due)
	tx.AfterCommit(q.hint)
	return nil
}

// insert adds a job. It locks the tenant's note before the job, as the worker does.
func insert(tx *db.Tx, kind, key string, sealed []byte, due time.Time) {
	var dedup *string
	if key != "" {
		dedup = &key
	}
	tx.Later(noteTenant, due)
	tx.Later(insertJob, id.New(), kind, dedup, sealed, due, tx.Now())
}

// EnqueueAlone adds a job without a payload to tx, for a handler of HandleAlone. It needs no queue,
// so that a function on a transaction can call it. key is that of New.
func EnqueueAlone(tx *db.Tx, kind, key string, due time.Time) { insert(tx, kind, key, []byte{}, due) }

func (q *Queue) hint() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// waiting is a job as a worker sees it.
type waiting struct {
	id       id.ID
	kind     string
	sealed   []byte
	attempts int
}

func dueJobs(ctx context.Context, tx *db.Tx, now time.Time, limit int) ([]waiting, error) {
	return db.List(ctx, tx, func(r db.Row) (waiting, error) {
		var w waiting
		err := r.Scan(&w.id, &w.kind, &w.sealed, &w.attempts)
		return w, err
	},
		`SELECT id, kind, payload, attempts FROM jobs WHERE tenant_id = $1 AND failed_at IS NULL AND due_at <= $2
			ORDER BY due_at, id LIMIT $3`, now, limit)
}

// Forget removes the note that leads workers to a tenant's jobs. The tenant has none any longer: it
// is being deleted.
func Forget(tx *db.Tx) { tx.Later(`DELETE FROM job_tenants WHERE tenant_id = $1`) }
