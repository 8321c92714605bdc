package usage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/usage"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// scene writes the records of one tenant.
type scene struct {
	*testkit.Database
	t    *testing.T
	acme caller.Caller
	day  time.Time // the first midnight after the tenant was created
}

func newScene(t *testing.T, d *testkit.Database) *scene {
	s := &scene{Database: d, t: t, acme: d.Tenant(t, "acme")}
	s.day = d.Clock.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	if s.day.AddDate(0, 0, 5).Month() != s.day.Month() { // the tests want one month
		s.day = time.Date(s.day.Year(), s.day.Month()+1, 2, 0, 0, 0, 0, time.UTC)
	}
	return s
}

// at moves the clock to a time of a day, counted from 0.
func (s *scene) at(day int, hour float64) {
	to := s.day.AddDate(0, 0, day).Add(time.Duration(hour * float64(time.Hour)))
	if to.Before(s.Clock.Now()) {
		s.t.Fatalf("the clock cannot go back to %s", to)
	}
	s.Clock.Advance(to.Sub(s.Clock.Now()))
}

func (s *scene) do(fn func(tx *db.Tx)) {
	s.t.Helper()
	if err := s.Update(s.t.Context(), s.acme, func(tx *db.Tx) error { fn(tx); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) signIn(u id.ID) {
	s.t.Helper()
	s.do(func(tx *db.Tx) {
		tx.Act(caller.Actor{Kind: caller.User, ID: u, Tenant: tx.Tenant()})
		audit.Write(tx, audit.Event{Action: "signin.succeed"})
	})
}

func (s *scene) token(grantType string, u id.ID) {
	s.t.Helper()
	s.do(func(tx *db.Tx) {
		tx.Later(`INSERT INTO access_records (tenant_id, at, id, action, actor_kind, grant_type, user_id)
			VALUES ($1, $2, $3, 'token.issue', 'application', $4, $5)`, tx.Now(), id.At(tx.Now()), grantType, u)
	})
}

func (s *scene) decide(kind, allowed, denied int) {
	s.t.Helper()
	s.do(func(tx *db.Tx) {
		tx.Later(`INSERT INTO decisions (tenant_id, id, principal, resource, revision, effects, body, kind, allowed, denied)
			VALUES ($1, $2, 0, 0, 0, 0, $3, $4, $5, $6)`, id.At(tx.Now()), []byte{}, kind, allowed, denied)
	})
}

func (s *scene) user() id.ID {
	s.t.Helper()
	u, err := db.Write(s.t.Context(), s.DB, s.acme, func(tx *db.Tx) (user.User, error) {
		return user.Create(context.Background(), tx, user.Profile{Username: "u-" + id.New().String()})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return u.ID
}

// rollUp counts all that can be counted.
func (s *scene) rollUp() {
	s.t.Helper()
	for more := true; more; {
		var err error
		if _, more, err = usage.RollUp(s.t.Context(), s.DB, s.acme, s.Clock.Now()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// read returns what is not 0 of the given number of days, and the active users of their month.
func (s *scene) read(n int) ([]usage.Counts, int64) {
	s.t.Helper()
	day := func(i int) usage.Day {
		y, m, d := s.day.AddDate(0, 0, i).Date()
		return usage.Day(y*10000 + int(m)*100 + d)
	}
	r, err := db.Read(s.t.Context(), s.DB, s.acme, func(tx *db.Tx) (usage.Report, error) {
		return usage.Read(context.Background(), tx, day(0), day(n-1))
	})
	if err != nil {
		s.t.Fatal(err)
	}
	out := make([]usage.Counts, n)
	for i := range out {
		out[i] = usage.Counts{}
		for m, v := range r.Days[day(i)] {
			if v != 0 {
				out[i][m] = v
			}
		}
	}
	return out, r.Months[usage.Month(day(0)/100)]
}

// A roll-up that runs days late, twice, and on several replicas at once counts each record once.
// What it counted stays when the records are deleted.
func TestEachRecordIsCountedOnce(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		s := newScene(t, d)
		s.at(0, 10)
		ada, bob := s.user(), s.user()
		s.signIn(ada)
		s.token("authorization_code", ada)
		s.token("client_credentials", id.ID{})
		s.decide(1, 3, 2)
		s.decide(5, 1, 0) // a management call
		s.decide(4, 1, 0) // a sign-in, which does not count as a decision
		s.at(0, 23.9)
		s.token("refresh_token", ada)
		s.decide(2, 1, 0)
		s.at(1, 0.1)
		s.token("refresh_token", bob)
		s.do(func(tx *db.Tx) {
			audit.Write(tx, audit.Event{Action: "signin.refuse", Outcome: audit.Refused})
			if err := user.Delete(context.Background(), tx, role.ForUsers(), bob); err != nil {
				t.Error(err)
			}
		})
		want := []usage.Counts{
			{usage.SignIns: 1, usage.ActiveUsers: 1, usage.Tokens: 3, "tokens_authorization_code": 1,
				"tokens_client_credentials": 1, "tokens_refresh_token": 1, usage.DecisionsAllowed: 4,
				usage.DecisionsDenied: 2, usage.ManagementCalls: 1, usage.Users: 2},
			{usage.SignInsRefused: 1, usage.ActiveUsers: 1, usage.Tokens: 1, "tokens_refresh_token": 1, usage.Users: 1},
			{usage.Users: 1},
		}
		check := func(when string) {
			t.Helper()
			got, active := s.read(len(want))
			if diff := cmp.Diff(want, got); diff != "" || active != 2 {
				t.Errorf("%s: %d active users in the month, want 2; (-want +got)\n%s", when, active, diff)
			}
		}
		s.at(2, 12)
		d.Race(t, 4, func(int) { s.rollUp() })
		check("rolled up late, by four replicas at once")
		s.rollUp()
		check("rolled up twice")
		s.do(func(tx *db.Tx) {
			tx.Later(`DELETE FROM access_records WHERE tenant_id = $1`)
			tx.Later(`DELETE FROM decisions WHERE tenant_id = $1`)
		})
		s.rollUp()
		check("the records are deleted")
	})
}

// A reader sees what is not rolled up yet, and counts a person once, whether rolled up or not.
func TestAReaderSeesTheLastMoments(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		s := newScene(t, d)
		s.at(0, 9)
		ada, bob, cyd := s.user(), s.user(), s.user()
		s.signIn(ada)
		s.at(1, 9)
		s.signIn(ada)
		s.token("refresh_token", bob)
		s.at(1, 9.5)
		s.rollUp()
		for _, u := range []id.ID{ada, bob, bob, cyd} { // ada and bob were counted today
			s.token("refresh_token", u)
		}
		want := []usage.Counts{
			{usage.SignIns: 1, usage.ActiveUsers: 1, usage.Users: 3},
			{usage.SignIns: 1, usage.ActiveUsers: 3, usage.Tokens: 5, "tokens_refresh_token": 5, usage.Users: 3},
		}
		for i, when := range []string{"before", "after"} {
			got, active := s.read(2)
			if diff := cmp.Diff(want, got); diff != "" || active != 3 {
				t.Errorf("%s the roll-up: %d active users in the month, want 3; (-want +got)\n%s", when, active, diff)
			}
			s.at(1, 10+float64(i))
			s.rollUp()
		}
	})
}

// An idle tenant costs a visit of housekeeping two reads and no write.
func TestARollUpOfAnIdleTenant(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		s := newScene(t, d)
		s.at(0, 9)
		s.signIn(s.user())
		s.at(0, 10)
		s.rollUp()
		s.at(1, 9)
		var statements []string
		d.Observe(func(sql string) { statements = append(statements, sql) })
		s.rollUp()
		d.Observe(func(string) {})
		if len(statements) != 2 {
			t.Errorf("%d statements, want 2:\n%q", len(statements), statements)
		}
	})
}

// A tenant that has reached its limit of active users adds no user until the next month.
func TestActiveUsersAreLimited(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		s := newScene(t, d)
		s.at(0, 9)
		ada, bob := s.user(), s.user()
		s.do(func(tx *db.Tx) {
			if _, err := tenant.Update(context.Background(), tx, tenant.Patch{
				Limits: func(l *tenant.Limits) { l.MonthlyActiveUsers = 2 }}); err != nil {
				t.Error(err)
			}
		})
		add := func() error {
			return s.Update(t.Context(), s.acme, func(tx *db.Tx) error {
				_, err := user.Create(context.Background(), tx, user.Profile{Username: "u-" + id.New().String()})
				return err
			})
		}
		s.signIn(ada)
		s.at(0, 10)
		s.rollUp()
		if err := add(); err != nil {
			t.Errorf("one of two is active: %v", err)
		}
		s.signIn(bob)
		s.at(0, 11)
		s.rollUp()
		var f *fault.Fault
		if err := add(); !errors.As(err, &f) || !errors.Is(err, tenant.ErrLimit) ||
			f.Quota.Name != "monthly_active_users" ||
			f.Quota.Resets != time.Date(s.day.Year(), s.day.Month()+1, 1, 0, 0, 0, 0, time.UTC) {
			t.Errorf("two of two are active: %v", err)
		}
		s.signIn(ada)
		s.at(31, 1)
		if err := add(); err != nil {
			t.Errorf("in the next month: %v", err)
		}
	})
}
