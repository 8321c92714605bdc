package decision

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

const columns = `id, revision, body`

func scanRecord(row db.Row) (Record, error) {
	var r Record
	var body []byte
	if err := row.Scan(&r.ID, &r.Revision, &body); err != nil {
		return Record{}, err
	}
	r.At = r.ID.Time()
	if err := r.decode(body); err != nil {
		return Record{}, fmt.Errorf("decision %s: %w", r.ID, err)
	}
	return r, nil
}

// Get returns a record, or ErrNotFound.
func Get(ctx context.Context, tx *db.Tx, decision id.ID) (Record, error) {
	r, err := db.One(ctx, tx, scanRecord, `SELECT `+columns+` FROM decisions WHERE tenant_id = $1 AND id = $2`,
		decision)
	if errors.Is(err, db.ErrNoRows) {
		return Record{}, ErrNotFound
	}
	return r, err
}

// Filter narrows a list of decisions. Zero fields do not narrow it.
type Filter struct {
	Principal    string // id
	ResourceKind string
	ResourceID   string
	Action       string
	Effect       effectv1.Effect // of Action, or of any
	Application  id.ID
	Revision     *int64
	Kind         Kind
	From, To     time.Time // From inclusive, To exclusive
}

// Bounds on the cost of a page. A filter without a column reads records that it does not show.
const (
	scanRows = 100    // records of one statement
	maxScan  = 10_000 // records read for one page
)

// List returns decisions, newest first, with only the results that the filter matches. A page may
// be short or empty and still have a next one: it searches at most maxScan records.
func List(ctx context.Context, tx *db.Tx, f Filter, p page.Request) (page.List[Record], error) {
	l := page.List[Record]{Items: []Record{}}
	for read, after := 0, p.After; ; {
		rows, err := f.scan(ctx, tx, after, scanRows)
		if err != nil {
			return l, err
		}
		for _, r := range rows {
			read, after = read+1, r.ID
			if f.keep(&r) {
				l.Items = append(l.Items, r)
			}
			if len(l.Items) == p.Limit || read == maxScan {
				l.NextCursor = page.Cursor(after)
				return l, nil
			}
		}
		if len(rows) < scanRows {
			return l, nil
		}
	}
}

// scan reads the next limit records after the given id (zero: the newest) that the columns cannot
// rule out.
func (f Filter) scan(ctx context.Context, tx *db.Tx, after id.ID, limit int) ([]Record, error) {
	var b strings.Builder
	args := []any{limit}
	b.WriteString(`SELECT ` + columns + ` FROM decisions WHERE tenant_id = $1`)
	and := func(condition string, value any) {
		args = append(args, value)
		fmt.Fprintf(&b, " AND "+condition, len(args)+1)
	}
	if !f.Application.IsZero() {
		and("application_id = $%d", f.Application)
	}
	if f.Revision != nil {
		and("revision = $%d", *f.Revision)
	}
	switch f.Effect {
	case effectv1.Effect_EFFECT_ALLOW:
		and("(effects & $%d) <> 0", someAllowed)
	case effectv1.Effect_EFFECT_DENY:
		and("(effects & $%d) <> 0", someDenied)
	}
	if !f.From.IsZero() {
		and("id >= $%d", First(f.From))
	}
	if !f.To.IsZero() {
		and("id < $%d", First(f.To))
	}
	if !after.IsZero() {
		and("id < $%d", after)
	}
	// A record of one principal or resource has its key; a record of several has the key several.
	// Each part reads one index in order, and the newest rows of all parts are returned.
	parts := []string{b.String()}
	for _, by := range []struct{ column, value string }{{"principal", f.Principal}, {"resource", f.ResourceID}} {
		if by.value == "" {
			continue
		}
		args = append(args, key(by.value), several)
		var both []string
		for _, p := range parts {
			both = append(both, fmt.Sprintf("%s AND %s = $%d", p, by.column, len(args)),
				fmt.Sprintf("%s AND %s = $%d", p, by.column, len(args)+1))
		}
		parts = both
	}
	const order = ` ORDER BY id DESC LIMIT $2`
	query := parts[0] + order
	if len(parts) > 1 {
		for i := range parts {
			parts[i] = fmt.Sprintf("SELECT * FROM (%s%s) AS part_%c", parts[i], order, 'a'+i)
		}
		query = `SELECT ` + columns + ` FROM (` + strings.Join(parts, " UNION ALL ") + `) AS parts` + order
	}
	return db.List(ctx, tx, scanRecord, query, args...)
}

// First returns the least id of a record of the time.
func First(t time.Time) id.ID {
	var i id.ID
	at := id.At(t)
	copy(i[:8], at[:8])
	return i
}

// keep reports whether the filter matches r, and hides the results of r that it does not match.
func (f Filter) keep(r *Record) bool {
	if f.Kind != "" && r.Kind != f.Kind {
		return false
	}
	if r.PlanInput != nil {
		return f.ResourceID == "" && (f.Principal == "" || r.principal().GetId() == f.Principal) &&
			(f.ResourceKind == "" || r.PlanInput.GetResource().GetKind() == f.ResourceKind) &&
			(f.Action == "" || slices.Contains(planActions(r.PlanInput), f.Action))
	}
	if f.Principal == "" && f.ResourceKind == "" && f.ResourceID == "" && f.Action == "" && f.Effect == 0 {
		return true
	}
	r.shown = []int{}
	for i, in := range r.Inputs {
		if f.Principal != "" && in.GetPrincipal().GetId() != f.Principal || f.ResourceKind != "" &&
			in.GetResource().GetKind() != f.ResourceKind || f.ResourceID != "" &&
			in.GetResource().GetId() != f.ResourceID {
			continue
		}
		for action, a := range r.effectsOf(i) {
			if (f.Action == "" || f.Action == action) && (f.Effect == 0 || f.Effect == a.GetEffect()) {
				r.shown = append(r.shown, i)
				break
			}
		}
	}
	return len(r.shown) > 0
}

// effectsOf returns the effects of input i by action.
func (r *Record) effectsOf(i int) map[string]*enginev1.CheckOutput_ActionEffect {
	if i >= len(r.Outputs) {
		return nil
	}
	return r.Outputs[i].GetActions()
}

func planActions(in *enginev1.PlanResourcesInput) []string {
	if a := in.GetAction(); a != "" { //nolint:staticcheck // older clients send action
		return append([]string{a}, in.GetActions()...)
	}
	return in.GetActions()
}

// Purge deletes up to limit records that are older than the given time. It reports whether more may
// be left.
//
// It looks for the oldest record first. Postgres plans the DELETE again for each tenant, because
// the partitions that it reads depend on the time. That took most of an hourly round.
func Purge(ctx context.Context, tx *db.Tx, before time.Time, limit int) (bool, error) {
	end := First(before)
	oldest, err := db.One(ctx, tx, db.Column[id.ID],
		`SELECT id FROM decisions WHERE tenant_id = $1 ORDER BY id LIMIT 1`)
	switch {
	case errors.Is(err, db.ErrNoRows):
		return false, nil
	case err != nil || bytes.Compare(oldest[:], end[:]) >= 0:
		return false, err
	}
	n, err := tx.Exec(ctx, `DELETE FROM decisions WHERE tenant_id = $1
		AND id IN (SELECT id FROM decisions WHERE tenant_id = $1 AND id < $2 ORDER BY id LIMIT $3)`,
		end, limit)
	return n == int64(limit), err
}
