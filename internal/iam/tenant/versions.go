package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/clock"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// PrincipalsChanged says that tx changes what a principal of its tenant is: a user's status,
// fields or attributes, an application, a group, who is in it, a role, who has it. Every such
// change must say so; copies of principals are good for one version. It costs no round trip,
// its lock on the tenant's row lasts as long as the COMMIT, and the answer waits until no replica
// goes by the version before (settle).
func PrincipalsChanged(tx *db.Tx) {
	tx.AtCommit(`UPDATE tenants SET principals_version = principals_version + 1 WHERE id = $1`)
	tx.Settle(settle)
}

// A version that was read is good for a moment (fresh), and whoever changes one is answered a longer moment
// after the commit (settle). So a change counts in every answer to a question that is asked after the change was answered: what
// was read before the commit is too old by then. Both times are measured, none is compared between machines.
const (
	fresh  = 9 * time.Millisecond
	settle = 10 * time.Millisecond
)

// Version is how far a tenant's principals have come.
type Version struct {
	Principals int64 // moves with every commit that said PrincipalsChanged
	Active     bool  // the tenant is neither suspended nor about to be deleted
}

// Versions reads versions, exactly and cheaply: no change that was answered before the question is missing in the answer;
// one read answers what is asked for a moment, and all who ask while a read is under way, of whatever tenant, share the next
// one. So there is at most one read at a time, and the more questions there are the less one costs. It is safe for
// concurrent use.
type Versions struct {
	db   *db.DB
	turn sync.Mutex // held by the read under way

	mu    sync.Mutex
	next  *reading // has not begun: who joins it is answered by what is true from now on
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
	// readWidth is how many tenants one statement asks for; fewer are padded, so that there are
	// two statements to prepare and not hundreds.
	readWidth = 32
	// readTimeout bounds one read: those who wait for it must not wait for a dead connection.
	readTimeout = 5 * time.Second
)

// NewVersions returns the versions of the tenants of d.
func NewVersions(d *db.DB) *Versions { return &Versions{db: d} }

// known is what was read within the last moment or two, in two halves of which the older one is forgotten as a whole.
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

// Read returns the tenant's version, or ErrNotFound. It is one that no change is missing in which was answered before Read
// was called.
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
		v.run(ctx, r)
	} else {
		select {
		case <-r.done:
		case <-ctx.Done():
			return Version{}, ctx.Err()
		}
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

// run waits for the read under way to end, closes r to newcomers and only then begins. Its
// context is not the first one's: the others have not gone away with them.
func (v *Versions) run(ctx context.Context, r *reading) {
	defer close(r.done)
	v.turn.Lock()
	defer v.turn.Unlock()
	v.mu.Lock()
	v.next = nil
	v.mu.Unlock()
	r.began = clock.Machine()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	r.err = fmt.Errorf("versions: the read did not end") // what is seen if it panics
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
	return db.SystemRead(ctx, v.db, reader, "read how far the principals of tenants have come", func(st *db.SystemTx) (map[id.ID]Version, error) {
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
