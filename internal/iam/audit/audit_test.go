package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func list(t *testing.T, d *testkit.Database, c caller.Caller, f audit.Filter,
	p page.Request) page.List[audit.Record] {
	var l page.List[audit.Record]
	t.Helper()
	err := d.View(context.Background(), c, func(tx *db.Tx) error {
		var err error
		l, err = audit.List(context.Background(), tx, f, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestEventsOfOneTransactionKeepTheirOrder also binds one transaction to its tenant twice.
func TestEventsOfOneTransactionKeepTheirOrder(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx, acme := t.Context(), d.Tenant(t, "acme")
		const events = 12
		write := func(tx *db.Tx, from, to int) {
			for n := from; n < to; n++ {
				audit.Write(tx, audit.Event{Action: fmt.Sprintf("user.step%02d", n)})
			}
		}
		if err := d.Update(ctx, acme, func(tx *db.Tx) error { write(tx, 0, events/3); return nil }); err != nil {
			t.Fatal(err)
		}
		d.Clock.Advance(time.Microsecond)
		err := d.System(ctx, acme, "a test", func(st *db.SystemTx) error {
			for part := 1; part < 3; part++ {
				write(st.For(acme.Tenant), part*events/3, (part+1)*events/3)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		l := list(t, d, acme, audit.Filter{Action: "user."}, page.First())
		for i, r := range l.Items {
			if want := fmt.Sprintf("user.step%02d", events-1-i); r.Action != want {
				t.Errorf("event %d, newest first: %s, want %s", i, r.Action, want)
			}
		}
		if len(l.Items) != events {
			t.Errorf("%d events, want %d", len(l.Items), events)
		}
	})
}

func TestEventsAreListedNewestFirstAndFiltered(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		globex := d.Tenant(t, "globex")
		start := d.Clock.Now()
		for _, a := range []string{"user.create", "user.update", "users.odd", "tenant.rename", "user.delete"} {
			d.Clock.Advance(1500 * time.Microsecond)
			for _, c := range []caller.Caller{acme, globex} {
				if err := d.Update(ctx, c, func(tx *db.Tx) error {
					audit.Write(tx, audit.Event{Action: a,
						Target: audit.Target{Kind: "user", ID: "u1", Name: "x\x00" + strings.Repeat("é", 300)},
						Detail: map[string]any{"n": 1}})
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		var actions []string
		p := page.Request{Limit: 2}
		for {
			l := list(t, d, acme, audit.Filter{}, p)
			for _, r := range l.Items {
				actions = append(actions, r.Action)
				if !r.ID.Time().Equal(r.At) {
					t.Errorf("the id of an event says %v, the event %v", r.ID.Time(), r.At)
				}
			}
			if l.NextCursor == "" {
				break
			}
			var err error
			if p.After, err = page.ParseCursor(l.NextCursor); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(actions, " "); got != "user.delete tenant.rename users.odd user.update user.create" {
			t.Errorf("order: %s", got)
		}
		for name, c := range map[string]struct {
			f    audit.Filter
			want int
		}{
			"noun":        {audit.Filter{Action: "user."}, 3},
			"no noun":     {audit.Filter{Action: "use."}, 0},
			"noun of one": {audit.Filter{Action: "tenant."}, 1},
			"noun, from":  {audit.Filter{Action: "user.", From: start.Add(3 * time.Millisecond)}, 2},
			"action":      {audit.Filter{Action: "user.update"}, 1},
			"outcome":     {audit.Filter{Outcome: audit.Refused}, 0},
			"target":      {audit.Filter{TargetID: "u1"}, 5},
			"request":     {audit.Filter{RequestID: "another"}, 0},
			"actor":       {audit.Filter{Actor: id.New()}, 0},
			"from":        {audit.Filter{From: start.Add(3 * time.Millisecond)}, 4},
			"to":          {audit.Filter{To: start.Add(3 * time.Millisecond)}, 1},
		} {
			if n := len(list(t, d, acme, c.f, page.First()).Items); n != c.want {
				t.Errorf("%s: %d events, want %d", name, n, c.want)
			}
		}
	})
}

func TestEventsCannotBeChanged(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx := context.Background()
		acme := d.Tenant(t, "acme")
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			audit.Write(tx, audit.Event{Action: "user.create"})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{`UPDATE audit_events SET action = 'x' WHERE tenant_id = $1`,
			`DELETE FROM audit_events WHERE tenant_id = $1`} {
			_ = d.Update(ctx, acme, func(tx *db.Tx) error {
				_, err := tx.Exec(ctx, sql)
				return err
			})
			if l := list(t, d, acme, audit.Filter{Action: "user.create"}, page.First()); len(l.Items) != 1 {
				t.Errorf("%s changed the event", sql)
			}
		}
	})
}

func TestRecorderWritesEveryTenantsOwnAndLosesOnlyTheRefused(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		r := audit.NewRecorder(d.DB, d.Clock, slog.New(slog.DiscardHandler))
		ghost := caller.Caller{Tenant: id.New()}
		for i := range 123 {
			r.Record(acme, audit.Access{Action: "token.issue"})
			if i%2 == 0 {
				r.Record(globex, audit.Access{Action: "token.issue"})
			}
		}
		r.Record(ghost, audit.Access{Action: "token.issue"})
		r.Close()
		for c, want := range map[id.ID]int64{acme.Tenant: 123, globex.Tenant: 62} {
			var n int64
			err := d.View(context.Background(), caller.Caller{Tenant: c}, func(tx *db.Tx) error {
				var err error
				n, err = db.One(context.Background(), tx, db.Column[int64],
					`SELECT count(*) FROM access_records WHERE tenant_id = $1`)
				return err
			})
			if err != nil || n != want {
				t.Errorf("%d records, want %d (%v)", n, want, err)
			}
		}
		if r.Dropped() != 1 || r.Written() != 185 {
			t.Errorf("dropped %d, written %d", r.Dropped(), r.Written())
		}
	})
}
