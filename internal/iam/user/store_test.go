package user_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func update(t *testing.T, d *testkit.Database, c caller.Caller, fn func(ctx context.Context, tx *db.Tx) error) error {
	t.Helper()
	return d.Update(t.Context(), c, func(tx *db.Tx) error { return fn(t.Context(), tx) })
}

func create(t *testing.T, d *testkit.Database, c caller.Caller, p user.Profile) user.User {
	t.Helper()
	return add(t, d, c, user.Create, p)
}

func invite(t *testing.T, d *testkit.Database, c caller.Caller, p user.Profile) user.User {
	t.Helper()
	return add(t, d, c, user.Invite, p)
}

func add(t *testing.T, d *testkit.Database, c caller.Caller,
	how func(context.Context, *db.Tx, user.Profile) (user.User, error), p user.Profile) user.User {
	t.Helper()
	u, err := db.Write(t.Context(), d.DB, c, func(tx *db.Tx) (user.User, error) { return how(t.Context(), tx, p) })
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func get(t *testing.T, d *testkit.Database, c caller.Caller, i id.ID) (user.User, error) {
	t.Helper()
	return db.Read(t.Context(), d.DB, c, func(tx *db.Tx) (user.User, error) {
		return user.Get(t.Context(), tx, i)
	})
}

func byLogin(t *testing.T, d *testkit.Database, c caller.Caller, login string) (user.User, error) {
	t.Helper()
	return db.Read(t.Context(), d.DB, c, func(tx *db.Tx) (user.User, error) {
		return user.ByLogin(t.Context(), tx, login)
	})
}

func TestCreateAndFind(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		acme, globex := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		ada := create(t, d, acme, user.Profile{
			Email: " Ada@Example.com ", Username: "Countess", GivenName: "Ada", FamilyName: "Love\u0301lace",
			Locale:     "en-gb",
			Attributes: map[string]any{"floor": 3.0, "tags": []any{"x"}},
		})
		want := user.User{ID: ada.ID, Profile: user.Profile{
			Email: "Ada@Example.com", Username: "Countess", GivenName: "Ada", FamilyName: "Lov\u00e9lace",
			Locale:     "en-GB",
			Attributes: map[string]any{"floor": 3.0, "tags": []any{"x"}},
		}, Status: user.Active, CreatedAt: d.Clock.Now(), UpdatedAt: d.Clock.Now()}
		got, err := get(t, d, acme, ada.ID)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		if diff := cmp.Diff(ada, got); diff != "" {
			t.Errorf("Create answered something else: %s", diff)
		}
		for _, login := range []string{"ada@example.com", "ADA@EXAMPLE.COM", " countess ", "COUNTESS"} {
			if u, err := byLogin(t, d, acme, login); err != nil || u.ID != ada.ID {
				t.Errorf("%q: %v %v", login, u.ID, err)
			}
		}
		for _, login := range []string{"", "ada", "nobody@example.com", "countess@example.com", "\x00",
			strings.Repeat("x", 1<<20), "%", "' OR 1=1 --"} {
			if _, err := byLogin(t, d, acme, login); !errors.Is(err, user.ErrNotFound) {
				t.Errorf("%.40q: %v", login, err)
			}
		}
		// Another tenant sees nothing of it, and may have the same logins.
		if _, err := get(t, d, globex, ada.ID); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("from another tenant: %v", err)
		}
		if _, err := byLogin(t, d, globex, "countess"); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("from another tenant: %v", err)
		}
		create(t, d, globex, user.Profile{Email: "ada@example.com", Username: "countess"})
	})
}

