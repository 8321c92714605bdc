package job

import "time"

// SlowAfter sets how long a job runs before its tenant counts as slow.
func (r *Runner) SlowAfter(d time.Duration) { r.after = d }

// SlowWorkers is how many workers serve slow tenants.
const SlowWorkers = slowWorkers

// Lease is how long a tenant's jobs are leased. LongestTurn is the longest that a worker needs for
// one lease: its jobs, the last of them, and the statements before and after.
const (
	Lease       = lease
	LongestTurn = turnTime + timeout + 4*stepTime
)
