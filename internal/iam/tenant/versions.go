package tenant

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// PrincipalsChanged marks a transaction that changes what a principal of its tenant is. That is a
// user's status, profile or attributes, an application, a group or its members, a role or its
// assignments. Every such change must call it, because a copy of a principal counts for one
// version.
//
// It costs no round trip. Its lock on the tenant's row lasts as long as the COMMIT. Update returns
// when no replica uses the version before (settle).
func PrincipalsChanged(tx *db.Tx) {
	tx.AtCommit(`UPDATE tenants SET principals_version = principals_version + 1 WHERE id = $1`)
	tx.Settle(settle)
}

// A version counts for a moment after it was read (fresh). Update returns a longer moment after the
// commit of a change (settle). What was read before that commit is too old by then, so the change
// counts in every decision that begins after Update returned. Both times are durations on one
// machine: no clock is compared with another.
const (
	fresh  = 9 * time.Millisecond
	settle = 10 * time.Millisecond
)

// Version counts the changes of a tenant's principals.
type Version struct {
	Principals int64 // grows with every commit that called PrincipalsChanged
	Active     bool  // the tenant is neither suspended nor about to be deleted
}

// Versions reads versions exactly and cheaply. Its answer includes every change whose Update
// returned before the question. One read answers all questions for a moment (fresh). Questions that
// arrive during a read, of any tenant, share the next one. So there is at most one read at a time,
// and more questions cost less each. It is safe for concurrent use.
//
// It is not a kit/cache. A cache runs a load for each key, and a caller joins one that has begun.
// Here one read is for all tenants that ask, and a caller that joined a read under way could miss a
// change that was answered after the read began.
type Versions struct {
	db   *db.DB
	turn sync.Mutex // held by the read under way

	mu    sync.Mutex
	next  *reading // has not begun: it will read what is true from now on
	known known
}

type reading struct {
	began    time.Time // by the machine's clock, before the database was asked
	tenants  map[id.ID]struct{}
	versions map[id.ID]Version
	err      error
	done     chan struct{}
}

const (
	// readWidth is how many tenants one statement reads. Fewer are padded, so that there are two
	// statements to prepare instead of hundreds.
	readWidth = 32
	// readTimeout bounds one read: its callers must not wait for a dead connection.
	readTimeout = 5 * time.Second
)

// NewVersions returns the versions of the tenants of d.
func NewVersions(d *db.DB) *Versions { return &Versions{db: d} }

// known has the reads of the last moments in two halves. The older half is dropped as a whole.
type known struct {
	since         time.Time // when recent was begun
	recent, older map[id.ID]*reading
}

func (k *known) of(tenant id.ID) (Version, bool) {
	r := k.recent[tenant]
	if r == nil {
		r = k.older[tenant]
	}
	if r == nil || clock.Machine().Sub(r.began) >= fresh {
		return Version{}, false
	}
	return r.versions[tenant], true
}

func (k *known) keep(r *reading) {
	if r.began.Sub(k.since) >= fresh {
		k.since, k.older, k.recent = r.began, k.recent, map[id.ID]*reading{}
	}
	for tenant := range r.versions {
		k.recent[tenant] = r
	}
}

// Read returns the tenant's version, or ErrNotFound. It includes every change whose Update returned
// before Read was called.
func (v *Versions) Read(ctx context.Context, tenant id.ID) (Version, error) {
	v.mu.Lock()
	if found, ok := v.known.of(tenant); ok {
		v.mu.Unlock()
		return found, nil
	}
	r, first := v.next, v.next == nil
	if first {
		r = &reading{tenants: map[id.ID]struct{}{}, done: make(chan struct{})}
		v.next = r
	}
	r.tenants[tenant] = struct{}{}
	v.mu.Unlock()
	if first {
		go v.run(context.WithoutCancel(ctx), r)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return Version{}, ctx.Err()
	}
	if r.err != nil {
		return Version{}, r.err
	}
	found, ok := r.versions[tenant]
	if !ok {
		return Version{}, ErrNotFound
	}
	return found, nil
}

// run waits for the read under way to end, closes r to other callers, and only then begins. It has
// a goroutine of its own. So each caller watches its own deadline, and ends nothing for the others.
func (v *Versions) run(ctx context.Context, r *reading) {
	defer close(r.done)
	defer func() {
		if p := recover(); p != nil {
			r.err = fmt.Errorf("versions: the read panicked: %v\n%s", p, debug.Stack())
		}
	}()
	v.turn.Lock()
	defer v.turn.Unlock()
	v.mu.Lock()
	v.next = nil
	v.mu.Unlock()
	r.began = clock.Machine()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if r.versions, r.err = v.read(ctx, r.tenants); r.err != nil {
		return
	}
	v.mu.Lock()
	v.known.keep(r)
	v.mu.Unlock()
}

func (v *Versions) read(ctx context.Context, tenants map[id.ID]struct{}) (map[id.ID]Version, error) {
	ids := make([]any, 0, readWidth)
	for t := range tenants {
		ids = append(ids, t)
	}
	return db.SystemRead(ctx, v.db, reader, "read how far the principals of tenants have come",
		func(st *db.SystemTx) (map[id.ID]Version, error) {
			out := make(map[id.ID]Version, len(ids))
			for chunk := range slices.Chunk(ids, readWidth) {
				query := readOne
				if len(chunk) > 1 {
					query = readMany
					for len(chunk) < readWidth {
						chunk = append(slices.Clip(chunk), chunk[0])
					}
				}
				_, err := db.SystemList(ctx, st, func(row db.Row) (struct{}, error) {
					var tenant id.ID
					var found Version
					err := row.Scan(&tenant, &found.Principals, &found.Active)
					out[tenant] = found
					return struct{}{}, err
				}, query, chunk...)
				if err != nil {
					return nil, err
				}
			}
			return out, nil
		})
}

var reader = caller.Caller{Actor: caller.Actor{Kind: caller.System, Name: "versions"}}

var readOne, readMany = reads(1), reads(readWidth)

func reads(n int) string {
	var list strings.Builder
	for i := range n {
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "$%d", i+1)
	}
	return `SELECT id, principals_version, status = 'active' FROM tenants WHERE id IN (` + list.String() + `)`
}