func TestOneAddressHoweverTyped(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada := create(t, d, c, user.Profile{Email: "Ada@bücher.example"})
		if ada.Email != "Ada@xn--bcher-kva.example" {
			t.Errorf("stored as %q", ada.Email)
		}
		// As it had to be typed before other letters were accepted.
		stored := create(t, d, c, user.Profile{Email: "bob@xn--mller-kva.example"})
		for typed, want := range map[string]user.User{
			"ada@bücher.example": ada, "ada@BÜCHER。example": ada, "ADA@xn--bcher-kva.example": ada,
			"ａｄａ＠bücher．example":                   ada,
			"\u200bada@bücher.example\ufeff":       ada,
			"ada@bu\u0308cher.exam\u00adple\u00a0": ada,
			"bob@müller.example":                   stored,
		} {
			if u, err := byLogin(t, d, c, typed); err != nil || u.ID != want.ID {
				t.Errorf("sign-in with %q: %v", typed, err)
			}
			for _, f := range []user.Filter{{Email: typed}, {Search: typed}} {
				if n := len(users(t, d, c, f, page.Request{Limit: 3}).Items); n != 1 {
					t.Errorf("%+v finds %d users", f, n)
				}
			}
			if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
				_, err := user.Create(ctx, tx, user.Profile{Email: typed})
				return err
			}); !errors.Is(err, user.ErrEmailTaken) {
				t.Errorf("a second user with %q: %v", typed, err)
			}
		}
		// The same address in another spelling is not a change of it: it stays verified.
		if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
			if _, err := user.Update(ctx, tx, ada.ID, func(p *user.Profile) { p.EmailVerified = true }); err != nil {
				return err
			}
			u, err := user.Update(ctx, tx, ada.ID, func(p *user.Profile) { p.Email = "ada@bücher.example" })
			if err == nil && !u.EmailVerified {
				t.Error("another spelling of the address is unverified")
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// TestOneUsernameHoweverPasted: invisible characters do not make another username.
func TestOneUsernameHoweverPasted(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada := create(t, d, c, user.Profile{Username: "countess\u200b"})
		if ada.Username != "countess" {
			t.Errorf("stored as %+q", ada.Username)
		}
		for _, typed := range []string{"countess", " Countess\u00a0", "\ufeffcountess", "coun\u00adtess", "ｃｏｕｎｔｅｓｓ",
			"countess\u200d"} {
			if u, err := byLogin(t, d, c, typed); err != nil || u.ID != ada.ID {
				t.Errorf("sign-in with %+q: %v", typed, err)
			}
		}
	})
}

func TestLoginsAreUnique(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		create(t, d, c, user.Profile{Email: "ada@example.com", Username: "ada"})
		bob := create(t, d, c, user.Profile{Email: "bob@example.com"})
		create(t, d, c, user.Profile{Username: "no-mail"})
		create(t, d, c, user.Profile{Username: "no-mail-either"})
		for _, tc := range []struct {
			in   user.Profile
			want error
		}{
			{user.Profile{Email: "ADA@example.COM"}, user.ErrEmailTaken},
			{user.Profile{Username: "ＡＤＡ"}, user.ErrUsernameTaken},
			{user.Profile{Email: "new@example.com", Username: "Ada"}, user.ErrUsernameTaken},
		} {
			err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
				_, err := user.Create(ctx, tx, tc.in)
				return err
			})
			if !errors.Is(err, tc.want) {
				t.Errorf("%+v: %v, want %v", tc.in, err, tc.want)
			}
		}
		err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
			_, err := user.Update(ctx, tx, bob.ID, func(p *user.Profile) { p.Email = "Ada@Example.com" })
			return err
		})
		if !errors.Is(err, user.ErrEmailTaken) {
			t.Errorf("changing to a taken address: %v", err)
		}
		// Sixteen registrations of one address: one account.
		var made atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
					_, err := user.Create(ctx, tx, user.Profile{Email: "race@example.com"})
					return err
				})
				switch {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, user.ErrEmailTaken):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := made.Load(); n != 1 {
			t.Errorf("%d users with one address", n)
		}
	})
}

func TestInvalidUsersSayEverything(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
			_, err := user.Create(ctx, tx, user.Profile{
				Email: "nonsense", Username: "a b", GivenName: "line\nbreak", FamilyName: strings.Repeat("x", 200),
				Locale:     "not a tag",
				Attributes: map[string]any{"big": strings.Repeat("x", 9000)},
			})
			return err
		})
		var names []string
		for _, f := range fault.As(err).Fields {
			names = append(names, f.Name)
		}
		if diff := cmp.Diff([]string{"email", "username", "given_name", "family_name", "locale", "attributes"},
			names); fault.Of(err) != fault.Invalid || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
		for _, in := range []user.Profile{
			{}, {Email: " "},
			{Email: "a@b.c", GivenName: "nul\x00"}, {Email: "a@b.c", GivenName: "\xff\xfe"},
			{Email: "a@b.c", Attributes: map[string]any{"x": "\x00"}},
			{Email: "a@b.c", Attributes: map[string]any{"x": func() {}}},
		} {
			err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
				_, err := user.Create(ctx, tx, in)
				return err
			})
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%+v: %v", in, err)
			}
		}
		list := users(t, d, c, user.Filter{}, page.First())
		if len(list.Items) != 0 {
			t.Errorf("something was written: %v", list.Items)
		}
	})
}

