package session_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var ctx = context.Background()

func update(t testing.TB, d *testkit.Database, c caller.Caller, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Update(ctx, c, fn); err != nil {
		t.Fatal(err)
	}
}

func newUser(t testing.TB, d *testkit.Database, c caller.Caller, email string) user.User {
	var u user.User
	t.Helper()
	update(t, d, c, func(tx *db.Tx) error {
		var err error
		u, err = user.Create(ctx, tx, user.Profile{Email: email})
		return err
	})
	return u
}

func start(t testing.TB, d *testkit.Database, c caller.Caller, n session.New) (session.Session, secret.String) {
	var s session.Session
	var token secret.String
	t.Helper()
	update(t, d, c, func(tx *db.Tx) error {
		var err error
		s, token, err = session.Start(ctx, tx, n)
		return err
	})
	return s, token
}

func find(t testing.TB, d *testkit.Database, c caller.Caller, token string) (session.Session, error) {
	var s session.Session
	var err error
	t.Helper()
	_ = d.View(ctx, c, func(tx *db.Tx) error {
		s, err = session.Find(ctx, tx, token)
		return nil
	})
	if err != nil && !errors.Is(err, session.ErrNone) {
		t.Fatalf("Find fails with %v, want ErrNone", err)
	}
	return s, err
}

