package admin

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds on what refused calls write: of one actor and action one event in refusalEvery
// and replica, whatever the number of calls; the next event says how many it stands for.
const (
	refusalEvery = time.Minute
	refusalSize  = 4096 // pairs of actor and action that are remembered
)

// refusals keeps a flood of refused calls from becoming a flood of audit events. It is
// safe for concurrent use.
type refusals struct {
	mu   sync.Mutex
	seen *lru.Cache[refusal, tally]
}

type refusal struct {
	tenant, actor id.ID
	action        string
}

type tally struct {
	written time.Time
	more    int // refused since
}

func newRefusals() *refusals {
	seen, err := lru.New[refusal, tally](refusalSize)
	if err != nil { // only for a size below one
		panic("admin: " + err.Error())
	}
	return &refusals{seen: seen}
}

// count notes a refusal at now. It reports whether it is to be written, and how many
// before it were not.
func (r *refusals) count(of refusal, now time.Time) (write bool, more int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.seen.Get(of)
	if ok && now.Sub(t.written) < refusalEvery {
		t.more++
		r.seen.Add(of, t)
		return false, 0
	}
	r.seen.Add(of, tally{written: now})
	return true, t.more
}