func users(t *testing.T, d *testkit.Database, c caller.Caller, f user.Filter, p page.Request) page.List[user.User] {
	var l page.List[user.User]
	t.Helper()
	if err := d.View(t.Context(), c, func(tx *db.Tx) error {
		var err error
		l, err = user.List(t.Context(), tx, filter.All(), f, p)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

func logins(l page.List[user.User]) []string {
	out := []string{}
	for _, u := range l.Items {
		out = append(out, u.Login())
	}
	return out
}

func TestListAndSearch(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c, other := d.Tenant(t, "acme"), d.Tenant(t, "globex")
		create(t, d, other, user.Profile{Email: "ada@globex.example", GivenName: "Ada"})
		create(t, d, c, user.Profile{Email: "ada@acme.example", GivenName: "Ada", FamilyName: "Müller"})
		invite(t, d, c, user.Profile{Email: "bob@acme.example", GivenName: "Bob", FamilyName: "Adams"})
		create(t, d, c, user.Profile{Username: "Carla_99", GivenName: "Carla", FamilyName: "von Muller"})
		for _, tc := range []struct {
			f    user.Filter
			want []string
		}{
			{user.Filter{}, []string{"ada@acme.example", "bob@acme.example", "Carla_99"}},
			{user.Filter{Search: "ada"}, []string{"ada@acme.example", "bob@acme.example"}},
			{user.Filter{Search: "ADA M"}, []string{"ada@acme.example"}},
			{user.Filter{Search: "mull"}, []string{"ada@acme.example", "Carla_99"}},
			{user.Filter{Search: "MÜLLER"}, []string{"ada@acme.example", "Carla_99"}},
			{user.Filter{Search: "acme.ex"}, []string{"ada@acme.example", "bob@acme.example"}},
			{user.Filter{Search: "carla_"}, []string{"Carla_99"}},
			{user.Filter{Search: "%"}, []string{}},
			{user.Filter{Search: "_"}, []string{}},
			{user.Filter{Search: "\x00"}, []string{"ada@acme.example", "bob@acme.example", "Carla_99"}},
			{user.Filter{Search: strings.Repeat("x", 1<<20)}, []string{}},
			{user.Filter{Search: "ada", Status: user.Invited}, []string{"bob@acme.example"}},
			{user.Filter{Email: "BOB@acme.example"}, []string{"bob@acme.example"}},
			{user.Filter{Email: "bob"}, []string{}},
			{user.Filter{Status: user.Locked}, []string{}},
		} {
			if diff := cmp.Diff(tc.want, logins(users(t, d, c, tc.f, page.First()))); diff != "" {
				t.Errorf("%.60v: %s", tc.f, diff)
			}
		}
		for i := range 7 {
			create(t, d, c, user.Profile{Username: fmt.Sprintf("page-%d", i)})
		}
		var seen []string
		p := page.Request{Limit: 3}
		for {
			l := users(t, d, c, user.Filter{Search: "page-"}, p)
			seen = append(seen, logins(l)...)
			if l.NextCursor == "" {
				break
			}
			after, err := page.ParseCursor(l.NextCursor)
			if err != nil {
				t.Fatal(err)
			}
			p.After = after
		}
		if diff := cmp.Diff([]string{"page-0", "page-1", "page-2", "page-3", "page-4", "page-5", "page-6"},
			seen); diff != "" {
			t.Errorf("page by page: %s", diff)
		}
	})
}

func TestUpdate(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		ada := create(t, d, c, user.Profile{Email: "ada@example.com", EmailVerified: true, GivenName: "Ada"})
		edit := func(change func(*user.Profile)) user.User {
			var u user.User
			t.Helper()
			if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
				var err error
				u, err = user.Update(ctx, tx, ada.ID, change)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if got, err := get(t, d, c, ada.ID); err != nil || cmp.Diff(u, got) != "" {
				t.Errorf("%v: what was answered is not what is stored: %s", err, cmp.Diff(u, got))
			}
			return u
		}
		d.Clock.Advance(time.Minute)
		if u := edit(func(p *user.Profile) { p.FamilyName = "Lovelace" }); u.FamilyName != "Lovelace" ||
			u.GivenName != "Ada" || !u.EmailVerified || !u.UpdatedAt.Equal(d.Clock.Now()) {
			t.Errorf("%+v", u)
		}
		if u := edit(func(p *user.Profile) { p.Email = "ADA@example.com" }); !u.EmailVerified {
			t.Error("the same address in capitals is unverified")
		}
		if u := edit(func(p *user.Profile) { p.Email = "new@example.com" }); u.EmailVerified {
			t.Error("a changed address stays verified")
		}
		if _, err := byLogin(t, d, c, "ada@example.com"); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("the address before still finds the user: %v", err)
		}
		if got := logins(users(t, d, c, user.Filter{Search: "new@"}, page.First())); len(got) != 1 {
			t.Errorf("search by the new address: %v", got)
		}
		if got := logins(users(t, d, c, user.Filter{Search: "ada@"}, page.First())); len(got) != 0 {
			t.Errorf("search by the address before: %v", got)
		}
		// The proof of an address counts for that address only.
		verify := func(key string) user.User {
			if err := update(t, d, c,
				func(ctx context.Context, tx *db.Tx) error {
					return user.VerifyEmail(ctx, tx, ada.ID, key)
				}); err != nil {
				t.Fatal(err)
			}
			u, _ := get(t, d, c, ada.ID)
			return u
		}
		if verify("ada@example.com").EmailVerified {
			t.Error("the proof of the address before verified the new one")
		}
		if !verify("new@example.com").EmailVerified {
			t.Error("not verified")
		}
		err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
			_, err := user.Update(ctx, tx, ada.ID, func(p *user.Profile) { p.Email = "" })
			return err
		})
		if fault.Of(err) != fault.Invalid {
			t.Errorf("taking the only login away: %v", err)
		}
		// Changes of different fields at once: none is lost.
		var all sync.WaitGroup
		for _, change := range []func(*user.Profile){
			func(p *user.Profile) { p.GivenName = "A" }, func(p *user.Profile) { p.FamilyName = "B" },
			func(p *user.Profile) { p.Username = "c" }, func(p *user.Profile) { p.Locale = "de" },
		} {
			all.Go(func() {
				if err := update(t, d, c,
					func(ctx context.Context, tx *db.Tx) error {
						_, err := user.Update(ctx, tx, ada.ID, change)
						return err
					}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if u, _ := get(t, d, c, ada.ID); u.GivenName != "A" || u.FamilyName != "B" || u.Username != "c" ||
			u.Locale != "de" {
			t.Errorf("a change was lost: %+v", u)
		}
	})
}

func TestStatus(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		u := invite(t, d, c, user.Profile{Email: "ada@example.com"})
		move := func(to user.Status) error {
			d.Clock.Advance(time.Second)
			return update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
				_, err := user.SetStatus(ctx, tx, role.KeepOwner, u.ID, to)
				return err
			})
		}
		for _, step := range []struct {
			to user.Status
			ok bool
		}{
			{user.Locked, false}, {user.Active, true}, {user.Active, true}, {user.Invited, false}, {user.Locked, true},
			{user.Active, true},
			{user.Deactivated, true}, {user.Locked, false}, {"root", false}, {user.Active, true},
		} {
			if err := move(step.to); (err == nil) != step.ok || err != nil && !errors.Is(err, user.ErrStatus) {
				t.Errorf("to %s: %v", step.to, err)
			}
		}
		if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, id.New(), user.Active)
			return err
		}); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
		var actions []string
		_ = d.View(t.Context(), c, func(tx *db.Tx) error {
			l, err := audit.List(t.Context(), tx, audit.Filter{TargetID: u.ID.String()}, page.First())
			for _, r := range l.Items {
				actions = append([]string{r.Action}, actions...)
			}
			return err
		})
		if diff := cmp.Diff([]string{"user.create", "user.activate", "user.lock", "user.unlock", "user.deactivate",
			"user.activate"}, actions); diff != "" {
			t.Errorf("audit: %s", diff)
		}
	})
}

func TestDelete(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		u := create(t, d, c, user.Profile{Email: "ada@example.com", GivenName: "Ada"})
		del := func(c caller.Caller, i id.ID) error {
			return update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
				return user.Delete(ctx, tx, role.ForUsers(), i)
			})
		}
		if err := del(d.Tenant(t, "globex"), u.ID); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("from another tenant: %v", err)
		}
		if err := del(c, u.ID); err != nil {
			t.Error(err)
		}
		if err := del(c, u.ID); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if got := users(t, d, c, user.Filter{Search: "ada"}, page.First()); len(got.Items) != 0 {
			t.Errorf("left: %v", got.Items)
		}
		create(t, d, c, user.Profile{Email: "ada@example.com"}) // the address is free again
	})
}
