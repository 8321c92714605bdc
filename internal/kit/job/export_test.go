package job

import "time"

// SlowAfter sets how long a job runs before its tenant counts as slow.
func (r *Runner) SlowAfter(d time.Duration) { r.after = d }

// SlowWorkers is how many workers serve slow tenants.
const SlowWorkers = slowWorkers
