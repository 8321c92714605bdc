package role_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

var all = role.Everything()

type fixture struct {
	*testkit.Database
	t *testing.T
	c caller.Caller
}

func (f *fixture) try(fn func(ctx context.Context, tx *db.Tx) error) error {
	return f.Update(f.t.Context(), f.c, func(tx *db.Tx) error { return fn(f.t.Context(), tx) })
}

func (f *fixture) must(fn func(ctx context.Context, tx *db.Tx) error) {
	f.t.Helper()
	if err := f.try(fn); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) user(login string) id.ID {
	var u id.ID
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		made, err := user.Create(ctx, tx, user.Profile{Username: login})
		u = made.ID
		return err
	})
	return u
}

func (f *fixture) give(by role.Set, u id.ID, name string, until time.Time) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error {
		return role.Assign(ctx, tx, by, role.OfUser(u), name, until)
	})
}

func (f *fixture) take(by role.Set, u id.ID, name string) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error { return role.Revoke(ctx, tx, by, role.OfUser(u), name) })
}

func (f *fixture) status(u id.ID, to user.Status) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error {
		_, err := user.SetStatus(ctx, tx, role.KeepOwner, u, to)
		return err
	})
}

func (f *fixture) actionsOf(u id.ID) role.Set {
	var s role.Set
	f.t.Helper()
	if err := f.View(f.t.Context(), f.c, func(tx *db.Tx) error {
		var err error
		s, err = role.ActionsOf(f.t.Context(), tx, role.OfUser(u))
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func both(t *testing.T, fn func(t *testing.T, f *fixture)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) { fn(t, &fixture{d, t, d.Tenant(t, "acme")}) })
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestActionsOf(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ada := f.user("ada")
		if s := f.actionsOf(ada); len(s.Actions()) != 0 {
			t.Errorf("without a role: %v", s.Actions())
		}
		f.must(func(ctx context.Context, tx *db.Tx) error {
			_, err := role.Create(ctx, tx, all,
				role.Definition{Name: "support", Description: " First line ",
					Actions: []string{"user.read", "credential.reset", "user.read"}})
			return err
		})
		wantErr(t, "own role", f.give(all, ada, "support", time.Time{}), nil)
		wantErr(t, "built-in", f.give(all, ada, role.Developer, f.Clock.Now().Add(time.Hour)), nil)
		s := f.actionsOf(ada)
		if !s.Allows("credential.reset") || !s.Allows("application.create") || s.Allows("user.delete") {
			t.Errorf("support and developer: %v", s.Actions())
		}
		if diff := cmp.Diff([]string{"developer", "support"}, s.Roles()); diff != "" {
			t.Error(diff)
		}
		f.Clock.Advance(time.Hour)
		if s := f.actionsOf(ada); s.Allows("application.create") || !s.Allows("user.read") {
			t.Errorf("after developer's end: %v", s.Actions())
		}
		f.must(func(ctx context.Context, tx *db.Tx) error {
			_, err := role.Update(ctx, tx, all, "support", role.Patch{Actions: []string{"session.read"}})
			return err
		})
		if diff := cmp.Diff([]string{"session.read"}, f.actionsOf(ada).Actions()); diff != "" {
			t.Errorf("after the role was changed: %s", diff)
		}
		for _, st := range []user.Status{user.Locked, user.Active, user.Deactivated} {
			wantErr(t, "status", f.status(ada, st), nil)
			if got := len(f.actionsOf(ada).Actions()); (got > 0) != (st == user.Active) {
				t.Errorf("a user who is %s may do %d things", st, got)
			}
		}
		wantErr(t, "active", f.status(ada, user.Active), nil)
		globex := &fixture{f.Database, t, f.Tenant(t, "globex")}
		if s := globex.actionsOf(ada); len(s.Actions()) != 0 {
			t.Errorf("in another tenant: %v", s.Actions())
		}
		wantErr(t, "a grant to another tenant's user", fault.As(globex.give(all, ada, role.Admin, time.Time{})),
			fault.New(fault.NotFound, "role.subject_not_found", ""))
		wantErr(t, "deleting the role",
			f.try(func(ctx context.Context, tx *db.Tx) error {
				return role.Delete(ctx, tx, all, "support", application.TargetOf)
			}), nil)
		if s := f.actionsOf(ada); len(s.Actions()) != 0 {
			t.Errorf("after the role was deleted: %v", s.Actions())
		}
	})
}

