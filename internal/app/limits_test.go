package app

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// clientWait is how long docs/limits.md tells clients to wait for an answer.
const clientWait = 20 * time.Second

// A client that gave up, a request that was cut off and a failover all end before the grace in
// which a refresh token may be shown again. Otherwise honest clients look like thieves.
func TestLimitsAreOrdered(t *testing.T) {
	ordered := []time.Duration{clientWait, web.DefaultTime, grant.Failover, grant.Grace}
	for i := 1; i < len(ordered); i++ {
		if ordered[i] <= ordered[i-1] {
			t.Errorf("client wait < request < failover < grace does not hold: %v", ordered)
		}
	}
	if grant.Grace < web.DefaultTime+grant.Failover || grant.Grace > 10*time.Minute {
		t.Errorf("the grace is %s", grant.Grace)
	}
}
