package attempt

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func TestDelayGrowsAndIsCapped(t *testing.T) {
	r := rule{Free: 5, First: time.Minute, Max: 15 * time.Minute}
	for failures, want := range map[int]time.Duration{
		0: 0, 4: 0, 5: time.Minute, 6: 2 * time.Minute, 7: 4 * time.Minute, 8: 8 * time.Minute,
		9: 15 * time.Minute, 10: 15 * time.Minute, 1_000_000: 15 * time.Minute,
	} {
		if got := r.delay(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestSubjects(t *testing.T) {
	same := func(a, b string) bool {
		return Address(netip.MustParseAddr(a), Numbers{}) == Address(netip.MustParseAddr(b), Numbers{})
	}
	if !same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff") {
		t.Error("two addresses of one IPv6 /64 are counted apart")
	}
	if same("2001:db8:1:2::1", "2001:db8:1:3::1") || same("192.0.2.1", "192.0.2.2") {
		t.Error("two networks are counted together")
	}
	if !same("192.0.2.1", "::ffff:192.0.2.1") || !same("fe80::1%eth0", "fe80::1%eth1") {
		t.Error("one address in two forms is counted apart")
	}
	_ = Address(netip.Addr{}, Numbers{}) // must not panic
	if Account(id.ID{}, " Ada@Example.com ") != Account(id.ID{}, "ada@example.com") {
		t.Error("case makes another account of an unknown login")
	}
	u := id.New()
	if Account(u, "ada") != Account(u, "ada@example.com") {
		t.Error("a user's two logins have two counters")
	}
	if Account(id.ID{}, u.String()) == Account(u, "") {
		t.Error("a login that reads like an id is counted as that user")
	}
	of := append(Address(netip.MustParseAddr("192.0.2.1"), Numbers{}).Keys(), Account(id.ID{}, "ada@example.com"),
		Mail(ToReset, "ada@example.com"))
	for _, k := range of {
		if strings.Contains(k.subject, "ada") || strings.Contains(k.subject, "192") {
			t.Errorf("%s tells what it counts", k.subject)
		}
	}
}

var address = Address(netip.MustParseAddr("192.0.2.1"), Numbers{})

type fixture struct {
	*testkit.Database
	t *testing.T
	c caller.Caller
}

func (f *fixture) do(fn func(tx *db.Tx) (Verdict, error)) Verdict {
	var v Verdict
	f.t.Helper()
	if err := f.Update(f.t.Context(), f.c, func(tx *db.Tx) error {
		var err error
		v, err = fn(tx)
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return v
}

func (f *fixture) check(s SignIn) Verdict {
	f.t.Helper()
	return f.do(func(tx *db.Tx) (Verdict, error) { return s.Check(f.t.Context(), tx) })
}

func (f *fixture) fail(s SignIn) Verdict {
	f.t.Helper()
	return f.do(func(tx *db.Tx) (Verdict, error) { return s.Fail(f.t.Context(), tx) })
}

func (f *fixture) succeed(s SignIn) Verdict {
	f.t.Helper()
	return f.do(func(tx *db.Tx) (Verdict, error) { return s.Succeed(f.t.Context(), tx) })
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		ada := id.New()
		stranger := ForSignIn(ada, 0, "ada", "stranger's browser", address)
		home := ForSignIn(ada, 0, "ada", "ada's browser", Address(netip.MustParseAddr("192.0.2.2"), Numbers{}))

		if v := f.succeed(home); v.Blocked || v.Known {
			t.Fatalf("ada's first sign-in: %+v", v)
		}
		for i := range accountRule.Free - 1 {
			if v := f.fail(stranger); v.Blocked {
				t.Fatalf("failure %d: %+v", i+1, v)
			}
		}
		v := f.fail(stranger)
		if !v.Blocked || !v.Started || v.Wait(d.Clock.Now()) < time.Minute {
			t.Fatalf("the last free failure begins the delay: %+v", v)
		}
		if v := f.check(stranger); !v.Blocked || v.Known {
			t.Errorf("during the delay: %+v", v)
		}
		// Correct, but one of many guesses: it must not count.
		if v := f.succeed(stranger); !v.Blocked {
			t.Errorf("a right guess during the delay: %+v", v)
		}
		if v := f.check(stranger); !v.Blocked {
			t.Errorf("the refused guess cleared the account: %+v", v)
		}
		// Failures on purpose block unknown browsers, not the user's own.
		if v := f.check(home); v.Blocked || !v.Known {
			t.Errorf("the person at home during the delay: %+v", v)
		}
		if v := f.succeed(home); v.Blocked {
			t.Errorf("the person at home signs in: %+v", v)
		}
		if v := f.check(stranger); !v.Blocked {
			t.Errorf("the person's sign-in gave the stranger new tries: %+v", v)
		}
		d.Clock.Advance(time.Minute)
		if v := f.check(stranger); v.Blocked {
			t.Errorf("after the delay: %+v", v)
		}
		if v := f.fail(stranger); !v.Blocked || v.Started || v.Wait(d.Clock.Now()) < 2*time.Minute {
			t.Errorf("the next failure doubles it: %+v", v)
		}
		// The counters survive a restart: they are in the database.
		again := testkit.Open(t, d.Config.DSN)
		again.Clock.Advance(d.Clock.Now().Sub(again.Clock.Now()))
		if v := (&fixture{again, t, f.c}).check(stranger); !v.Blocked {
			t.Errorf("after a restart: %+v", v)
		}
		d.Clock.Advance(accountRule.Forget)
		if v := f.fail(stranger); v.Blocked {
			t.Errorf("a day later counting starts again: %+v", v)
		}
		// A known browser is counted too.
		f.succeed(home)
		for range accountRule.Free - 1 {
			f.fail(home)
		}
		if v := f.fail(home); !v.Blocked || !v.Known || !v.Started {
			t.Errorf("a known browser that fails: %+v", v)
		}
		if v := f.check(home); !v.Blocked {
			t.Errorf("a known browser in its delay: %+v", v)
		}
		if v := f.succeed(home); !v.Blocked {
			t.Errorf("a right guess from a known browser in its delay: %+v", v)
		}
		// The mailed link unblocks unknown browsers too.
		for range 2 * accountRule.Free {
			f.fail(stranger)
		}
		fresh := ForSignIn(ada, 0, "ada", "ada's new phone", Address(netip.MustParseAddr("192.0.2.3"), Numbers{}))
		f.do(func(tx *db.Tx) (Verdict, error) { fresh.Forgive(tx); return Verdict{}, nil })
		for range 2 * accountRule.Free {
			f.fail(stranger)
		}
		if v := f.check(fresh); v.Blocked || !v.Known {
			t.Errorf("after a new password by mail: %+v", v)
		}
	})
}

// Browsers without a cookie cannot become known. Their network does.
func TestNoCookieIsNotKnown(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		ada := id.New()
		f.succeed(ForSignIn(ada, 0, "ada", "", Address(netip.MustParseAddr("198.51.100.9"), Numbers{})))
		s := ForSignIn(ada, 0, "ada", "", address)
		if v := f.check(s); v.Known {
			t.Error("a browser without a cookie is known")
		}
		for range accountRule.Free {
			f.fail(s)
		}
		if v := f.check(s); !v.Blocked {
			t.Error("and is not slowed down")
		}
	})
}

