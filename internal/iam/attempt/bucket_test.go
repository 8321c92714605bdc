package attempt

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/credential"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func at(a string) Client { return Address(netip.MustParseAddr(a), Numbers{}) }

// A distributed attack slows guessers, and lets new browsers in.
func TestAnAttackOnTheTenantLetsPeopleIn(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		f.do(func(tx *db.Tx) (Verdict, error) { // the tenant's bucket is empty, and stays so
			_, err := tx.Exec(t.Context(), `INSERT INTO attempt_counters (tenant_id, subject, failures, last_at, expires_at)
				VALUES ($1, $2, 1, $3, $4)`, ofTenant().subject, tx.Now(), tx.Now().Add(24*time.Hour))
			return Verdict{}, err
		})
		for i := range 20 {
			ada := ForSignIn(id.New(), 0, "ada", "new", at(fmt.Sprintf("198.51.100.%d", i+1)))
			if v := f.check(ada); v.Blocked {
				t.Fatalf("person %d in a new browser: %+v", i+1, v)
			}
			if v := f.succeed(ada); v.Blocked {
				t.Fatalf("person %d with the right password: %+v", i+1, v)
			}
		}
		tries := 0
		for range 100 { // on an account each, from one address
			s := ForSignIn(id.New(), 0, "", "b", at("203.0.113.1"))
			if v := f.check(s); v.Blocked {
				continue
			}
			f.fail(s)
			tries++
		}
		if want := defaultFailures / alarmShare; tries != want {
			t.Errorf("a guesser had %d tries during the attack, want %d", tries, want)
		}
	})
}

// Many addresses of one site are one guesser.
func TestEscalation(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		for name, tc := range map[string]struct {
			address func(i int) string
			want    int
		}{
			"one /48": {func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, 5 * defaultFailures},
			"one /24": {func(i int) string { return fmt.Sprintf("192.0.2.%d", i%250) }, 5 * defaultFailures},
		} {
			f := &fixture{d, t, d.Tenant(t, "t"+name[5:])}
			tries := 0
			for i := range 5*defaultFailures + 20 {
				s := ForSignIn(id.New(), 0, "", "b", at(tc.address(i)))
				if v := f.check(s); v.Blocked {
					continue
				}
				f.fail(s)
				tries++
			}
			if tries != tc.want {
				t.Errorf("%s: %d tries, want %d", name, tries, tc.want)
			}
		}
	})
}

// What others do behind the same address does not keep out a person who signed in from there.
func TestAKnownNetworkIsJudgedByItself(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		ada, school := id.New(), at("192.0.2.8")
		f.succeed(ForSignIn(ada, 0, "ada", "at school", school))
		for range 2 * defaultFailures {
			f.fail(ForSignIn(id.New(), 0, "", "b", school))
		}
		for range 2 * accountRule.Free {
			f.fail(ForSignIn(ada, 0, "ada", "a stranger's", at("203.0.113.1")))
		}
		if v := f.check(ForSignIn(ada, 0, "ada", "ada's new phone", school)); v.Blocked || !v.Known {
			t.Errorf("at school, in a new browser: %+v", v)
		}
		if v := f.check(ForSignIn(ada, 0, "ada", "ada's new phone", at("203.0.113.2"))); !v.Blocked {
			t.Errorf("elsewhere, with the account under attack: %+v", v)
		}
		for range accountRule.Free {
			f.fail(ForSignIn(ada, 0, "ada", "a classmate's", school))
		}
		if v := f.check(ForSignIn(ada, 0, "ada", "a classmate's", school)); !v.Blocked {
			t.Errorf("a classmate who guesses: %+v", v)
		}
	})
}

// Tokens come back one by one, and a burst of parallel failures is not held against a network for
// longer than the bucket takes to fill.
func TestBucketFillsAgain(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		k := Mail(ToReset, "ada@example.com")
		take := func() bool {
			return !f.do(func(tx *db.Tx) (Verdict, error) { return Take(t.Context(), tx, k) }).Blocked
		}
		for i := range mailBucket.Burst {
			if !take() {
				t.Fatalf("mail %d of %d is left out", i+1, mailBucket.Burst)
			}
		}
		if take() {
			t.Error("a mail too many is sent")
		}
		for range 50 {
			f.do(func(tx *db.Tx) (Verdict, error) { return Fail(t.Context(), tx, k) })
		}
		d.Clock.Advance(MailEvery - time.Second)
		if take() {
			t.Error("a token came back too early")
		}
		d.Clock.Advance(time.Second)
		if !take() || take() {
			t.Error("after the time of one token there is not exactly one")
		}
	})
	// A mail is left out only while the last one's link is valid.
	if MailEvery >= credential.ResetLife {
		t.Errorf("a link is valid for %s, but a mail is left out for %s", credential.ResetLife, MailEvery)
	}
}

// A failure that is counted with smaller numbers gives no tokens back.
func TestSmallerNumbersGiveNothingBack(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		a := netip.MustParseAddr("192.0.2.1")
		fail := func(n Numbers) Verdict {
			return f.do(func(tx *db.Tx) (Verdict, error) { return Fail(t.Context(), tx, Address(a, n).Keys()...) })
		}
		for range 30 {
			fail(Numbers{Failures: 30})
		}
		fail(Numbers{Failures: 10})
		if v := f.check(ForSignIn(id.New(), 0, "", "b", Address(a, Numbers{Failures: 30}))); !v.Blocked {
			t.Error("the client got its tries back")
		}
	})
}
