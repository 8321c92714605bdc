package audit

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

type exportInput struct {
	FilterInput
	Format string `query:"format" enum:"ndjson,csv" default:"ndjson"`
}

// exportPage is how many events stand in memory at a time.
const exportPage = 1000

// export writes all events of a filter. Each page has a transaction of its own: a long one would
// hold back what the database cleans up. New events are newer than the first page.
func export(ctx context.Context, d *db.DB, req api.Request, in *exportInput) (api.Stream, error) {
	f, err := in.filter()
	if err != nil {
		return api.Stream{}, err
	}
	first, err := db.Write(ctx, d, req.Caller, func(tx *db.Tx) (page.List[Record], error) {
		l, err := List(ctx, tx, f, page.Request{Limit: exportPage})
		Write(tx, Event{Action: "audit.export", Detail: in.detail()})
		return l, err
	})
	if err != nil {
		return api.Stream{}, err
	}
	s := api.Stream{ContentType: "application/x-ndjson", Name: "audit-events.ndjson"}
	lines := ndjson
	if in.Format == "csv" {
		s.ContentType, s.Name, lines = "text/csv; charset=utf-8", "audit-events.csv", csvLines
	}
	s.Write = func(w io.Writer) error {
		write := lines(w)
		for l := first; ; {
			if err := write(l.Items); err != nil || l.NextCursor == "" {
				return err
			}
			after, err := page.ParseCursor(l.NextCursor)
			if err != nil {
				return err
			}
			l, err = db.Read(ctx, d, req.Caller, func(tx *db.Tx) (page.List[Record], error) {
				return List(ctx, tx, f, page.Request{Limit: exportPage, After: after})
			})
			if err != nil {
				return err
			}
		}
	}
	return s, nil
}

// detail says in the event of an export what was exported.
func (in exportInput) detail() map[string]any {
	d := map[string]any{"format": in.Format}
	for name, v := range map[string]string{"action": in.Action, "actor": in.Actor, "target": in.Target,
		"outcome": in.Outcome, "request_id": in.RequestID} {
		if v != "" {
			d[name] = v
		}
	}
	for name, t := range map[string]time.Time{"from": in.From, "to": in.To} {
		if !t.IsZero() {
			d[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	return d
}

func ndjson(w io.Writer) func([]Record) error {
	b := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(b)
	lines.SetEscapeHTML(false)
	return func(records []Record) error {
		for _, r := range records {
			if err := lines.Encode(view(r)); err != nil {
				return err
			}
		}
		return b.Flush()
	}
}

// csvLines writes a line with the names of the columns, and one for each event (RFC 4180).
func csvLines(w io.Writer) func([]Record) error {
	lines := csv.NewWriter(w)
	header := []string{"id", "at", "action", "outcome", "actor_kind", "actor_id", "actor_name", "actor_tenant_id",
		"via", "target_kind", "target_id", "target_name", "address", "agent", "request_id", "detail"}
	return func(records []Record) error {
		if header != nil {
			_ = lines.Write(header) // lines.Error has it
			header = nil
		}
		for _, r := range records {
			cells := []string{r.ID.String(), r.At.UTC().Format(time.RFC3339Nano), r.Action, string(r.Outcome),
				string(r.Actor.Kind), r.Actor.ID.String(), r.Actor.Name, r.Actor.Tenant.String(), r.Actor.Via.String(),
				r.Target.Kind, r.Target.ID, r.Target.Name, r.Address, r.Agent, r.RequestID, string(r.Detail)}
			for i, c := range cells {
				cells[i] = api.Cell(c)
			}
			_ = lines.Write(cells)
		}
		lines.Flush()
		return lines.Error()
	}
}
