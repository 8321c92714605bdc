package logout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// maxHold is how long an application, or a user at it, is held back at most.
const maxHold = time.Minute

// An application is held back when its failures for different users, one after the other, weigh
// maxInRow. A status may be about one session, and costs little. A call without an answer takes
// seconds, and is mostly about the address.
const (
	maxInRow = 20
	noAnswer = 10 // what a call without an answer weighs; a status weighs one
)

// Bounds of what a replica remembers. What ends first is dropped, and called again sooner. Those of
// a tenant are named by a statement.
const (
	holdsKept = 10_000
	appsKept  = 1024 // of a tenant
	usersKept = 256  // of a tenant, at all its applications
)

// holds are the applications that failed when this replica called them, and the users whom the
// notices were about. They are called again later, and their notices stay as they are until then. A
// restart forgets the holds, and another replica has its own: each costs some calls.
//
// An application may fail for the sessions of one user only. So a failure holds back that user, and
// from then on the other users come first. An application that fails for several users is held back
// as a whole.
type holds struct {
	mu sync.Mutex
	of map[holdKey]hold
}

// holdKey names a user at an application, or the application as a whole: user is zero.
type holdKey struct{ tenant, application, user id.ID }

type hold struct {
	until    time.Time
	failed   time.Time // when it failed last
	failures int       // after which it was held back, one after the other
	inRow    []id.ID   // of an application: the users for whom it failed since its last success or hold
	weight   int       // of these failures
}

// longer returns the hold after a failure, which lasts longer than the one before.
func (h hold) longer(now time.Time) hold {
	after := min(delays[min(h.failures, len(delays)-1)], maxHold)
	return hold{until: now.Add(after), failed: now, failures: h.failures + 1}
}

// weigh adds the failure of a user to those in a row.
func (h hold) weigh(user id.ID, a answer, now time.Time) hold {
	h.failed = now
	if slices.Contains(h.inRow, user) {
		return h
	}
	h.inRow = append(slices.Clip(h.inRow), user)
	h.weight++
	if a.status == 0 {
		h.weight += noAnswer - 1
	}
	return h
}

// record notes how the call of a notice ended. A failure holds back the user at the application,
// and the application as a whole if it failed for several users: each time for longer.
func (h *holds) record(tenant id.ID, p pending, a answer, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	app, user := holdKey{tenant: tenant, application: p.app.ID}, holdKey{tenant, p.app.ID, p.user}
	if !a.failed() {
		delete(h.of, app)
		delete(h.of, user)
		return
	}
	h.keep(user, h.recent(user, now).longer(now))
	whole := h.recent(app, now).weigh(p.user, a, now)
	if whole.weight >= maxInRow {
		whole = whole.longer(now)
	}
	h.keep(app, whole)
}

// recent returns the hold of a key, or none if its last failure is long ago.
func (h *holds) recent(k holdKey, now time.Time) hold {
	of := h.of[k]
	if now.Sub(of.failed) > maxAge {
		return hold{}
	}
	return of
}

// keep stores a hold within the bounds. It is called with the lock held.
func (h *holds) keep(k holdKey, of hold) {
	if h.of == nil {
		h.of = map[holdKey]hold{}
	}
	if _, known := h.of[k]; !known {
		h.makeRoom(holdsKept, func(holdKey) bool { return true })
		limit := usersKept
		if k.user.IsZero() {
			limit = appsKept
		}
		h.makeRoom(limit, func(l holdKey) bool { return l.tenant == k.tenant && l.user.IsZero() == k.user.IsZero() })
	}
	h.of[k] = of
}

// makeRoom drops the hold that ends first among those that match, if there are limit of them.
func (h *holds) makeRoom(limit int, match func(holdKey) bool) {
	var first holdKey
	n := 0
	for k, of := range h.of {
		if !match(k) {
			continue
		}
		if n++; n == 1 || of.until.Before(h.of[first].until) {
			first = k
		}
	}
	if n >= limit {
		delete(h.of, first)
	}
}

// waits reports whether the user of a notice, or its application, is held back.
func (h *holds) waits(tenant id.ID, p pending, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[holdKey{tenant: tenant, application: p.app.ID}].until.After(now) ||
		h.of[holdKey{tenant, p.app.ID, p.user}].until.After(now)
}

// heldBack are the holds of a tenant at a moment.
type heldBack struct {
	until map[holdKey]time.Time // the applications and users that are held back
	last  []holdKey             // the users for whom an application failed, and who are not held back
}

// at returns the holds of a tenant.
func (h *holds) at(tenant id.ID, now time.Time) heldBack {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := heldBack{until: map[holdKey]time.Time{}}
	for k, of := range h.of {
		switch {
		case k.tenant != tenant || now.Sub(of.failed) > maxAge:
		case of.until.After(now):
			out.until[k] = of.until
		case !k.user.IsZero():
			out.last = append(out.last, k)
		}
	}
	return out
}

// end returns until when a user at an application is held back, or the application if user is zero.
func (b heldBack) end(k holdKey) time.Time {
	whole, own := b.until[holdKey{tenant: k.tenant, application: k.application}], b.until[k]
	if own.After(whole) {
		return own
	}
	return whole
}

// applications returns the condition that a notice's application is held back as a whole. It
// appends what it names to args, which start at $2.
func (b heldBack) applications(args []any) (string, []any) {
	var apps []string
	for _, k := range padded(slices.Collect(maps.Keys(b.until)), func(k holdKey) bool { return k.user.IsZero() }) {
		args = append(args, k.application)
		apps = append(apps, fmt.Sprintf("$%d", len(args)+1))
	}
	if len(apps) == 0 {
		return `1 = 0`, args
	}
	return `application_id IN (` + strings.Join(apps, ", ") + `)`, args
}

// users returns the condition that a notice's user is held back at the application.
func (b heldBack) users(args []any) (string, []any) {
	return about(slices.Collect(maps.Keys(b.until)), args)
}

// about returns the condition that a notice is about one of the users. Applications as a whole do
// not count. It appends what it names to args, which start at $2.
func about(users []holdKey, args []any) (string, []any) {
	var each []string
	for _, k := range padded(users, func(k holdKey) bool { return !k.user.IsZero() }) {
		args = append(args, k.application, k.user)
		each = append(each, fmt.Sprintf(`application_id = $%d AND user_id = $%d`, len(args), len(args)+1))
	}
	if len(each) == 0 {
		return `1 = 0`, args
	}
	return `(` + strings.Join(each, ` OR `) + `)`, args
}

// padded returns the keys that count, and repeats the last one until their number is a power of
// four. Each statement text is prepared once and kept, so there must be few.
func padded(keys []holdKey, counts func(holdKey) bool) []holdKey {
	keys = slices.DeleteFunc(keys, func(k holdKey) bool { return !counts(k) })
	if len(keys) == 0 {
		return nil
	}
	n := 1
	for n < len(keys) {
		n *= 4
	}
	return append(keys, slices.Repeat(keys[len(keys)-1:], n-len(keys))...)
}
