package logout

import (
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// calls are the calls of one application, as holds see them.
type calls struct {
	h           holds
	tenant, app id.ID
	now         time.Time
}

func newCalls() *calls { return &calls{tenant: id.New(), app: id.New(), now: time.Unix(1e9, 0)} }

func (c *calls) about(user id.ID) pending {
	p := pending{user: user}
	p.app.ID = c.app
	return p
}

// end records how a call ended. The status 0 is for no answer.
func (c *calls) end(user id.ID, status int64) {
	a := answer{result: "failed", status: status}
	if status == 200 {
		a.result = "accepted"
	}
	c.h.record(c.tenant, c.about(user), a, c.now)
}

func (c *calls) waits(user id.ID) bool { return c.h.waits(c.tenant, c.about(user), c.now) }

// A user for whom the application fails is held back for longer each time, and no other user is.
func TestAFailureHoldsBackOneUser(t *testing.T) {
	c, one, other := newCalls(), id.New(), id.New()
	for i, held := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, time.Minute, time.Minute} {
		c.end(one, 0)
		c.now = c.now.Add(held - 1)
		if !c.waits(one) || c.waits(other) {
			t.Errorf("failure %d: the user waits: %t, another one: %t", i, c.waits(one), c.waits(other))
		}
		c.now = c.now.Add(1)
		if c.waits(one) {
			t.Errorf("failure %d: the user waits after %s", i, held)
		}
		if last := c.h.at(c.tenant, c.now).last; len(last) != 1 || last[0].user != one {
			t.Errorf("failure %d: %v come last, want the user", i, last)
		}
	}
	c.end(one, 500)
	c.end(other, 200)
	if !c.waits(one) {
		t.Error("the success of another user's notice ended the hold")
	}
	c.now = c.now.Add(maxHold)
	c.end(one, 200)
	if len(c.h.of) != 0 {
		t.Error("a success left a hold")
	}
}

// An application is held back as a whole when it fails for 20 users in a row, or gives two of them
// no answer. A success in between counts from the start.
func TestFailuresForSeveralUsersHoldBackTheApplication(t *testing.T) {
	for status, users := range map[int64]int{500: 20, 0: 2} {
		c := newCalls()
		fail := func(n int) {
			for range n {
				c.end(id.New(), status)
			}
		}
		for _, held := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, time.Minute} {
			fail(users - 1)
			if c.waits(id.New()) {
				t.Errorf("status %d: held back before %d users", status, users)
			}
			fail(1)
			c.now = c.now.Add(held - 1)
			if !c.waits(id.New()) {
				t.Errorf("status %d: not held back for %s", status, held)
			}
			c.now = c.now.Add(1)
			if c.waits(id.New()) {
				t.Errorf("status %d: held back for more than %s", status, held)
			}
		}
		fail(users - 1)
		c.end(id.New(), 200)
		if fail(users - 1); c.waits(id.New()) {
			t.Errorf("status %d: a success did not end the row", status)
		}
		fail(1)
		c.now = c.now.Add(5 * time.Second)
		if c.waits(id.New()) {
			t.Errorf("status %d: a success did not end the longer holds", status)
		}
	}
}

// What a replica remembers is bounded, and of one tenant's users what a statement can name.
func TestHoldsAreBounded(t *testing.T) {
	c := newCalls()
	for range appsKept + 50 {
		c.app = id.New()
		c.end(id.New(), 500)
		c.now = c.now.Add(time.Millisecond)
	}
	apps, users := 0, 0
	for k := range c.h.of {
		if k.user.IsZero() {
			apps++
		} else {
			users++
		}
	}
	if apps != appsKept || users != usersKept {
		t.Errorf("%d applications and %d users are remembered, want %d and %d", apps, users, appsKept, usersKept)
	}
	texts := map[string]bool{}
	for i := range usersKept {
		h := heldBack{until: map[holdKey]time.Time{}}
		for range i {
			h.until[holdKey{c.tenant, id.New(), id.New()}] = c.now
			h.until[holdKey{tenant: c.tenant, application: id.New()}] = c.now
		}
		apps, args := h.applications(nil)
		users, _ := h.users(args)
		texts[apps+users] = true
	}
	if len(texts) > 7 {
		t.Errorf("%d texts of statements, which are all kept", len(texts))
	}
	c.tenant = id.New()
	for len(c.h.of) < holdsKept {
		c.h.of[holdKey{tenant: id.New(), application: id.New()}] = hold{until: c.now.Add(maxHold)}
	}
	if c.end(id.New(), 500); len(c.h.of) > holdsKept {
		t.Errorf("%d holds are remembered, want %d at most", len(c.h.of), holdsKept)
	}
	c.now = c.now.Add(2 * maxAge)
	if held := c.h.at(c.tenant, c.now); len(held.until)+len(held.last) != 0 {
		t.Errorf("%d and %d holds of more than an hour ago", len(held.until), len(held.last))
	}
}
