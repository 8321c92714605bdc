package logout

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signingkey"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// scene is a tenant with an application whose address is slow at /slow, and answers with a status
// elsewhere.
type scene struct {
	*Deliverer
	d           *testkit.Database
	c           caller.Caller
	app         application.Application
	url         string
	status      atomic.Int64
	begun, stop chan bool
}

func both(t *testing.T, fn func(t *testing.T, s *scene)) {
	t.Helper()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ring, err := secret.ParseKeyRing(secret.NewKey("test"))
		if err != nil {
			t.Fatal(err)
		}
		s := &scene{d: d, c: d.Tenant(t, "acme"), begun: make(chan bool), stop: make(chan bool)}
		s.status.Store(http.StatusOK)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				s.begun <- true
				<-s.stop
			}
			w.WriteHeader(int(s.status.Load()))
		}))
		t.Cleanup(server.Close)
		s.url = server.URL
		s.Deliverer = &Deliverer{DB: d.DB, Keys: signingkey.New(d.DB, ring, d.Clock, testkit.Key, func(*db.Tx) {}),
			Subjects: subject.NewKeys(d.DB, ring), Clock: d.Clock,
			Outbound: outbound.New(outbound.Config{Development: true, Timeout: time.Minute})}
		s.do(t, func(tx *db.Tx) error {
			var err error
			s.app, _, err = application.Create(t.Context(), tx, application.New{Name: "App", Type: application.Web,
				RedirectURIs: []string{"https://app.example.com/"}, BackchannelLogoutURI: s.url})
			return err
		})
		fn(t, s)
	})
}

func (s *scene) do(t *testing.T, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := s.DB.Update(t.Context(), s.c, fn); err != nil {
		t.Fatal(err)
	}
}

// add writes a notice about a user.
func (s *scene) add(t *testing.T, user id.ID) {
	t.Helper()
	s.do(t, func(tx *db.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO logout_notices
			(tenant_id, session_id, application_id, user_id, issuer, created_at, due_at)
			VALUES ($1, $2, $3, $4, 'https://acme.example', $5, $5)`, id.New(), s.app.ID, user, tx.Now())
		return err
	})
}

// run returns after what time the next run is due, zero for none, and how many notices wait: all,
// and those as they were written.
func (s *scene) run(t *testing.T) (time.Duration, int64, int64) {
	t.Helper()
	next, err := s.deliver(t.Context(), s.c)
	if err != nil {
		t.Fatal(err)
	}
	count := func(which string) int64 {
		n, err := db.Read(t.Context(), s.DB, s.c, func(tx *db.Tx) (int64, error) {
			return db.One(t.Context(), tx, db.Column[int64], `SELECT count(*) FROM logout_notices
				WHERE tenant_id = $1`+which)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	all, same := count(""), count(" AND attempts = 0 AND due_at = created_at")
	if next.IsZero() {
		return 0, all, same
	}
	return next.Sub(s.d.Clock.Now()), all, same
}

// A call for which no place was free says nothing about the application. So it does not count, and
// holds nothing back. The notice is given up after an hour all the same.
func TestABusyServerIsNoAttempt(t *testing.T) {
	both(t, func(t *testing.T, s *scene) {
		var slow sync.WaitGroup
		for range 4 {
			slow.Go(func() {
				_, _ = s.Outbound.Do(context.Background(), s.c.Tenant, outbound.Request{URL: s.url + "/slow"})
			})
			<-s.begun
		}
		s.add(t, id.New())
		s.add(t, id.New())
		if next, all, same := s.run(t); next != delays[0] || all != 2 || same != 2 {
			t.Errorf("busy: next in %s, %d notices wait, %d as they were", next, all, same)
		}
		s.d.Clock.Advance(maxAge)
		s.add(t, id.New())
		if next, all, _ := s.run(t); next != delays[0] || all != 1 {
			t.Errorf("busy for an hour: next in %s, %d notices wait", next, all)
		}
		close(s.stop)
		slow.Wait()
		if next, all, _ := s.run(t); next != 0 || all != 0 {
			t.Errorf("free again, at the same moment: next in %s, %d notices wait", next, all)
		}
	})
}

// The next run is due when a hold ends, and not before.
func TestTheNextRunWaitsForTheHold(t *testing.T) {
	both(t, func(t *testing.T, s *scene) {
		s.status.Store(http.StatusInternalServerError)
		one := id.New()
		s.add(t, one)
		s.add(t, one)
		for _, wait := range delays[:3] {
			if next, all, _ := s.run(t); next != wait || all != 2 {
				t.Errorf("next in %s, want %s; %d notices wait", next, wait, all)
			}
			s.d.Clock.Advance(wait)
		}
		s.status.Store(http.StatusOK)
		s.add(t, id.New())
		if next, all, _ := s.run(t); all > 2 || next < 0 {
			t.Errorf("recovered: next in %s, %d notices wait", next, all)
		}
	})
}

// A replica that remembers as much as it may can still ask for what is due.
func TestAStatementNamesAllHolds(t *testing.T) {
	both(t, func(t *testing.T, s *scene) {
		ctx := t.Context()
		one, now := id.New(), s.d.Clock.Now()
		s.add(t, one)
		s.held.of = map[holdKey]hold{}
		for range usersKept {
			s.held.of[holdKey{s.c.Tenant, s.app.ID, id.New()}] = hold{until: now.Add(time.Minute), failed: now}
		}
		for range appsKept {
			app := holdKey{tenant: s.c.Tenant, application: id.New()}
			s.held.of[app] = hold{until: now.Add(time.Minute), failed: now}
		}
		held := s.held.at(s.c.Tenant, now)
		for range usersKept {
			held.last = append(held.last, holdKey{s.c.Tenant, s.app.ID, id.New()})
		}
		got, err := db.Read(ctx, s.DB, s.c, func(tx *db.Tx) ([]pending, error) { return s.due(ctx, tx, held) })
		if err != nil || len(got) != 1 || got[0].user != one {
			t.Errorf("%d notices are due: %v", len(got), err)
		}
		next, err := db.Read(ctx, s.DB, s.c, func(tx *db.Tx) (time.Time, error) { return s.next(ctx, tx) })
		if err != nil || next.After(now) || next.IsZero() {
			t.Errorf("the next notice is due at %s: %v", next, err)
		}
	})
}
