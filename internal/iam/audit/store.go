package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const insertEvent = `INSERT INTO audit_events (tenant_id, at, id, action, outcome, actor_kind, actor_id, actor_tenant, actor_name, via,
	target_kind, target_id, target_name, address, agent, request_id, detail)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`

const selectEvent = `SELECT id, at, action, outcome, actor_kind, actor_id, actor_tenant, actor_name, via,
	target_kind, target_id, target_name, address, agent, request_id, detail FROM audit_events WHERE tenant_id = $1`

// errNotFound is the fault for an event that does not exist.
var errNotFound = fault.New(fault.NotFound, "audit_event.not_found", "There is no audit event with this id.")

// Filter narrows a list of events. Zero fields do not narrow it.
type Filter struct {
	Action    string // exactly, or a noun with a trailing dot ("user.") for all its verbs
	Outcome   Outcome
	Actor     id.ID
	TargetID  string
	RequestID string
	From, To  time.Time // From inclusive, To exclusive
}

// List returns events, newest first.
//
// The actions of a noun are read one by one in the order of an index, and the newest of all are
// returned. A range of actions would have to be sorted by time, or all events searched for a rare
// one. Postgres also orders texts by the database's locale, where such a range may be empty.
func List(ctx context.Context, tx *db.Tx, f Filter, p page.Request) (page.List[Record], error) {
	var b strings.Builder
	b.WriteString(selectEvent)
	args := []any{p.Fetch()}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args)+1)
	}
	and := func(condition string, v any) { b.WriteString(" AND " + condition + arg(v)) }
	if f.Outcome == Refused { // written out, so that the index of refusals serves them
		b.WriteString(` AND outcome = 'refused'`)
	} else if f.Outcome != "" {
		and("outcome = ", f.Outcome)
	}
	if !f.Actor.IsZero() {
		and("actor_id = ", f.Actor)
	}
	if f.TargetID != "" {
		and("target_id = ", f.TargetID)
	}
	if f.RequestID != "" {
		and("request_id = ", f.RequestID)
	}
	if !f.From.IsZero() {
		and("at >= ", f.From)
	}
	if !f.To.IsZero() {
		and("at < ", f.To)
	}
	if !p.After.IsZero() {
		b.WriteString(" AND (at, id) < (" + arg(p.After.Time()) + ", " + arg(p.After) + ")")
	}
	const order = " ORDER BY at DESC, id DESC LIMIT $2"
	query := b.String() + order
	if f.Action != "" {
		actions, err := f.actions(ctx, tx)
		if err != nil || len(actions) == 0 {
			return page.Of(p, nil, recordID), err
		}
		parts := make([]string, len(actions))
		for i, a := range actions {
			parts[i] = b.String() + " AND action = " + arg(a) + order
			if len(actions) > 1 {
				parts[i] = "SELECT * FROM (" + parts[i] + ") AS part"
			}
		}
		query = strings.Join(parts, " UNION ALL ")
		if len(actions) > 1 {
			query += order
		}
	}
	rows, err := db.List(ctx, tx, scanRecord, query, args...)
	if err != nil {
		return page.List[Record]{}, err
	}
	return page.Of(p, rows, recordID), nil
}

func recordID(r Record) id.ID { return r.ID }

// actions returns the actions that the filter names: one, or all of a noun that the tenant's events
// have. It reads one entry of the index for each action of the tenant.
func (f Filter) actions(ctx context.Context, tx *db.Tx) ([]string, error) {
	if !strings.HasSuffix(f.Action, ".") {
		return []string{f.Action}, nil
	}
	all, err := db.List(ctx, tx, db.Column[string], `WITH RECURSIVE found AS (
		SELECT (SELECT min(action) FROM audit_events WHERE tenant_id = $1) AS action
		UNION ALL
		SELECT (SELECT min(e.action) FROM audit_events e WHERE e.tenant_id = $1 AND e.action > found.action)
		FROM found WHERE found.action IS NOT NULL)
		SELECT action FROM found WHERE action IS NOT NULL LIMIT 1000`)
	return slices.DeleteFunc(all, func(a string) bool { return !strings.HasPrefix(a, f.Action) }), err
}

// get returns one event, or errNotFound.
func get(ctx context.Context, tx *db.Tx, event id.ID) (Record, error) {
	r, err := db.One(ctx, tx, scanRecord, selectEvent+` AND at = $2 AND id = $3`, event.Time(), event)
	if err == db.ErrNoRows {
		return Record{}, errNotFound
	}
	return r, err
}

func scanRecord(row db.Row) (Record, error) {
	var r Record
	var detail string
	err := row.Scan(&r.ID, &r.At, &r.Action, &r.Outcome, &r.Actor.Kind, &r.Actor.ID, &r.Actor.Tenant, &r.Actor.Name,
		&r.Actor.Via,
		&r.Target.Kind, &r.Target.ID, &r.Target.Name, &r.Address, &r.Agent, &r.RequestID, &detail)
	r.Detail = []byte(detail)
	return r, err
}

// PurgeAccess deletes up to limit access records older than the given time. It reports whether
// more may be left.
func PurgeAccess(ctx context.Context, tx *db.Tx, before time.Time, limit int) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM access_records WHERE tenant_id = $1
		AND (at, id) IN (SELECT at, id FROM access_records WHERE tenant_id = $1 AND at < $2 ORDER BY at LIMIT $3)`,
		before, limit)
	return n == int64(limit), err
}

// DropPartitions drops the month partitions of access and decision records that ended before the
// given time. A partition in use stays until the next call. SQLite has none.
func DropPartitions(ctx context.Context, d *db.DB, c caller.Caller, before time.Time) error {
	if d.Name() != "postgres" {
		return nil
	}
	return d.System(ctx, c, "partitions belong to no tenant", func(st *db.SystemTx) error {
		_, err := st.Exec(ctx, `SELECT gatehouse_drop_partitions($1)`, before)
		return err
	})
}

// MakePartitions creates the month partitions of events, access records and decision records. They
// cover this month and the next three. SQLite has none.
func MakePartitions(ctx context.Context, d *db.DB, c caller.Caller) error {
	if d.Name() != "postgres" {
		return nil
	}
	return d.System(ctx, c, "partitions belong to no tenant", func(st *db.SystemTx) error {
		_, err := st.Exec(ctx, `SELECT gatehouse_make_partitions($1, 3)`, st.Now())
		return err
	})
}
