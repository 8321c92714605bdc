package credential

import (
	"context"
	"encoding/base32"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// fixture is a tenant with one user.
type fixture struct {
	*testkit.Database
	c    caller.Caller
	ada  user.User
	totp TOTP
}

func newFixture(t *testing.T, d *testkit.Database) *fixture {
	t.Helper()
	keys, err := secret.ParseKeyRing(secret.NewKey("test"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Database: d, c: d.Tenant(t, "acme"), totp: TOTP{Keys: keys}}
	f.update(t, func(tx *db.Tx) error {
		var err error
		f.ada, err = user.Create(t.Context(), tx, user.Profile{Email: "Ada@example.com"})
		return err
	})
	return f
}

func (f *fixture) update(t *testing.T, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := f.Update(t.Context(), f.c, fn); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) actions(t *testing.T) []string {
	t.Helper()
	var out []string
	err := f.View(t.Context(), f.c, func(tx *db.Tx) error {
		l, err := audit.List(t.Context(), tx, audit.Filter{}, page.Request{Limit: page.MaxLimit})
		for _, r := range l.Items {
			out = append(out, r.Action)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (f *fixture) wantAction(t *testing.T, action string, n int) {
	t.Helper()
	got := 0
	for _, a := range f.actions(t) {
		if a == action {
			got++
		}
	}
	if got != n {
		t.Errorf("%d audit events %s, want %d", got, action, n)
	}
}

// oneWinner runs use sixteen times at once, each in its own transaction. It requires exactly one of
// them to win.
func (f *fixture) oneWinner(t *testing.T, use func(ctx context.Context, tx *db.Tx) (won bool, err error)) {
	t.Helper()
	var winners atomic.Int32
	f.Race(t, 16, func(int) {
		var won bool
		err := f.Update(t.Context(), f.c, func(tx *db.Tx) error {
			var err error
			won, err = use(t.Context(), tx)
			return err
		})
		if err != nil {
			t.Error(err)
		} else if won {
			winners.Add(1)
		}
	})
	if n := winners.Load(); n != 1 {
		t.Errorf("%d of 16 won, want exactly one", n)
	}
}

func TestPassword(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		var hash string
		read := func() {
			f.update(t, func(tx *db.Tx) error {
				var err error
				hash, err = PasswordOf(ctx, tx, f.ada.ID)
				return err
			})
		}
		if read(); hash != "" {
			t.Errorf("before one was set: %q", hash)
		}
		var reset secret.String
		f.update(t, func(tx *db.Tx) error {
			var err error
			reset, err = NewLink(ctx, tx, Reset, f.ada)
			return err
		})
		f.update(t, func(tx *db.Tx) error { return SetPassword(ctx, tx, f.ada.ID, "$one") })
		f.update(t, func(tx *db.Tx) error { return SetPassword(ctx, tx, f.ada.ID, "$two") })
		if read(); hash != "$two" {
			t.Errorf("after two changes: %q", hash)
		}
		f.update(t, func(tx *db.Tx) error {
			if _, err := FindLink(ctx, tx, reset.Reveal()); !errors.Is(err, ErrNoLink) {
				t.Errorf("a reset link after the password was changed: %v", err)
			}
			return nil
		})
		// A sign-in that verified $one must not overwrite $two with its rehash.
		f.update(t, func(tx *db.Tx) error { Rehash(tx, f.ada.ID, "$one", "$one again"); return nil })
		if read(); hash != "$two" {
			t.Errorf("a late rehash won over a change: %q", hash)
		}
		f.update(t, func(tx *db.Tx) error { Rehash(tx, f.ada.ID, "$two", "$three"); return nil })
		if read(); hash != "$three" {
			t.Errorf("after the rehash: %q", hash)
		}
		f.wantAction(t, "password.change", 2)
		err := f.Update(ctx, f.c, func(tx *db.Tx) error { return SetPassword(ctx, tx, id.New(), "$x") })
		if !errors.Is(err, errUserNotFound) {
			t.Errorf("a password of nobody: %v", err)
		}
	})
}

// here is the flow or session that sets up an app.
var here = id.New()

// An attacker who saw a key in another browser, with a stolen password, must not share it with the
// user who confirms.
func TestEnrolmentBelongsToItsPlace(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		enrol := func(at id.ID) string {
			var key string
			f.update(t, func(tx *db.Tx) error {
				e, err := f.totp.Enrol(ctx, tx, f.ada.ID, at, "Acme", "ada")
				key = strings.ReplaceAll(e.Secret.Reveal(), " ", "")
				return err
			})
			return key
		}
		confirm := func(at id.ID, key string) Outcome {
			var out Outcome
			code, err := totp.GenerateCode(key, f.Clock.Now())
			if err != nil {
				t.Fatal(err)
			}
			f.update(t, func(tx *db.Tx) error {
				var err error
				out, err = f.totp.Confirm(ctx, tx, f.ada.ID, at, code)
				return err
			})
			return out
		}
		thief := id.New()
		seen := enrol(thief)
		shown := enrol(here)
		if seen == shown {
			t.Fatal("the same key was shown in two places")
		}
		if out := confirm(thief, seen); out != Replaced {
			t.Errorf("the key that was replaced: %v", out)
		}
		if out := confirm(thief, shown); out != Replaced {
			t.Errorf("the key from elsewhere: %v", out)
		}
		if out := confirm(here, shown); out != Accepted {
			t.Errorf("the key of this place: %v", out)
		}
		if out := confirm(here, shown); out != Missing {
			t.Errorf("confirming what is confirmed: %v", out)
		}
	})
}

func TestTOTP(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		var e, again Enrolment
		f.update(t, func(tx *db.Tx) error {
			var err error
			e, err = f.totp.Enrol(ctx, tx, f.ada.ID, here, "Acme: Corp", "ada@example.com")
			return err
		})
		f.update(t, func(tx *db.Tx) error {
			var err error
			again, err = f.totp.Enrol(ctx, tx, f.ada.ID, here, "Acme: Corp", "ada@example.com")
			return err
		})
		if e != again {
			t.Error("reloading the page gave another secret")
		}
		key := strings.ReplaceAll(e.Secret.Reveal(), " ", "")
		if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key); err != nil ||
			len(raw) != 20 {
			t.Fatalf("secret %q: %v", key, err)
		}
		u, err := url.Parse(e.URI.Reveal())
		if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Acme  Corp:ada@example.com" ||
			u.Query().Get("secret") != key || u.Query().Get("issuer") != "Acme  Corp" ||
			strings.Contains(e.URI.Reveal(), "+") {
			t.Errorf("URI %s: %v", e.URI.Reveal(), err)
		}
		code := func(at time.Time) string {
			c, err := totp.GenerateCode(key, at)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		use := func(fn func(context.Context, *db.Tx, id.ID, string) (Outcome, error), code string) Outcome {
			var out Outcome
			f.update(t, func(tx *db.Tx) error {
				var err error
				out, err = fn(ctx, tx, f.ada.ID, code)
				return err
			})
			return out
		}
		want := func(what string, got, want Outcome) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		confirm := func(ctx context.Context, tx *db.Tx, user id.ID, code string) (Outcome, error) {
			return f.totp.Confirm(ctx, tx, user, here, code)
		}
		now := f.Clock.Now()
		want("an app that was not confirmed", use(f.totp.Use, code(now)), Missing)
		want("confirming with a wrong code", use(confirm, "000000"), Wrong)
		want("confirming", use(confirm, code(now)), Accepted)
		want("confirming twice", use(confirm, code(now.Add(30*time.Second))), Missing)
		want("the code it was confirmed with", use(f.totp.Use, code(now)), Replayed)
		want("the step before that", use(f.totp.Use, code(now.Add(-30*time.Second))), Replayed)
		want("the next step", use(f.totp.Use,
			" "+code(now.Add(30 * time.Second))[:3]+" "+code(now.Add(30 * time.Second))[3:]), Accepted)
		want("two steps ahead", use(f.totp.Use, code(now.Add(60*time.Second))), Wrong)
		f.Clock.Advance(5 * time.Minute)
		now = f.Clock.Now()
		want("two steps behind", use(f.totp.Use, code(now.Add(-60*time.Second))), Wrong)
		for _, c := range []string{"", "12345", "1234567", "abcdef", "١٢٣٤٥٦", strings.Repeat("1", 1<<16)} {
			want("a code that is none", use(f.totp.Use, c), Wrong)
		}
		want("one step behind", use(f.totp.Use, code(now.Add(-30*time.Second))), Accepted)
		want("the current step after it", use(f.totp.Use, code(now)), Accepted)
		if err := f.Update(ctx, f.c, func(tx *db.Tx) error {
			_, err := f.totp.Enrol(ctx, tx, f.ada.ID, here, "Acme", "ada")
			return err
		}); !errors.Is(err, ErrTOTPEnrolled) {
			t.Errorf("enrolling over a confirmed app: %v", err)
		}
		f.wantAction(t, "totp.enrol", 1)

		// The secret is sealed for its user: it does not open in another row.
		var bob user.User
		f.update(t, func(tx *db.Tx) error {
			var err error
			bob, err = user.Create(ctx, tx, user.Profile{Username: "bob"})
			return err
		})
		f.update(t, func(tx *db.Tx) error {
			_, err := tx.Exec(ctx,
				`INSERT INTO totp_factors (tenant_id, user_id, secret, last_step, created_at, confirmed_at)
				SELECT $1, $2, secret, 0, created_at, confirmed_at FROM totp_factors WHERE tenant_id = $1 AND user_id = $3`, bob.ID, f.ada.ID)
			return err
		})
		err = f.Update(ctx, f.c,
			func(tx *db.Tx) error { _, err := f.totp.Use(ctx, tx, bob.ID, code(f.Clock.Now())); return err })
		if !errors.Is(err, secret.ErrOpen) {
			t.Errorf("a secret copied to another user: %v", err)
		}

		f.update(t, func(tx *db.Tx) error {
			if removed, err := f.totp.Remove(ctx, tx, f.ada.ID); !removed || err != nil {
				t.Errorf("removing: %v %v", removed, err)
			}
			return nil
		})
		want("a removed app", use(f.totp.Use, code(f.Clock.Now())), Missing)
	})
}

