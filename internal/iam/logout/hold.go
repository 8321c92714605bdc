package logout

import (
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// maxHold is how long an application that goes on failing is held back at most.
const maxHold = time.Minute

// holdsKept bounds the applications that a replica holds back at once. Those that failed first are
// called again sooner.
const holdsKept = 10_000

// holds are the applications that failed when this replica called them last. They are called again
// later, and their notices stay as they are until then. A restart forgets the holds, and another
// replica has its own: each costs one call.
type holds struct {
	mu sync.Mutex
	of map[id.ID]hold // by application
}

type hold struct {
	tenant   id.ID
	until    time.Time
	failures int // one after the other
}

// record notes how a call of an application ended. A failure holds it back, each time for longer.
func (h *holds) record(tenant, application id.ID, failed bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !failed {
		delete(h.of, application)
		return
	}
	if h.of == nil {
		h.of = map[id.ID]hold{}
	}
	if _, known := h.of[application]; !known && len(h.of) >= holdsKept {
		h.dropFirst()
	}
	was := h.of[application]
	if now.Sub(was.until) > maxAge { // it has not been called for long
		was.failures = 0
	}
	after := min(delays[min(was.failures, len(delays)-1)], maxHold)
	h.of[application] = hold{tenant: tenant, until: now.Add(after), failures: was.failures + 1}
}

// dropFirst is called with the lock held.
func (h *holds) dropFirst() {
	var first id.ID
	for app, of := range h.of {
		if first.IsZero() || of.until.Before(h.of[first].until) {
			first = app
		}
	}
	delete(h.of, first)
}

// until returns when each application of a tenant that is held back at now may be called again.
func (h *holds) until(tenant id.ID, now time.Time) map[id.ID]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[id.ID]time.Time{}
	for app, of := range h.of {
		if of.tenant == tenant && of.until.After(now) {
			out[app] = of.until
		}
	}
	return out
}
