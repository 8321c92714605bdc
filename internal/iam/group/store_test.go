package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// anybody has the rules of a caller that may do everything.
var anybody = group.Roles{MayFill: allow, MayEmpty: allow, MayRename: allow, KeepOwner: role.KeepOwner,
	Of: role.ForGroups().Of}

func allow(context.Context, *db.Tx, api.Rights, id.ID) error { return nil }

type fixture struct {
	*testkit.Database
	t *testing.T
	c caller.Caller
}

func both(t *testing.T, fn func(t *testing.T, f *fixture)) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) { fn(t, &fixture{d, t, d.Tenant(t, "acme")}) })
}

func (f *fixture) try(fn func(ctx context.Context, tx *db.Tx) error) error {
	return f.Update(f.t.Context(), f.c, func(tx *db.Tx) error { return fn(f.t.Context(), tx) })
}

func (f *fixture) create(n group.Profile) (group.Group, error) {
	var g group.Group
	err := f.try(func(ctx context.Context, tx *db.Tx) error {
		var err error
		g, err = group.Create(ctx, tx, n)
		return err
	})
	return g, err
}

func (f *fixture) group(name string) id.ID {
	f.t.Helper()
	g, err := f.create(group.Profile{Name: name})
	if err != nil {
		f.t.Fatal(err)
	}
	return g.ID
}

func (f *fixture) user(login string) id.ID {
	var u id.ID
	f.t.Helper()
	if err := f.try(func(ctx context.Context, tx *db.Tx) error {
		made, err := user.Create(ctx, tx, user.Profile{Username: login})
		u = made.ID
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return u
}

func (f *fixture) add(g, u id.ID) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error { return group.AddMember(ctx, tx, anybody, nil, g, u) })
}

func (f *fixture) remove(g, u id.ID) error {
	return f.try(func(ctx context.Context, tx *db.Tx) error { return group.RemoveMember(ctx, tx, anybody, nil, g, u) })
}