// The answers must not reveal that an account does not exist.
func TestUnknownUsersAreCountedAlike(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		known, unknown := ForSignIn(id.New(), 0, "ada@example.com", "b", address),
			ForSignIn(id.ID{}, 0, "nobody@example.com", "b", address)
		for i := range accountRule.Free + 2 {
			if a, b := f.fail(known), f.fail(unknown); a != b {
				t.Errorf("failure %d: %+v for a user, %+v for none", i+1, a, b)
			}
			if a, b := f.check(known), f.check(unknown); a != b {
				t.Errorf("check %d: %+v for a user, %+v for none", i+1, a, b)
			}
		}
	})
}

// Guesses that are all checked before any is counted are worth no more than the rule's tries. One
// of them is correct.
func TestManyGuessesAtOnce(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		ada := id.New()
		for i := range 16 {
			s := ForSignIn(ada, 0, "ada", "b", address)
			if v := f.check(s); i < accountRule.Free && v.Blocked {
				t.Fatal("blocked too early")
			}
			f.fail(s)
		}
		var in atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				s := ForSignIn(ada, 0, "ada", "b", address)
				var v Verdict
				if err := d.Update(t.Context(), f.c,
					func(tx *db.Tx) error {
						var err error
						v, err = s.Succeed(t.Context(), tx)
						return err
					}); err != nil {
					t.Error(err)
				} else if !v.Blocked {
					in.Add(1)
				}
			})
		}
		all.Wait()
		if n := in.Load(); n != 0 {
			t.Errorf("%d right guesses came in after the tries were used up", n)
		}
	})
}

