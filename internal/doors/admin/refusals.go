package admin

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Bounds on what refused calls write. A replica writes one event in refusalEvery for an actor and
// an action. The next event says how many calls were not recorded.
const (
	refusalEvery = time.Minute
	refusalSize  = 4096 // pairs of actor and action that are remembered
)

// refusals limits the audit events of refused calls. It is safe for concurrent use.
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

// count counts a refusal. It reports whether to write an event, and how many refusals since the
// last event had none.
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
