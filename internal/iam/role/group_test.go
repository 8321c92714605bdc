package role_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func (f *fixture) group(name string, members ...id.ID) id.ID {
	var g id.ID
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		made, err := group.Create(ctx, tx, group.Profile{Name: name})
		g = made.ID
		return err
	})
	for _, m := range members {
		wantErr(f.t, "joining "+name, f.join(all, g, m), nil)
	}
	return g
}

func (f *fixture) join(by role.Set, g, u id.ID) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error {
		return group.AddMember(ctx, tx, role.ForGroups(), by, g, u)
	})
}

func (f *fixture) leave(by role.Set, g, u id.ID) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error {
		return group.RemoveMember(ctx, tx, role.ForGroups(), by, g, u)
	})
}

func (f *fixture) drop(by role.Set, g id.ID) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error {
		return group.Delete(ctx, tx, role.ForGroups(), by, g)
	})
}

func (f *fixture) giveGroup(by role.Set, g id.ID, name string, until time.Time) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error {
		return role.Assign(ctx, tx, by, role.OfGroup(g), name, until)
	})
}

func (f *fixture) takeGroup(by role.Set, g id.ID, name string) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error { return role.Revoke(ctx, tx, by, role.OfGroup(g), name) })
}

func TestRolesComeThroughGroups(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ada, bob := f.user("ada"), f.user("bob")
		g := f.group("Finance", ada)
		wantErr(t, "giving", f.giveGroup(all, g, role.Auditor, time.Time{}), nil)
		wantErr(t, "giving for an hour", f.giveGroup(all, g, role.Developer, f.Clock.Now().Add(time.Hour)), nil)
		wantErr(t, "giving directly too", f.give(all, ada, role.Auditor, time.Time{}), nil)
		roles := func(what string, u id.ID, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, f.actionsOf(u).Roles()); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		roles("a member", ada, "auditor", "developer")
		roles("somebody else", bob)
		f.Clock.Advance(time.Hour)
		roles("after the end", ada, "auditor")
		wantErr(t, "taking the direct one", f.take(all, ada, role.Auditor), nil)
		roles("through the group alone", ada, "auditor")
		wantErr(t, "locking", f.status(ada, user.Locked), nil)
		roles("locked", ada)
		wantErr(t, "unlocking", f.status(ada, user.Active), nil)
		wantErr(t, "joining", f.join(all, g, bob), nil)
		roles("who joined", bob, "auditor")
		wantErr(t, "leaving", f.leave(all, g, ada), nil)
		roles("who left", ada)
		wantErr(t, "taking from the group", f.takeGroup(all, g, role.Auditor), nil)
		roles("of a group without roles", bob)
		wantErr(t, "giving again", f.giveGroup(all, g, role.Admin, time.Time{}), nil)
		roles("again", bob, "admin")
		wantErr(t, "deleting the group", f.drop(all, g), nil)
		roles("after the group", bob)
		wantErr(t, "a group that is gone", f.giveGroup(all, g, role.Admin, time.Time{}), group.ErrNotFound)
	})
}

// TestNobodyGivesWhatTheyLackThroughAGroup: who fills a group gives its roles.
func TestNobodyGivesWhatTheyLackThroughAGroup(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		manager := f.holder(role.UserManager)
		ada, bob := f.user("ada"), f.user("bob")
		wantErr(t, "set-up", f.give(all, f.user("owner"), role.Owner, time.Time{}), nil)
		plain, admins, managers := f.group("Everybody"), f.group("Admins", bob), f.group("Managers")
		wantErr(t, "set-up", f.giveGroup(all, admins, role.Admin, time.Time{}), nil)
		wantErr(t, "set-up", f.giveGroup(all, managers, role.UserManager, time.Time{}), nil)

		wantErr(t, "joining a group without roles", f.join(manager, plain, ada), nil)
		wantErr(t, "joining a group with one's own", f.join(manager, managers, ada), nil)
		wantErr(t, "joining a group with more", f.join(manager, admins, ada), role.ErrBeyond)
		wantErr(t, "leaving a group with more", f.leave(manager, admins, bob), role.ErrBeyond)
		wantErr(t, "deleting a group with more", f.drop(manager, admins), role.ErrBeyond)
		wantErr(t, "giving a group more", f.giveGroup(manager, plain, role.Admin, time.Time{}), role.ErrBeyond)
		wantErr(t, "taking from a group more", f.takeGroup(manager, admins, role.Admin), role.ErrBeyond)
		wantErr(t, "renaming a group with more", f.try(func(ctx context.Context, tx *db.Tx) error {
			rename := func(p *group.Profile) { p.Name = "Interns" }
			_, err := group.Update(ctx, tx, role.ForGroups(), manager, admins, rename)
			return err
		}), role.ErrOutranked)
		wantErr(t, "managing one who is more through a group", f.try(func(ctx context.Context, tx *db.Tx) error {
			return role.MayManage(ctx, tx, manager, role.OfUser(bob))
		}), role.ErrOutranked)
		members := role.SetOf("group.member") // may fill groups, and give no roles
		wantErr(t, "filling a group without roles", f.join(members, plain, bob), nil)
		wantErr(t, "filling a group with roles", f.join(members, managers, bob), role.ErrBeyond)
		wantErr(t, "emptying a group with roles", f.leave(members, managers, ada), role.ErrBeyond)

		// A grant that has ended gives nothing, so it forbids nothing.
		wantErr(t, "set-up", f.giveGroup(all, plain, role.Admin, f.Clock.Now().Add(time.Minute)), nil)
		wantErr(t, "joining meanwhile", f.join(manager, plain, f.user("carl")), role.ErrBeyond)
		f.Clock.Advance(time.Minute)
		wantErr(t, "joining after its end", f.join(manager, plain, f.user("dora")), nil)
	})
}