func TestTOTPOneWinner(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		var e Enrolment
		f.update(t, func(tx *db.Tx) error {
			var err error
			e, err = f.totp.Enrol(ctx, tx, f.ada.ID, here, "Acme", "ada")
			return err
		})
		key := strings.ReplaceAll(e.Secret.Reveal(), " ", "")
		first, _ := totp.GenerateCode(key, f.Clock.Now())
		f.oneWinner(t, func(ctx context.Context, tx *db.Tx) (bool, error) {
			out, err := f.totp.Confirm(ctx, tx, f.ada.ID, here, first)
			return out == Accepted, err
		})
		f.Clock.Advance(time.Minute)
		next, _ := totp.GenerateCode(key, f.Clock.Now())
		f.oneWinner(t, func(ctx context.Context, tx *db.Tx) (bool, error) {
			out, err := f.totp.Use(ctx, tx, f.ada.ID, next)
			return out == Accepted, err
		})
	})
}

func TestRecoveryCodes(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		var codes, old []secret.String
		f.update(t, func(tx *db.Tx) error {
			var err error
			old, err = NewRecoveryCodes(ctx, tx, f.ada.ID)
			return err
		})
		f.update(t, func(tx *db.Tx) error {
			var err error
			codes, err = NewRecoveryCodes(ctx, tx, f.ada.ID)
			return err
		})
		if len(codes) != 10 {
			t.Fatalf("%d codes", len(codes))
		}
		use := func(code string) (Outcome, int) {
			var out Outcome
			var left int
			f.update(t, func(tx *db.Tx) error {
				var err error
				out, left,
					err = UseRecovery(ctx, tx, f.ada.ID, code)
				return err
			})
			return out, left
		}
		want := func(code string, wantOut Outcome, wantLeft int) {
			t.Helper()
			if out, left := use(code); out != wantOut || left != wantLeft {
				t.Errorf("%.30q: %v, %d left; want %v, %d", code, out, left, wantOut, wantLeft)
			}
		}
		want(old[0].Reveal(), Wrong, 10) // of the set that was replaced
		want(codes[0].Reveal(), Accepted, 9)
		want(codes[0].Reveal(), Replayed, 9)
		typed := strings.ToUpper(strings.ReplaceAll(codes[1].Reveal(), "-", " "))
		typed = strings.NewReplacer("0", "O", "1", "l").Replace(typed)
		want(typed, Accepted, 8)
		want("", Wrong, 0)
		want("123456", Wrong, 0)
		want(strings.Repeat("a", 1<<16), Wrong, 0)
		want("aaaaa-bbbbb-ccccc", Wrong, 8)
		if _, ok := cleanRecovery("123456"); ok {
			t.Error("the two kinds of code are confused")
		}
		var s Summary
		f.update(t, func(tx *db.Tx) error {
			var err error
			s, err = Of(ctx, tx, f.ada.ID)
			return err
		})
		if s.RecoveryCodes != 8 || s.Password || s.TOTP {
			t.Errorf("%+v", s)
		}
		f.oneWinner(t, func(ctx context.Context, tx *db.Tx) (bool, error) {
			out, _, err := UseRecovery(ctx, tx, f.ada.ID, codes[5].Reveal())
			return out == Accepted, err
		})
		f.wantAction(t, "recovery.use", 3)
		f.wantAction(t, "recovery.renew", 2)
	})
}

