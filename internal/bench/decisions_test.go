package bench

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var (
	decisions = flag.String("decisions", "", "file that gets the table of decisions, beside the log")
	active    = flag.Int("active", 1000, "tenants with policies of their own, asked at random")
	once      = flag.Int("once", 10_000,
		"tenants with policies of their own, each asked once for what memory that takes; making 10,000 takes minutes")
	requests = flag.Int("requests", full.Requests, "requests of a light row, per repetition")
	workers  = flag.Int("workers", 16,
		"requests under way at once; with few, what is measured is also how a server goes to sleep and wakes "+
			"between two")
	repeats = flag.Int("repeats", full.Repeat, "repetitions, of which the cheapest counts")
)

// TestDecisions prints the table of decisions beside a real Cerbos server. Without -measure it
// sends a handful of requests and asserts nothing about time.
func TestDecisions(t *testing.T) {
	sz := decisionSize{size: smoke, Active: 3, Once: 5}
	if *measure {
		sz = decisionSize{size: full, Active: *active, Once: *once}
		sz.Requests, sz.Repeat, sz.Workers = *requests, *repeats, *workers
	}
	r, err := measureDecisions(t, sz)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	r.write(&table)
	for _, want := range []string{"one resource, gRPC", "one resource, HTTP", "from the directory", "50 resources",
		"plan", "tenants at random", "first request", "memory", "another", "in process", "bare evaluator", "= "} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no row for %s", want)
		}
	}
	if !*measure {
		return
	}
	t.Logf("\n%s", table.String())
	if *decisions != "" {
		if err := os.WriteFile(*decisions, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