func TestFind(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		c.Address, c.Agent = netip.MustParseAddr("192.0.2.7"), "Firefox"
		other := d.Tenant(t, "globex")
		u := newUser(t, d, c, "ada@acme.example")
		s, token := start(t, d, c,
			session.New{User: u.ID, UserName: u.Email, AMR: []string{"pwd", "otp"}, ACR: "aal2", Idle: time.Hour,
				Max: 3 * time.Hour})
		got, err := find(t, d, c, token.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != s.ID || got.User != u.ID || got.UserName != u.Email || got.ACR != "aal2" ||
			!slices.Equal(got.AMR, []string{"pwd", "otp"}) || got.Address != "192.0.2.7" || got.Agent != "Firefox" ||
			!got.AuthTime.Equal(d.Clock.Now()) || !got.ExpiresAt.Equal(d.Clock.Now().Add(3*time.Hour)) ||
			got.Idle != time.Hour {
			t.Errorf("found %+v", got)
		}
		var solo user.User
		update(t, d, c, func(tx *db.Tx) error {
			var err error
			solo, err = user.Create(ctx, tx, user.Profile{Username: "solo"})
			return err
		})
		_, nameless := start(t, d, c, session.New{User: solo.ID, AMR: []string{"pwd"}, Idle: time.Hour, Max: time.Hour})
		if s, err := find(t, d, c, nameless.Reveal()); err != nil || s.Actor(c.Tenant).Name != "solo" {
			t.Errorf("the actor of a user without an email address is %+v, %v", s.Actor(c.Tenant), err)
		}
		none := func(what string, c caller.Caller, token string) {
			t.Helper()
			if _, err := find(t, d, c, token); err == nil {
				t.Errorf("%s opens the session", what)
			}
		}
		none("an empty token", c, "")
		none("a mangled token", c, token.Reveal()[:20])
		fresh, _ := secret.NewToken(secret.Session, c.Tenant)
		none("another token", c, fresh.Reveal())
		none("the token at another tenant", other, token.Reveal())

		// The user and the tenant count in the same query.
		status := func(s user.Status) {
			update(t, d, c, func(tx *db.Tx) error {
				_,
					err := user.SetStatus(ctx, tx, role.KeepOwner, u.ID, s)
				return err
			})
		}
		status(user.Locked)
		none("a locked user's token", c, token.Reveal())
		status(user.Active)
		none("an unlocked user's token of before", c, token.Reveal())
		s, token = start(t, d, c, session.New{User: u.ID, Generation: 1, Idle: time.Hour, Max: 3 * time.Hour})
		tenant := func(status string) {
			if err := d.System(ctx, c, "test", func(st *db.SystemTx) error {
				_, err := st.Exec(ctx, `UPDATE tenants SET status = $2 WHERE id = $1`, c.Tenant, status)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		tenant("suspended")
		none("a suspended tenant's token", c, token.Reveal())
		tenant("active")

		// Idle: a visit keeps it, to the end but no longer.
		for range 2 {
			d.Clock.Advance(59 * time.Minute)
			if got, err = find(t, d, c, token.Reveal()); err != nil || !got.Stale(d.Clock.Now()) {
				t.Fatalf("after 59 minutes: %v, stale %v", err, got.Stale(d.Clock.Now()))
			}
			update(t, d, c, func(tx *db.Tx) error { session.Touch(tx, s.ID); return nil })
		}
		d.Clock.Advance(time.Hour)
		none("an idle session's token", c, token.Reveal())
		d.Clock.Advance(-time.Hour)
		update(t, d, c, func(tx *db.Tx) error { return session.Revoke(ctx, tx, s.ID, "test") })
		none("a revoked session's token", c, token.Reveal())
		if err := d.Update(ctx, c,
			func(tx *db.Tx) error { return session.Revoke(ctx, tx, s.ID, "test") }); !errors.Is(err,
			session.ErrNotFound) {
			t.Errorf("revoking twice: %v", err)
		}

		_, token = start(t, d, c, session.New{User: u.ID, AMR: []string{"pwd"}, Idle: 10 * time.Hour, Max: time.Hour})
		d.Clock.Advance(time.Hour)
		none("a session's token past its end", c, token.Reveal())
	})
}

func TestListAndRevoke(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, other := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		a, b := newUser(t, d, c, "a@acme.example"), newUser(t, d, c, "b@acme.example")
		var of []session.Session
		var tokens []secret.String
		for range 3 {
			s, token := start(t, d, c, session.New{User: a.ID, AMR: []string{"pwd"}})
			of, tokens = append(of, s), append(tokens, token)
		}
		bs, _ := start(t, d, c, session.New{User: b.ID, AMR: []string{"pwd"}})
		list := func(c caller.Caller, user, after id.ID, limit int) []id.ID {
			var ids []id.ID
			t.Helper()
			if err := d.View(ctx, c, func(tx *db.Tx) error {
				l, err := session.List(ctx, tx, filter.All(), user, after, limit)
				for _, s := range l {
					ids = append(ids, s.ID)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return ids
		}
		if got := list(c, id.ID{}, id.ID{}, 10); len(got) != 4 {
			t.Errorf("all: %v", got)
		}
		if got := list(c, a.ID, of[0].ID, 1); !slices.Equal(got, []id.ID{of[1].ID}) {
			t.Errorf("a's second page: %v", got)
		}
		if got := list(other, id.ID{}, id.ID{}, 10); len(got) != 0 {
			t.Errorf("another tenant sees %v", got)
		}
		if err := d.Update(ctx, other,
			func(tx *db.Tx) error { return session.Revoke(ctx, tx, bs.ID, "test") }); !errors.Is(err,
			session.ErrNotFound) {
			t.Errorf("another tenant revokes: %v", err)
		}
		update(t, d, c, func(tx *db.Tx) error {
			n, err := session.RevokeAll(ctx, tx, a.ID, of[1].ID, "test")
			if n != 2 {
				t.Errorf("RevokeAll ended %d, want 2", n)
			}
			return err
		})
		if _, err := find(t, d, c, tokens[0].Reveal()); err == nil {
			t.Error("a revoked session is found")
		}
		if _, err := find(t, d, c, tokens[1].Reveal()); err != nil {
			t.Error("the spared session is gone")
		}
		if got := list(c, id.ID{}, id.ID{}, 10); len(got) != 2 {
			t.Errorf("left: %v", got)
		}
		update(t, d, c, func(tx *db.Tx) error {
			_, err := session.RevokeAll(ctx, tx, a.ID, id.ID{}, "test")
			return err
		})
		if got := list(c, a.ID, id.ID{}, 10); len(got) != 0 {
			t.Errorf("after revoking all: %v", got)
		}
	})
}

func TestRevokeHasOneWinner(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		u := newUser(t, d, c, "ada@acme.example")
		s, _ := start(t, d, c, session.New{User: u.ID, AMR: []string{"pwd"}})
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				err := d.Update(ctx, c, func(tx *db.Tx) error { return session.Revoke(ctx, tx, s.ID, "test") })
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, session.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d revoked it, want 1", won.Load())
		}
	})
}

func TestEndedSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		u := newUser(t, d, c, "ada@acme.example")
		start(t, d, c, session.New{User: u.ID, AMR: []string{"pwd"}, Max: time.Hour})
		count := func() int {
			var n int
			t.Helper()
			if err := d.View(ctx, c, func(tx *db.Tx) error {
				var err error
				n, err = db.One(ctx, tx, func(r db.Row) (int, error) {
					var n int
					err := r.Scan(&n)
					return n, err
				}, `SELECT count(*) FROM sessions WHERE tenant_id = $1`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		d.Clock.Advance(31 * 24 * time.Hour)
		start(t, d, c, session.New{User: u.ID, AMR: []string{"pwd"}})
		if n := count(); n != 1 {
			t.Errorf("%d rows, want the new one only", n)
		}
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		a, b := newUser(t, d, c, "a@acme.example"), newUser(t, d, c, "b@acme.example")
		s, old := start(t, d, c, session.New{User: a.ID, AMR: []string{"pwd"}, Max: time.Hour})
		d.Clock.Advance(30 * time.Minute)
		var token secret.String
		renew := func(u id.ID) error {
			return d.Update(ctx, c, func(tx *db.Tx) error {
				var err error
				_, token, err = session.Renew(ctx, tx, s.ID,
					session.New{User: u, AMR: []string{"pwd", "otp"}, ACR: "aal2", Max: time.Hour})
				return err
			})
		}
		if err := renew(b.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("another user takes the session over: %v", err)
		}
		if err := renew(a.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := find(t, d, c, old.Reveal()); err == nil {
			t.Error("the old token still opens the session")
		}
		got, err := find(t, d, c, token.Reveal())
		if err != nil || got.ID != s.ID || got.ACR != "aal2" || !got.AuthTime.Equal(d.Clock.Now()) ||
			!got.ExpiresAt.Equal(d.Clock.Now().Add(time.Hour)) {
			t.Errorf("renewed: %+v, %v", got, err)
		}
		update(t, d, c, func(tx *db.Tx) error { return session.Revoke(ctx, tx, s.ID, "test") })
		if err := renew(a.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("an ended session comes back: %v", err)
		}
	})
}

// Without a newer sign-in, renewing only shortens a session. With one, the new limits hold.
func TestRenewLimits(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		a := newUser(t, d, c, "a@acme.example")
		s, _ := start(t, d, c, session.New{User: a.ID, Idle: time.Hour, Max: 2 * time.Hour})
		began := d.Clock.Now()
		d.Clock.Advance(30 * time.Minute)
		now := d.Clock.Now()
		for _, tt := range []struct {
			name      string
			auth      time.Time
			idle, max time.Duration
			wantIdle  time.Duration
			wantEnd   time.Time
		}{
			{"longer", began, 9 * time.Hour, 9 * time.Hour, time.Hour, began.Add(2 * time.Hour)},
			{"no limits", began, 0, 0, time.Hour, began.Add(2 * time.Hour)},
			{"shorter", began, 20 * time.Minute, time.Hour, 20 * time.Minute, now.Add(time.Hour)},
			{"a new sign-in", now, 3 * time.Hour, 4 * time.Hour, 3 * time.Hour, now.Add(4 * time.Hour)},
		} {
			update(t, d, c, func(tx *db.Tx) error {
				_, _, err := session.Renew(ctx, tx, s.ID,
					session.New{User: a.ID, AuthTime: tt.auth, Idle: tt.idle, Max: tt.max})
				if err != nil {
					return err
				}
				got, err := session.Get(ctx, tx, s.ID)
				if got.Idle != tt.wantIdle || !got.ExpiresAt.Equal(tt.wantEnd) {
					t.Errorf("%s: idle %s, end %s; want %s, %s", tt.name, got.Idle, got.ExpiresAt, tt.wantIdle,
						tt.wantEnd)
				}
				return err
			})
		}
	})
}
