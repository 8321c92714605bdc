package decision_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

const (
	allow = effectv1.Effect_EFFECT_ALLOW
	deny  = effectv1.Effect_EFFECT_DENY
)

func TestDecisionsAreListedNewestFirstAndFiltered(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		shop := id.New()
		viaShop := acme.As(caller.Actor{Kind: caller.User, ID: id.New(), Via: shop})
		r := recorder(t, d)
		start := d.Clock.Now()
		names := map[id.ID]string{}
		record := func(name string, c caller.Caller, x decision.Decision) {
			d.Clock.Advance(1500 * time.Microsecond)
			x.ID = id.At(d.Clock.Now())
			names[x.ID] = name
			r.Record(c, x)
		}
		record("read", acme, asked(t, d, "ada", "read", allow, "d1"))
		record("write", viaShop, asked(t, d, "ada", "write", deny, "d1"))
		batch := asked(t, d, "bob", "read", allow, "d1", "d2", "d3")
		batch.Outputs[2].Actions["read"].Effect = deny
		batch.Revision = 4
		record("batch", acme, batch)
		record("plan", acme, decision.Decision{Kind: decision.Plan,
			PlanInput: &enginev1.PlanResourcesInput{Actions: []string{"read"},
				Principal: &enginev1.Principal{Id: "bob", Roles: []string{"r"}},
				Resource:  &enginev1.PlanResourcesInput_Resource{Kind: "document"}},
			PlanOutput: &enginev1.PlanResourcesOutput{
				Filter: &enginev1.PlanResourcesFilter{Kind: enginev1.PlanResourcesFilter_KIND_CONDITIONAL}}})
		other := asked(t, d, "ada", "read", allow, "d1")
		other.Inputs[0].Resource.Kind = "folder"
		record("folder", acme, other)
		mixed := asked(t, d, "ada", "sign", allow, "d4", "d5")
		mixed.Inputs[1].Principal = &enginev1.Principal{Id: "eve", Roles: []string{"r"}}
		record("mixed", acme, mixed)
		record("neighbour", globex, asked(t, d, "ada", "read", allow, "d1"))
		r.Close()
		if r.Dropped() != 0 {
			t.Fatalf("%d lost", r.Dropped())
		}
		three := int64(4)
		for name, c := range map[string]struct {
			f    decision.Filter
			want string
		}{
			"all":           {decision.Filter{}, "mixed folder plan batch write read"},
			"principal":     {decision.Filter{Principal: "bob"}, "plan batch"},
			"one of two":    {decision.Filter{Principal: "eve"}, "mixed"},
			"and its thing": {decision.Filter{Principal: "eve", ResourceID: "d5"}, "mixed"},
			"not his thing": {decision.Filter{Principal: "eve", ResourceID: "d4"}, ""},
			"nobody":        {decision.Filter{Principal: "bo"}, ""},
			"kind":          {decision.Filter{ResourceKind: "folder"}, "folder"},
			"resource":      {decision.Filter{ResourceID: "d1"}, "folder batch write read"},
			"in a batch":    {decision.Filter{ResourceID: "d2"}, "batch"},
			"kind and id":   {decision.Filter{ResourceKind: "document", ResourceID: "d1"}, "batch write read"},
			"action":        {decision.Filter{Action: "write"}, "write"},
			"denied":        {decision.Filter{Effect: deny}, "batch write"},
			"allowed":       {decision.Filter{Effect: allow}, "mixed folder batch read"},
			"denied d1":     {decision.Filter{Effect: deny, ResourceID: "d1"}, "write"},
			"denied read":   {decision.Filter{Effect: deny, Action: "read"}, "batch"},
			"application":   {decision.Filter{Application: shop}, "write"},
			"revision":      {decision.Filter{Revision: &three}, "batch"},
			"plans":         {decision.Filter{Kind: decision.Plan}, "plan"},
			"from":          {decision.Filter{From: start.Add(4 * time.Millisecond)}, "mixed folder plan batch"},
			"to":            {decision.Filter{To: start.Add(4 * time.Millisecond)}, "write read"},
			"all of it": {decision.Filter{Principal: "ada", Action: "read", ResourceKind: "document",
				ResourceID: "d1", Effect: allow, From: start}, "read"},
			"plan's action": {decision.Filter{Principal: "bob", Action: "read", Kind: decision.Plan}, "plan"},
		} {
			for _, limit := range []int{1, 2, 50} {
				var got []string
				p := page.Request{Limit: limit}
				for range 10 {
					l := list(t, d, acme, c.f, p)
					if len(l.Items) > limit {
						t.Errorf("%s: a page of %d", name, len(l.Items))
					}
					for _, x := range l.Items {
						got = append(got, names[x.ID])
					}
					if l.NextCursor == "" {
						break
					}
					p.After, _ = page.ParseCursor(l.NextCursor)
				}
				if s := strings.Join(got, " "); s != c.want {
					t.Errorf("%s, %d a page: %q, want %q", name, limit, s, c.want)
				}
			}
		}
	})
}