// events returns the actions of the audit log, sorted: those of one instant have no order.
func (f *fixture) events(prefix string) []string {
	var out []string
	f.t.Helper()
	if err := f.View(f.t.Context(), f.c, func(tx *db.Tx) error {
		l, err := audit.List(f.t.Context(), tx, audit.Filter{Action: prefix}, page.Request{Limit: page.MaxLimit})
		for _, e := range l.Items {
			out = append(out, e.Action)
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestAGroupsLife(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		made, err := f.create(group.Profile{Name: "  Fina\u0301nce ", Description: "Money",
			Attributes: map[string]any{"cost_center": 7.0}})
		if err != nil {
			t.Fatal(err)
		}
		ada := f.user("ada")
		get := func(c caller.Caller) (group.Group, error) {
			return db.Read(t.Context(), f.DB, c, func(tx *db.Tx) (group.Group, error) {
				return group.Get(t.Context(), tx, made.ID)
			})
		}
		got, err := get(f.c)
		want := group.Group{ID: made.ID, Profile: group.Profile{Name: "Fin\u00e1nce", Description: "Money",
			Attributes: map[string]any{"cost_center": 7.0}}, CreatedAt: f.Clock.Now(), UpdatedAt: f.Clock.Now()}
		if diff := cmp.Diff(want, got); err != nil || diff != "" || cmp.Diff(made, got) != "" {
			t.Errorf("%v %s", err, diff)
		}
		_, err = f.create(group.Profile{Name: "FIN\u00c1NCE"})
		wantErr(t, "the same name in another case", err, group.ErrNameTaken)
		other := f.group("Sales")
		rename := func(g id.ID, name string) (group.Group, error) {
			var out group.Group
			err := f.try(func(ctx context.Context, tx *db.Tx) error {
				var err error
				out, err = group.Update(ctx, tx, anybody, nil, g, func(p *group.Profile) { p.Name = name })
				return err
			})
			return out, err
		}
		name, taken := "Finance", "finance"
		f.Clock.Advance(1000)
		got, err = rename(made.ID, name)
		want.Name, want.UpdatedAt = name, f.Clock.Now()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("renamed: %v %s", err, diff)
		}
		_, err = rename(made.ID, name)
		wantErr(t, "no change", err, nil)
		_, err = rename(other, taken)
		wantErr(t, "renaming to a taken name", err, group.ErrNameTaken)
		wantErr(t, "adding", f.add(made.ID, ada), nil)
		wantErr(t, "adding again", f.add(made.ID, ada), nil)
		wantErr(t, "taking out", f.remove(made.ID, ada), nil)
		wantErr(t, "taking out again", f.remove(made.ID, ada), group.ErrNotMember)
		wantErr(t, "adding nobody", f.add(made.ID, id.New()), user.ErrNotFound)
		wantErr(t, "adding to nothing", f.add(id.New(), ada), group.ErrNotFound)
		wantErr(t, "adding", f.add(made.ID, ada), nil)

		globex := &fixture{f.Database, t, f.Tenant(t, "globex")}
		_, err = get(globex.c)
		wantErr(t, "from another tenant", err, group.ErrNotFound)
		wantErr(t, "another tenant's group", globex.add(made.ID, globex.user("ada")), group.ErrNotFound)
		wantErr(t, "another tenant's user", globex.add(globex.group("Finance"), ada), user.ErrNotFound)

		wantErr(t, "deleting", f.try(func(ctx context.Context, tx *db.Tx) error {
			return group.Delete(ctx, tx, anybody, nil, made.ID)
		}), nil)
		_, err = get(f.c)
		wantErr(t, "after it was deleted", err, group.ErrNotFound)
		if diff := cmp.Diff([]string{"group.add_member", "group.add_member", "group.create", "group.create",
			"group.delete", "group.remove_member", "group.update"}, f.events("group.")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatAGroupMayHold(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		for what, n := range map[string]group.Profile{
			"no name": {}, "blank": {Name: " \t"}, "a line break": {Name: "a\nb"}, "a NUL": {Name: "a\x00b"},
			"not UTF-8": {Name: "a\xffb"},
			"too long":  {Name: strings.Repeat("x", 129)}, "far too long": {Name: strings.Repeat("x", 1<<20)},
			"turned around":           {Name: "a\u202eb"},
			"a long description":      {Name: "x", Description: strings.Repeat("x", 257)},
			"large attributes":        {Name: "x", Attributes: map[string]any{"a": strings.Repeat("x", 2048)}},
			"a NUL in the attributes": {Name: "x", Attributes: map[string]any{"a": "\x00"}},
		} {
			if _, err := f.create(n); fault.Of(err) != fault.Invalid {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := f.create(group.Profile{Name: strings.Repeat("é", 128),
			Description: strings.Repeat("é", 256)}); err != nil {
			t.Error(err)
		}
		ada := f.user("ada")
		for i := range 500 {
			wantErr(t, "one more", f.add(f.group(fmt.Sprintf("g%d", i)), ada), nil)
		}
		wantErr(t, "one too many", f.add(f.group("last"), ada), group.ErrTooManyOf)
	})
}

func TestListsArePaged(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		var users, groups []id.ID
		for i := range 5 {
			users, groups = append(users, f.user(fmt.Sprintf("u%d", i))),
				append(groups, f.group(fmt.Sprintf("Team %d", i)))
		}
		f.group("Board")
		for _, i := range []int{4, 0, 3, 1, 2} {
			wantErr(t, "adding", f.add(groups[0], users[i]), nil)
			if i > 0 {
				wantErr(t, "adding", f.add(groups[i], users[0]), nil)
			}
		}
		pages := func(list func(tx *db.Tx, p page.Request) (ids []id.ID, next string, err error)) []id.ID {
			var all []id.ID
			p := page.Request{Limit: 2}
			for n := range 4 {
				var ids []id.ID
				var next string
				if err := f.View(t.Context(), f.c, func(tx *db.Tx) error {
					var err error
					ids, next, err = list(tx, p)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				all = append(all, ids...)
				if next == "" {
					if n != 2 {
						t.Errorf("%d pages of two", n+1)
					}
					break
				}
				p.After, _ = page.ParseCursor(next)
			}
			return all
		}
		members := pages(func(tx *db.Tx, p page.Request) ([]id.ID, string, error) {
			var ids []id.ID
			l, err := group.Members(t.Context(), tx, groups[0], p)
			for _, m := range l.Items {
				if m.Login == "" || m.Status != user.Active || !m.AddedAt.Equal(f.Clock.Now()) {
					t.Errorf("%+v", m)
				}
				ids = append(ids, m.User)
			}
			return ids, l.NextCursor, err
		})
		if diff := cmp.Diff(users, members); diff != "" {
			t.Errorf("members: %s", diff)
		}
		of := func(list func(tx *db.Tx, p page.Request) (page.List[group.Group], error)) []id.ID {
			return pages(func(tx *db.Tx, p page.Request) ([]id.ID, string, error) {
				var ids []id.ID
				l, err := list(tx, p)
				for _, g := range l.Items {
					ids = append(ids, g.ID)
				}
				return ids, l.NextCursor, err
			})
		}
		if diff := cmp.Diff(groups, of(func(tx *db.Tx, p page.Request) (page.List[group.Group], error) {
			return group.OfUser(t.Context(), tx, users[0], p)
		})); diff != "" {
			t.Errorf("groups of a user: %s", diff)
		}
		if diff := cmp.Diff(groups, of(func(tx *db.Tx, p page.Request) (page.List[group.Group], error) {
			return group.List(t.Context(), tx, filter.All(), " tEAm", p)
		})); diff != "" {
			t.Errorf("found: %s", diff)
		}
		for what, shown := range map[string]filter.Filter{
			"one": filter.Where(filter.Node{Operator: "in",
				Operands: []filter.Node{{Attribute: "id"}, {Value: []any{groups[3].String()}}}}),
			"nothing": filter.Nothing(),
		} {
			if err := f.View(t.Context(), f.c, func(tx *db.Tx) error {
				l, err := group.List(t.Context(), tx, shown, "", page.First())
				if n := len(l.Items); err != nil || (what == "one") != (n == 1 && l.Items[0].ID == groups[3]) ||
					(what == "nothing") != (n == 0) {
					t.Errorf("shown %s: %v %v", what, l.Items, err)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
	})
}

// Of many who do the same at once, one does it.
func TestOneWins(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		g, ada := f.group("Finance"), f.user("ada")
		var made, removed atomic.Int64
		f.Race(t, 16, func(int) {
			switch _, err := f.create(group.Profile{Name: "Sales"}); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, group.ErrNameTaken):
				t.Error(err)
			}
			wantErr(t, "adding", f.add(g, ada), nil)
		})
		f.Race(t, 16, func(int) {
			switch err := f.remove(g, ada); {
			case err == nil:
				removed.Add(1)
			case !errors.Is(err, group.ErrNotMember):
				t.Error(err)
			}
		})
		if made.Load() != 1 || removed.Load() != 1 {
			t.Errorf("%d made a group of one name, %d took one member out", made.Load(), removed.Load())
		}
		if diff := cmp.Diff([]string{"group.add_member"}, f.events("group.add_member")); diff != "" {
			t.Errorf("joined: %s", diff)
		}
	})
}