// TestNobodyGivesWhatTheyLack: by every way there is.
func TestNobodyGivesWhatTheyLack(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ada, bob := f.user("ada"), f.user("bob")
		wantErr(t, "set-up", f.give(all, bob, role.Owner, time.Time{}), nil)
		wantErr(t, "set-up", f.give(all, f.user("carl"), role.Owner, time.Time{}), nil)
		manager := f.holder(role.UserManager)
		wantErr(t, "giving more", f.give(manager, ada, role.Owner, time.Time{}), role.ErrBeyond)
		wantErr(t, "giving another", f.give(manager, ada, role.Developer, time.Time{}), role.ErrBeyond)
		wantErr(t, "giving one's own", f.give(manager, ada, role.UserManager, time.Time{}), nil)
		wantErr(t, "giving with nothing", f.give(role.Set{}, ada, role.Auditor, time.Time{}), role.ErrBeyond)
		wantErr(t, "taking more", f.take(manager, bob, role.Owner), role.ErrBeyond)
		define := func(by role.Set, name string, actions ...string) error {
			return f.try(func(ctx context.Context, tx *db.Tx) error {
				_, err := role.Create(ctx, tx, by, role.Definition{Name: name, Actions: actions})
				return err
			})
		}
		change := func(by role.Set, name string, actions ...string) error {
			return f.try(func(ctx context.Context, tx *db.Tx) error {
				_, err := role.Update(ctx, tx, by, name, role.Patch{Actions: actions})
				return err
			})
		}
		wantErr(t, "defining more", define(manager, "sly", "key.rotate"), role.ErrBeyond)
		wantErr(t, "defining less", define(manager, "modest", "user.read"), nil)
		wantErr(t, "widening", change(manager, "modest", "user.read", "key.rotate"), role.ErrBeyond)
		wantErr(t, "defining by an owner", define(all, "keys", "key.rotate"), nil)
		wantErr(t, "narrowing what one lacks", change(manager, "keys", "user.read"), role.ErrBeyond)
		wantErr(t, "deleting what one lacks",
			f.try(func(ctx context.Context, tx *db.Tx) error {
				return role.Delete(ctx, tx, manager, "keys", application.TargetOf)
			}),
			role.ErrBeyond)
		manage := func(u id.ID) error {
			return f.try(func(ctx context.Context, tx *db.Tx) error {
				return role.MayManage(ctx, tx, manager, role.OfUser(u))
			})
		}
		wantErr(t, "managing an equal", manage(ada), nil)
		wantErr(t, "managing an owner", manage(bob), role.ErrOutranked)
		wantErr(t, "locking", f.status(bob, user.Locked), nil)
		wantErr(t, "managing a locked owner", manage(bob), role.ErrOutranked)
		end := func(actor, u id.ID) error {
			return f.try(func(ctx context.Context, tx *db.Tx) error {
				by := api.Request{Caller: f.c.As(caller.Actor{Kind: caller.User, ID: actor}), Rights: manager}
				return role.MayEnd(ctx, tx, by, role.OfUser(u))
			})
		}
		wantErr(t, "ending what an equal has", end(id.New(), ada), nil)
		wantErr(t, "ending what an owner has", end(id.New(), bob), role.ErrOutranked)
		wantErr(t, "ending one's own by a token with fewer rights", end(bob, bob), nil)
		wantErr(t, "ending without an actor", end(id.ID{}, bob), role.ErrOutranked)
	})
}

// holder returns the rights of a new user with these roles.
func (f *fixture) holder(roles ...string) role.Set {
	f.t.Helper()
	u := f.user(strings.Join(roles, "-") + "-holder")
	for _, name := range roles {
		wantErr(f.t, "set-up", f.give(all, u, name, time.Time{}), nil)
	}
	return f.actionsOf(u)
}

func (f *fixture) define(name string, actions ...string) {
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		_, err := role.Create(ctx, tx, all, role.Definition{Name: name, Actions: actions})
		return err
	})
}

