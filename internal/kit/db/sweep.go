package db

import (
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// sweepEvery is the shortest time between two sweeps of one tenant's rows by one replica.
const sweepEvery = time.Second

// SweepLimit bounds how many rows one sweep deletes.
const SweepLimit = 500

// Sweep defers a DELETE of at most SweepLimit useless rows, such as expired ones. It skips the
// statement if this replica ran it for the tenant within the last second. So requests that leave
// such rows behind delete them too, and do not each pay for a search.
//
// A sweep that rolls back is not repeated before the next second.
func (tx *Tx) Sweep(sql string, args ...any) {
	if tx.swept.first(tx.caller.Tenant, sql, tx.now) {
		tx.Later(sql, args...)
	}
}

// sweeps remembers what was swept in the last second.
type sweeps struct {
	mu    sync.Mutex
	since time.Time
	done  map[sweep]struct{}
}

type sweep struct {
	tenant id.ID
	sql    string
}

// first reports whether a sweep is the first since now - sweepEvery at most. A clock that goes back
// starts again.
func (s *sweeps) first(tenant id.ID, sql string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.since) || now.Sub(s.since) >= sweepEvery {
		s.since, s.done = now, map[sweep]struct{}{}
	}
	of := sweep{tenant, sql}
	_, swept := s.done[of]
	s.done[of] = struct{}{}
	return !swept
}