func TestLinks(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		link := func(kind LinkKind, u user.User) secret.String {
			var s secret.String
			f.update(t, func(tx *db.Tx) error {
				var err error
				s, err = NewLink(ctx, tx, kind, u)
				return err
			})
			return s
		}
		use := func(kind LinkKind, token string) (Link, error) {
			var l Link
			err := f.Update(ctx, f.c,
				func(tx *db.Tx) error {
					var err error
					l, err = UseLink(ctx, tx, kind, token)
					return err
				})
			return l, err
		}
		refused := func(what string, kind LinkKind, token string) {
			t.Helper()
			if l, err := use(kind, token); !errors.Is(err, ErrNoLink) {
				t.Errorf("%s: %+v, %v; want ErrNoLink", what, l, err)
			}
			f.update(t, func(tx *db.Tx) error {
				if l, err := FindLink(ctx, tx, token); !errors.Is(err, ErrNoLink) && l.Kind == kind {
					t.Errorf("%s is found: %v", what, err)
				}
				return nil
			})
		}
		token := link(Reset, f.ada)
		refused("a reset link as a verification", Verify, token.Reveal())
		f.update(t, func(tx *db.Tx) error {
			l, err := FindLink(ctx, tx, token.Reveal())
			if err != nil || l.User != f.ada.ID || l.EmailKey != "ada@example.com" || l.Kind != Reset {
				t.Errorf("%+v, %v", l, err)
			}
			return nil
		})
		if l, err := use(Reset, token.Reveal()); err != nil || l.User != f.ada.ID {
			t.Errorf("%+v, %v", l, err)
		}
		refused("a used link", Reset, token.Reveal())
		refused("nonsense", Reset, "gh_ml_x")
		other, _ := secret.NewToken(secret.MailedLink, f.c.Tenant)
		refused("a token nobody gave", Reset, other.Reveal())

		late := link(Reset, f.ada)
		f.Clock.Advance(linkLife[Reset])
		refused("an expired link", Reset, late.Reveal())

		// A link belongs to the address that it was mailed to.
		moved := link(Verify, f.ada)
		email := "ada@elsewhere.example"
		f.update(t, func(tx *db.Tx) error {
			_, err := user.Update(ctx, tx, f.ada.ID, func(p *user.Profile) { p.Email = email })
			return err
		})
		refused("a link to the address before", Verify, moved.Reveal())

		f.ada.Email = email
		held := link(Reset, f.ada)
		f.update(t, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, f.ada.ID, user.Locked)
			return err
		})
		refused("a link of a locked user", Reset, held.Reveal())
		f.update(t, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, f.ada.ID, user.Active)
			return err
		})

		globex := d.Tenant(t, "globex")
		foreign := link(Reset, f.ada)
		err := d.Update(ctx, globex,
			func(tx *db.Tx) error { _, err := UseLink(ctx, tx, Reset, foreign.Reveal()); return err })
		if !errors.Is(err, ErrNoLink) {
			t.Errorf("in another tenant: %v", err)
		}

		first := link(Setup, user.User{})
		second := link(Setup, user.User{})
		refused("a set-up link after the next one", Setup, first.Reveal())
		if l, err := use(Setup, second.Reveal()); err != nil || !l.User.IsZero() {
			t.Errorf("set-up: %+v, %v", l, err)
		}
		race := link(Reset, f.ada)
		f.oneWinner(t, func(ctx context.Context, tx *db.Tx) (bool, error) {
			_, err := UseLink(ctx, tx, Reset, race.Reveal())
			if errors.Is(err, ErrNoLink) {
				return false, nil
			}
			return err == nil, err
		})
	})
}

func TestPurge(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := newFixture(t, d)
		ctx := t.Context()
		var kept secret.String
		f.update(t, func(tx *db.Tx) error {
			var err error
			if _, err = NewLink(ctx, tx, Reset, f.ada); err == nil {
				kept, err = NewLink(ctx, tx, Verify, f.ada)
			}
			return err
		})
		f.Clock.Advance(linkLife[Reset])
		f.update(t, func(tx *db.Tx) error {
			if more, err := Purge(ctx, tx); more || err != nil {
				t.Errorf("%v %v", more, err)
			}
			if _, err := FindLink(ctx, tx, kept.Reveal()); err != nil {
				t.Errorf("a good link was purged: %v", err)
			}
			n, err := tx.Exec(ctx, `UPDATE mailed_links SET used_at = used_at WHERE tenant_id = $1`)
			if n != 1 {
				t.Errorf("%d links left, want one", n)
			}
			return err
		})
	})
}