// TestARoleOfNoActions: what it is worth is known to the tenant's policies alone, so it is
// given by who has it, or who may say what roles are.
func TestARoleOfNoActions(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ada, bob := f.user("ada"), f.user("bob")
		f.must(func(ctx context.Context, tx *db.Tx) error {
			r, err := role.Create(ctx, tx, all, role.Definition{Name: "payer"})
			if r.Actions == nil {
				t.Error("no actions are not an empty list")
			}
			return err
		})
		manager := f.holder(role.UserManager)
		wantErr(t, "by one without it", f.give(manager, ada, "payer", time.Time{}), role.ErrBeyond)
		wantErr(t, "by an admin", f.give(f.holder(role.Admin), ada, "payer", time.Time{}), nil)
		wantErr(t, "set-up", f.give(all, ada, role.UserManager, time.Time{}), nil)
		wantErr(t, "by one who has it", f.give(f.actionsOf(ada), bob, "payer", time.Time{}), nil)
		wantErr(t, "taking by one without it", f.take(manager, bob, "payer"), role.ErrBeyond)
		g := f.group("Payers")
		wantErr(t, "to a group", f.giveGroup(all, g, "payer", time.Time{}), nil)
		wantErr(t, "through a group", f.join(manager, g, f.user("carl")), role.ErrBeyond)
	})
}

func TestTheLastOwnerMayBeOneThroughAGroup(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ada := f.user("ada")
		g := f.group("Owners", ada)
		wantErr(t, "giving", f.giveGroup(all, g, role.Owner, time.Time{}), nil)
		ways := map[string]func() error{
			"taking it from the group": func() error { return f.takeGroup(all, g, role.Owner) },
			"putting an end to it": func() error {
				return f.giveGroup(all, g, role.Owner, f.Clock.Now().Add(time.Hour))
			},
			"taking the member out": func() error { return f.leave(all, g, ada) },
			"deleting the group":    func() error { return f.drop(all, g) },
			"locking the member":    func() error { return f.status(ada, user.Locked) },
			"deleting the member": func() error {
				return f.try(func(ctx context.Context, tx *db.Tx) error {
					return user.Delete(ctx, tx, role.ForUsers(), ada)
				})
			},
		}
		for what, way := range ways {
			wantErr(t, what, way(), role.ErrLastOwner)
		}
		var owned bool
		f.must(func(ctx context.Context, tx *db.Tx) error {
			var err error
			owned, err = role.Owned(ctx, tx)
			return err
		})
		if !owned {
			t.Error("the tenant is said to have no owner")
		}
		// The same person by both ways may lose either, not both.
		wantErr(t, "giving directly too", f.give(all, ada, role.Owner, time.Time{}), nil)
		wantErr(t, "taking the direct one", f.take(all, ada, role.Owner), nil)
		wantErr(t, "giving it back", f.give(all, ada, role.Owner, time.Time{}), nil)
		wantErr(t, "deleting the group", f.drop(all, g), nil)
		wantErr(t, "and the last", f.take(all, ada, role.Owner), role.ErrLastOwner)
	})
}

// TestOwnersOfBothKindsCannotRemoveEachOther: one is an owner, another through a group; at
// the same time each of them stops being one.
func TestOwnersOfBothKindsCannotRemoveEachOther(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		for round := range 8 {
			f := &fixture{f.Database, t, f.Tenant(t, fmt.Sprintf("t%d", round))}
			ada, bob := f.user("ada"), f.user("bob")
			g := f.group("Owners", bob)
			wantErr(t, "set-up", f.give(all, ada, role.Owner, time.Time{}), nil)
			wantErr(t, "set-up", f.giveGroup(all, g, role.Owner, time.Time{}), nil)
			ways := []func() error{
				func() error { return f.leave(all, g, bob) },
				func() error { return f.drop(all, g) },
				func() error { return f.takeGroup(all, g, role.Owner) },
				func() error { return f.status(bob, user.Locked) },
			}
			var errs [2]error
			start := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() { <-start; errs[0] = f.take(all, ada, role.Owner) })
			wg.Go(func() { <-start; errs[1] = ways[round%len(ways)]() })
			close(start)
			wg.Wait()
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[0], errs[1]), role.ErrLastOwner) {
				t.Errorf("round %d: %v and %v; want one refused", round, errs[0], errs[1])
			}
		}
	})
}
