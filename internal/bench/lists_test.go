package bench

import (
	"flag"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var (
	events = flag.Int("events", 3_000_000, "audit events of the tenant whose lists are asked for")
	users  = flag.Int("users", 1_000_000, "its users, sessions and grants")
)

// TestLists asks for every list with every filter. Without -measure it does so with a few rows, and
// asserts nothing about time.
func TestLists(t *testing.T) {
	sz := listSize{Events: 200, Users: 20, Calls: 1}
	if *measure {
		sz = listSize{Events: *events, Users: *users, Calls: 10}
	}
	all, err := measureLists(t, testkit.EmptyPostgres(t), sz)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if *measure && l.Median > maxList {
			t.Errorf("%s takes %s, more than %s", l.Path, latency(l.Median), latency(maxList))
		}
	}
}