// Sixteen second factors at once get exactly the tries that the rule allows.
func TestHoldIsExact(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		k := Factor(id.New())
		var tried atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				verified := false
				err := d.Update(t.Context(), f.c, func(tx *db.Tx) error {
					verified = false
					v, err := Hold(t.Context(), tx, k)
					if err != nil || v.Blocked {
						return err
					}
					verified = true
					_, err = Fail(t.Context(), tx, k)
					return err
				})
				if err != nil {
					t.Error(err)
				} else if verified {
					tried.Add(1)
				}
			})
		}
		all.Wait()
		if n := int(tried.Load()); n != accountRule.Free {
			t.Errorf("%d codes were tried, want %d", n, accountRule.Free)
		}
	})
}

func TestAddressAndTenant(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		var v Verdict
		for range defaultFailures { // one address tries one password on many accounts
			v = f.fail(ForSignIn(id.New(), 0, "", "b", address))
		}
		if !v.Blocked || !v.Started {
			t.Errorf("after %d accounts from one address: %+v", defaultFailures, v)
		}
		v = f.check(ForSignIn(id.New(), 0, "", "b", address))
		if !v.Blocked || v.Wait(d.Clock.Now()) > time.Minute+time.Second {
			t.Errorf("another account from there: %+v", v)
		}
		if v := f.check(ForSignIn(id.New(), 0, "", "b", at("198.51.100.1"))); v.Blocked {
			t.Errorf("another address: %+v", v)
		}
		globex := &fixture{d, t, d.Tenant(t, "globex")}
		if v := globex.check(ForSignIn(id.New(), 0, "", "b", address)); v.Blocked {
			t.Errorf("another tenant: %+v", v)
		}
	})
}

func TestPurge(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		for range 7 {
			f.fail(ForSignIn(id.New(), 0, "", "b", address)) // an account each, one address, one tenant
		}
		home := ForSignIn(id.New(), 0, "", "home", address)
		f.succeed(home)
		d.Clock.Advance(accountRule.Forget)
		rounds := 0
		for more := true; more; rounds++ {
			f.do(func(tx *db.Tx) (Verdict, error) {
				var v Verdict
				var err error
				more, err = Purge(t.Context(), tx, 4)
				return v, err
			})
		}
		var left []counter
		f.do(func(tx *db.Tx) (Verdict, error) {
			var v Verdict
			var err error
			left, err = db.List(t.Context(), tx, scanCounter,
				`SELECT `+columns+` FROM attempt_counters WHERE tenant_id = $1`)
			return v, err
		})
		if len(left) != 2 || rounds != 3 {
			t.Errorf("%d rows after %d rounds: %v, want only the known browser and network", len(left), rounds, left)
		}
	})
}