// Policies read the names of roles, so a role is worth more than its actions.
func TestPassingOnARoleNeedsTheRoleItself(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		ada := f.user("ada")
		f.define("approver", "user.read")
		f.define("approver0")
		f.define("role-admin", "role.grant", "role.revoke", "role.update", "user.read")
		for name, tt := range map[string]struct {
			by   role.Set
			want error
		}{
			"a user-manager": {f.holder(role.UserManager), role.ErrBeyond},
			"one who has the actions": {role.SetOf("role.grant", "role.revoke", "user.read"),
				role.ErrBeyond},
			"a user-manager who has both roles":  {f.holder(role.UserManager, "approver", "approver0"), nil},
			"one who may update every such role": {f.holder("role-admin"), nil},
		} {
			for _, r := range []string{"approver", "approver0"} {
				wantErr(t, name+" gives "+r, f.give(tt.by, ada, r, time.Time{}), tt.want)
				wantErr(t, "set-up", f.give(all, ada, r, time.Time{}), nil)
				wantErr(t, name+" takes "+r, f.take(tt.by, ada, r), tt.want)
			}
		}
	})
}

func TestAnEarlierEndIsARevocation(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		f.define("reader", "user.read")
		f.define("granter", "role.grant", "role.update", "user.read")
		f.define("revoker", "role.revoke")
		granter, both := f.holder("granter"), f.holder("granter", "revoker")
		now := f.Clock.Now()
		for name, tt := range map[string]struct {
			before, after time.Time
			by            role.Set
			want          error
		}{
			"an end for what had none":        {time.Time{}, now.Add(2 * time.Second), granter, role.ErrBeyond},
			"an earlier end":                  {now.Add(2 * time.Hour), now.Add(time.Hour), granter, role.ErrBeyond},
			"the same end":                    {now.Add(time.Hour), now.Add(time.Hour), granter, nil},
			"a later end":                     {now.Add(time.Hour), now.Add(2 * time.Hour), granter, nil},
			"no end any longer":               {now.Add(time.Hour), time.Time{}, granter, nil},
			"an earlier end by who may do it": {time.Time{}, now.Add(time.Hour), both, nil},
		} {
			u := f.user(strings.ReplaceAll(name, " ", "-"))
			wantErr(t, "set-up", f.give(all, u, "reader", tt.before), nil)
			wantErr(t, name, f.give(tt.by, u, "reader", tt.after), tt.want)
		}
		wantErr(t, "a first grant with a near end", f.give(granter, f.user("new"), "reader", now.Add(time.Second)),
			nil)
	})
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		create := func(d role.Definition) error {
			return f.try(func(ctx context.Context, tx *db.Tx) error {
				_,
					err := role.Create(ctx, tx, all, d)
				return err
			})
		}
		for _, d := range []role.Definition{
			{}, {Name: "Upper", Actions: []string{"user.read"}}, {Name: "owner", Actions: []string{"user.read"}},
			{Name: "x", Actions: []string{"user.read", "no.such"}},
			{Name: "x", Actions: []string{"user.read"}, Description: "a\nb"},
			{Name: "x y", Actions: []string{"user.read"}}, {Name: "../x", Actions: []string{"user.read"}},
		} {
			if err := create(d); fault.Of(err) != fault.Invalid {
				t.Errorf("%+v: %v", d, err)
			}
		}
		wantErr(t, "a good one", create(role.Definition{Name: "x", Actions: []string{"user.read"}}), nil)
		wantErr(t, "again", create(role.Definition{Name: "x", Actions: []string{"user.read"}}), role.ErrNameTaken)
		for i := range 99 {
			wantErr(t, "more", create(role.Definition{Name: fmt.Sprintf("r%d", i), Actions: []string{"user.read"}}),
				nil)
		}
		wantErr(t, "too many", create(role.Definition{Name: "y", Actions: []string{"user.read"}}), role.ErrTooMany)
		wantErr(t, "changing a built-in", f.try(func(ctx context.Context, tx *db.Tx) error {
			_, err := role.Update(ctx, tx, all, role.Admin, role.Patch{Actions: []string{"user.read"}})
			return err
		}), role.ErrBuiltin)
		wantErr(t, "deleting a built-in",
			f.try(func(ctx context.Context, tx *db.Tx) error {
				return role.Delete(ctx, tx, all, role.Owner, application.TargetOf)
			}),
			role.ErrBuiltin)
		for _, name := range []string{"", "nope", "\x00", "' OR 1=1 --"} {
			wantErr(t, "getting "+name,
				f.try(func(ctx context.Context, tx *db.Tx) error { _, err := role.Get(ctx, tx, name); return err }),
				role.ErrNotFound)
		}
		var list []role.Role
		f.must(func(ctx context.Context, tx *db.Tx) error {
			var err error
			list, err = role.List(ctx, tx)
			return err
		})
		if len(list) != 105 || list[0].Name != role.Owner || !list[0].Builtin || list[5].Name != "x" {
			t.Errorf("%d roles, from %s", len(list), list[0].Name)
		}
		ada := f.user("ada")
		wantErr(t, "an end in the past", fault.As(f.give(all, ada, "x", f.Clock.Now())),
			fault.New(fault.Invalid, "role.invalid", ""))
		wantErr(t, "no such role", f.give(all, ada, "nope", time.Time{}), role.ErrNotFound)
		wantErr(t, "taking what was not given", f.take(all, ada, "x"), role.ErrNotGranted)
		wantErr(t, "nobody", fault.As(f.give(all, id.New(), "x", time.Time{})),
			fault.New(fault.NotFound, "role.subject_not_found", ""))
	})
}

