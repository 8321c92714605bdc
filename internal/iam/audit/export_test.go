package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

type everything struct{}

func (everything) Allows(string) bool { return true }

// open admits every request as one caller.
type open struct{ caller.Caller }

func (g open) Admit(*http.Request, api.Op) (api.Request, error) {
	return api.Request{Caller: g.Caller, Rights: everything{}, Reads: true}, nil
}

// More events than stand in memory at once, of two tenants.
func TestExport(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		const events = 1003
		for c, n := range map[caller.Caller]int{acme: events, globex: 2} {
			if err := d.Update(t.Context(), c, func(tx *db.Tx) error {
				for n := range n {
					name := `=HYPERLINK("http://evil.example","` + c.Tenant.String() + `")`
					audit.Write(tx, audit.Event{Action: "user.update",
						Target: audit.Target{Kind: "user", ID: fmt.Sprint(n), Name: name}})
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		mux := http.NewServeMux()
		m := &api.Mount{Mux: mux, Prefix: "", Title: "Audit", Gate: open{acme}, DB: d.DB,
			Answer: func(context.Context, *fault.Fault) (int, http.Header) { return 400, nil }}
		m.Operations(audit.Operations())
		get := func(query, kind string) []byte {
			d.Clock.Advance(time.Second)
			t.Helper()
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", "/audit-events/export"+query, nil))
			if w.Code != 200 || w.Header().Get("Content-Type") != kind {
				t.Fatalf("%s: %d %s %s", query, w.Code, w.Header(), w.Body)
			}
			return w.Body.Bytes()
		}

		var ids []string
		for i, line := range bytes.Split(bytes.TrimSpace(get("", "application/x-ndjson")), []byte("\n")) {
			var v audit.View
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			if v.Action == "user.update" && v.Target.ID != fmt.Sprint(events-1-i) {
				t.Fatalf("line %d is about %s", i, v.Target.ID)
			}
			ids = append(ids, v.ID.String())
		}
		rows, err := csv.NewReader(bytes.NewReader(
			get("?action=user.update&format=csv&from=2000-01-01T00:00:00Z", "text/csv; charset=utf-8"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var same []string
		for _, r := range rows[1:] {
			if same = append(same, r[0]); r[11] != `'=HYPERLINK("http://evil.example","`+acme.Tenant.String()+`")` {
				t.Fatalf("a formula, or another tenant's event: %s", r[11])
			}
		}
		if len(same) != events || cmp.Diff(ids[:events], same) != "" {
			t.Errorf("%d lines of NDJSON and %d of CSV, want %d", len(ids), len(same), events)
		}
		told := list(t, d, acme, audit.Filter{Action: "audit.export"}, page.First()).Items
		if len(told) != 2 || cmp.Diff(map[string]any{"format": "csv", "action": "user.update",
			"from": "2000-01-01T00:00:00Z"}, unmarshal(t, told[0].Detail)) != "" {
			t.Errorf("events of the exports: %+v", told)
		}
	})
}

func unmarshal(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