// A filter without a column searches a bounded number of records for a page, and the next page
// continues.
func TestAPageSearchesABoundedNumber(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme := d.Tenant(t, "acme")
		r := recorder(t, d)
		x := decision.Decision{Inputs: []*enginev1.CheckInput{
			{Principal: &enginev1.Principal{Id: "ada"}, Resource: &enginev1.Resource{Kind: "document", Id: "d1"},
				Actions: []string{"read"}}}}
		for i := range 10_050 {
			d.Clock.Advance(time.Millisecond)
			x.ID, x.Kind = id.At(d.Clock.Now()), decision.Check
			if i == 0 { // the oldest
				x.Kind = decision.Evaluation
			}
			r.Record(acme, x)
			if i%5000 == 4999 { // the queue has a bound
				written(t, r, int64(i+1))
			}
		}
		r.Close()
		f := decision.Filter{Kind: decision.Evaluation}
		one := list(t, d, acme, f, page.First())
		if len(one.Items) != 0 || one.NextCursor == "" {
			t.Fatalf("%d found among the newest, next %q", len(one.Items), one.NextCursor)
		}
		after, err := page.ParseCursor(one.NextCursor)
		if err != nil {
			t.Fatal(err)
		}
		if two := list(t, d, acme, f, page.Request{Limit: 10, After: after}); len(two.Items) != 1 ||
			two.NextCursor != "" {
			t.Errorf("%d found after them, next %q", len(two.Items), two.NextCursor)
		}
	})
}

// Lists by principal and by resource use their indexes, under row-level security too. kit/db proves
// the plan of SQLite; this test proves that of Postgres.
func TestListsUseTheirIndexes(t *testing.T) {
	d := testkit.Open(t, testkit.Postgres(t))
	acme := d.Tenant(t, "acme")
	for query, index := range map[string]string{
		`principal = 7 AND id < '01890000-0000-7000-8000-000000000000'`: "principal",
		`resource = 7 AND id < '01890000-0000-7000-8000-000000000000'`:  "resource",
		`id = '01890000-0000-7000-8000-000000000000'`:                   "pkey",
	} {
		var plan []string
		if err := d.View(ctx, acme, func(tx *db.Tx) error {
			var err error
			plan, err = db.List(ctx, tx, db.Column[string],
				`EXPLAIN SELECT id, revision, body FROM decisions WHERE tenant_id = $1 AND `+query+
					` ORDER BY id DESC LIMIT 10`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(plan,
			func(s string) bool { return strings.Contains(s, "Index Cond") && strings.Contains(s, "id") }) ||
			!slices.ContainsFunc(plan, func(s string) bool { return strings.Contains(s, index) }) {
			t.Errorf("%s:\n%s", query, strings.Join(plan, "\n"))
		}
	}
}

func TestOldRecordsAreDeleted(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		r := recorder(t, d)
		for day := range 40 {
			if day > 0 {
				d.Clock.Advance(24 * time.Hour)
			}
			for _, c := range []caller.Caller{acme, globex} {
				r.Record(c, asked(t, d, fmt.Sprint(day), "read", allow, "d1"))
			}
		}
		r.Close()
		batches := 0
		for more := true; more; batches++ {
			if err := d.Update(ctx, acme, func(tx *db.Tx) error {
				var err error
				more, err = decision.Purge(ctx, tx, tx.Now().Add(-30*24*time.Hour), 4)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		d.Observe(func(sql string) {
			if strings.HasPrefix(sql, "DELETE") {
				t.Errorf("nothing is old, and %s", sql) // which Postgres would plan again for each tenant
			}
		})
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := decision.Purge(ctx, tx, tx.Now().Add(-30*24*time.Hour), 4)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		left := list(t, d, acme, decision.Filter{}, page.Request{Limit: 100}).Items
		if len(left) != 31 || left[30].Inputs[0].Principal.Id != "9" || batches != 3 {
			t.Errorf("%d left after %d batches", len(left), batches)
		}
		if n := len(list(t, d, globex, decision.Filter{}, page.Request{Limit: 100}).Items); n != 40 {
			t.Errorf("the neighbour has %d left", n)
		}
	})
}

// A month that has ended is dropped once its rows are gone; audit events stay.
func TestExpiredPartitionsAreDropped(t *testing.T) {
	d := testkit.Open(t, testkit.Postgres(t))
	acme := d.Tenant(t, "acme")
	if err := audit.MakePartitions(ctx, d.DB, acme); err != nil { // January to March 2026
		t.Fatal(err)
	}
	r := recorder(t, d)
	for range 3 {
		r.Record(acme, asked(t, d, "ada", "read", allow, "d1"))
		d.Clock.Advance(31 * 24 * time.Hour)
	}
	r.Close()
	partitions := func() []string {
		var names []string
		if err := d.SystemView(ctx, acme, "test", func(st *db.SystemTx) error {
			var err error
			names, err = db.SystemList(ctx, st, db.Column[string],
				`SELECT c.relname::text FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
					WHERE c.relkind = 'r' AND c.relname LIKE '%_2026_0_' ORDER BY 1`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return names
	}
	drop := func(before time.Time) {
		t.Helper()
		if err := audit.DropPartitions(ctx, d.DB, acme, before); err != nil {
			t.Fatal(err)
		}
	}
	purge := func(before time.Time) {
		t.Helper()
		if err := d.Update(ctx, acme, func(tx *db.Tx) error {
			_, err := decision.Purge(ctx, tx, before, 100)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	february, march := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	drop(february)
	if got := partitions(); !slices.Contains(got, "decisions_2026_01") ||
		slices.Contains(got, "access_records_2026_01") {
		t.Errorf("with a record of January: %v", got)
	}
	purge(february)
	drop(march.Add(-time.Second))
	want := []string{"access_records_2026_02", "access_records_2026_03", "audit_events_2026_01", "audit_events_2026_02",
		"audit_events_2026_03", "decisions_2026_02", "decisions_2026_03"}
	if got := partitions(); !slices.Equal(got, want) {
		t.Errorf("after January: %v", got)
	}
	if n := len(list(t, d, acme, decision.Filter{}, page.First()).Items); n != 2 {
		t.Errorf("%d records left", n)
	}
	purge(march)
	drop(march)
	if got := partitions(); slices.Contains(got, "decisions_2026_02") || !slices.Contains(got, "audit_events_2026_02") {
		t.Errorf("after February: %v", got)
	}
}