func TestLastOwnerStays(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ada, bob := f.user("ada"), f.user("bob")
		wantErr(t, "ada", f.give(all, ada, role.Owner, time.Time{}), nil)
		ways := map[string]func(u id.ID) error{
			"taking":       func(u id.ID) error { return f.take(all, u, role.Owner) },
			"ending later": func(u id.ID) error { return f.give(all, u, role.Owner, f.Clock.Now().Add(time.Hour)) },
			"locking":      func(u id.ID) error { return f.status(u, user.Locked) },
			"deactivating": func(u id.ID) error { return f.status(u, user.Deactivated) },
			"deleting": func(u id.ID) error {
				return f.try(func(ctx context.Context, tx *db.Tx) error {
					return user.Delete(ctx, tx, role.ForUsers(), u)
				})
			},
		}
		for what, way := range ways {
			wantErr(t, what+" the only owner", way(ada), role.ErrLastOwner)
		}
		// Neither an owner for a while nor one who is not active keeps the tenant.
		wantErr(t, "bob", f.give(all, bob, role.Owner, f.Clock.Now().Add(time.Hour)), nil)
		wantErr(t, "beside an owner for a while", f.take(all, ada, role.Owner), role.ErrLastOwner)
		wantErr(t, "bob", f.give(all, bob, role.Owner, time.Time{}), nil)
		wantErr(t, "locking bob", f.status(bob, user.Locked), nil)
		for what, way := range ways {
			wantErr(t, what+" beside a locked owner", way(ada), role.ErrLastOwner)
		}
		wantErr(t, "unlocking bob", f.status(bob, user.Active), nil)
		wantErr(t, "with two owners", f.take(all, ada, role.Owner), nil)
		wantErr(t, "now bob is the last", f.status(bob, user.Deactivated), role.ErrLastOwner)
	})
}

// TestTwoOwnersCannotRemoveEachOther: at the same time, by every pair of ways.
func TestTwoOwnersCannotRemoveEachOther(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		for round := range 12 {
			f := &fixture{f.Database, t, f.Tenant(t, fmt.Sprintf("t%d", round))}
			owners := []id.ID{f.user("ada"), f.user("bob")}
			for _, o := range owners {
				wantErr(t, "set-up", f.give(all, o, role.Owner, time.Time{}), nil)
			}
			ways := []func(u id.ID) error{
				func(u id.ID) error { return f.take(all, u, role.Owner) },
				func(u id.ID) error { return f.status(u, user.Locked) },
				func(u id.ID) error { return f.give(all, u, role.Owner, f.Clock.Now().Add(time.Hour)) },
				func(u id.ID) error {
					return f.try(func(ctx context.Context, tx *db.Tx) error {
						return user.Delete(ctx, tx, role.ForUsers(), u)
					})
				},
			}
			errs := make([]error, 2)
			start := make(chan struct{})
			var wg sync.WaitGroup
			for i, o := range owners {
				way := ways[(round*(i+1)+i)%len(ways)]
				wg.Go(func() { <-start; errs[i] = way(o) })
			}
			close(start)
			wg.Wait()
			won, refused := 0, 0
			for _, err := range errs {
				switch {
				case err == nil:
					won++
				case errors.Is(err, role.ErrLastOwner):
					refused++
				default:
					t.Error(err)
				}
			}
			if won != 1 || refused != 1 {
				t.Errorf("round %d: %d removed, %d refused; want one of each", round, won, refused)
			}
		}
	})
}
