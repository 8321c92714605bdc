package principal_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func (f *fixture) group(n group.Profile) id.ID {
	var g id.ID
	f.t.Helper()
	f.must(func(ctx context.Context, tx *db.Tx) error {
		made, err := group.Create(ctx, tx, n)
		g = made.ID
		return err
	})
	return g
}

// Each operation that changes a principal runs on one replica. A second replica has a copy from
// before the change, and a third has none. The next answers of both must be equal.
func TestEveryChangeCountsInTheNextAnswerElsewhere(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		other := *f
		other.Database = testkit.Open(t, f.Config.DSN)
		other.Resolver = replica(other.Database)

		ctx, groups := t.Context(), role.ForGroups()
		ada := f.user(user.Profile{Email: "ada@example.com", Attributes: map[string]any{"floor": 1}})
		app := f.machine("reports")
		g := f.group(group.Profile{Name: "Finance"})
		f.must(func(ctx context.Context, tx *db.Tx) error {
			_, err := role.Create(ctx, tx, all, role.Definition{Name: "payer"})
			return err
		})
		text := func(s string) *string { return &s }
		edit := func(change func(*user.Profile)) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { _, err := user.Update(ctx, tx, ada, change); return err }
		}
		status := func(s user.Status) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { _, err := user.SetStatus(ctx, tx, role.KeepOwner, ada, s); return err }
		}
		give := func(s role.Subject, name string, until time.Time) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { return role.Assign(ctx, tx, all, s, name, until) }
		}
		take := func(s role.Subject, name string) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { return role.Revoke(ctx, tx, all, s, name) }
		}
		regroup := func(edit func(*group.Profile)) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { _, err := group.Update(ctx, tx, groups, all, g, edit); return err }
		}
		reapp := func(p application.Patch) func(tx *db.Tx) error {
			return func(tx *db.Tx) error { _, _, err := application.Update(ctx, tx, all, app, p); return err }
		}
		off, on := application.Disabled, application.Active
		later := f.Clock.Now().Add(time.Hour)
		for _, change := range []struct {
			name  string
			about id.ID
			do    func(tx *db.Tx) error
		}{
			{"email", ada, edit(func(p *user.Profile) { p.Email = "ada@example.org" })},
			{"verified email", ada, func(tx *db.Tx) error { return user.VerifyEmail(ctx, tx, ada, "ada@example.org") }},
			{"username", ada, edit(func(p *user.Profile) { p.Username = "ada" })},
			{"given name", ada, edit(func(p *user.Profile) { p.GivenName = "Ada" })},
			{"family name", ada, edit(func(p *user.Profile) { p.FamilyName = "Lovelace" })},
			{"locale", ada, edit(func(p *user.Profile) { p.Locale = "en-GB" })},
			{"attributes", ada, edit(func(p *user.Profile) { p.Attributes = map[string]any{"floor": 2} })},
			{"role", ada, give(role.OfUser(ada), "payer", time.Time{})},
			{"role for a while", ada, give(role.OfUser(ada), role.Auditor, later)},
			{"role taken", ada, take(role.OfUser(ada), role.Auditor)},
			{"group joined", ada, func(tx *db.Tx) error { return group.AddMember(ctx, tx, groups, all, g, ada) }},
			{"group renamed", ada, regroup(func(p *group.Profile) { p.Name = "Money" })},
			{"group's attributes", ada, regroup(func(p *group.Profile) {
				p.Attributes = map[string]any{"cost_center": 7}
			})},
			{"group's role", ada, give(role.OfGroup(g), role.Developer, time.Time{})},
			{"group's role taken", ada, take(role.OfGroup(g), role.Developer)},
			{"group's other role", ada, give(role.OfGroup(g), role.Auditor, time.Time{})},
			{"group left", ada, func(tx *db.Tx) error { return group.RemoveMember(ctx, tx, groups, all, g, ada) }},
			{"group joined again", ada, func(tx *db.Tx) error { return group.AddMember(ctx, tx, groups, all, g, ada) }},
			{"group deleted", ada, func(tx *db.Tx) error { return group.Delete(ctx, tx, groups, all, g) }},
			{"role deleted", ada, func(tx *db.Tx) error {
				return role.Delete(ctx, tx, all, "payer", application.TargetOf)
			}},
			{"locked", ada, status(user.Locked)},
			{"unlocked", ada, status(user.Active)},
			{"deactivated", ada, status(user.Deactivated)},
			{"activated", ada, status(user.Active)},
			{"deleted", ada, func(tx *db.Tx) error { return user.Delete(ctx, tx, role.ForUsers(), ada) }},
			{"application's role", app, give(role.OfApplication(app), role.Developer, time.Time{})},
			{"application's role taken", app, take(role.OfApplication(app), role.Developer)},
			{"application renamed", app, reapp(application.Patch{Name: text("Ledger")})},
			{"application disabled", app, reapp(application.Patch{Status: &off})},
			{"application enabled", app, reapp(application.Patch{Status: &on})},
			{"application deleted", app, func(tx *db.Tx) error { return application.Delete(ctx, tx, all, app) }},
			{"tenant suspended", f.user(user.Profile{Username: "bob"}), func(tx *db.Tx) error {
				_, err := tenant.SetStatus(ctx, tx, tenant.Suspended)
				return err
			}},
		} {
			before, outcome := other.ask(change.about.String())
			if again, _ := other.ask(change.about.String()); !cmp.Equal(before, again, protocmp.Transform()) {
				t.Fatalf("%s: two answers differ without a change", change.name)
			}
			if err := f.Update(ctx, f.c, change.do); err != nil {
				t.Fatalf("%s: %v", change.name, err)
			}
			after, then := other.ask(change.about.String())
			fresh := other
			fresh.Resolver = replica(f.Database)
			want, wantThen := fresh.ask(change.about.String())
			if diff := cmp.Diff(want, after, protocmp.Transform()); then != wantThen || diff != "" {
				t.Errorf("%s: the next answer is %s, want %s: %s", change.name, then, wantThen, diff)
			}
			if outcome == wantThen && cmp.Equal(before, want, protocmp.Transform()) {
				t.Errorf("%s: nothing to be seen of it, so this proves nothing", change.name)
			}
		}
	})
}

// Making a user moves no version, so no replica may cache that there was none.
func TestANewUserIsKnownAtOnce(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		var ada id.ID
		f.must(func(ctx context.Context, tx *db.Tx) error {
			made, err := user.Create(ctx, tx, user.Profile{Username: "ada"})
			ada = made.ID
			if _, outcome := f.ask(ada.String()); outcome != principal.Unknown {
				t.Errorf("before the commit: %s", outcome)
			}
			return err
		})
		if _, outcome := f.ask(ada.String()); outcome != principal.Found {
			t.Errorf("after the commit: %s", outcome)
		}
	})
}

// A role ends in the next answer after its time, without anybody's doing.
func TestRolesEndByTheClock(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		ada := f.user(user.Profile{Username: "ada"})
		g := f.group(group.Profile{Name: "Finance"})
		f.must(func(ctx context.Context, tx *db.Tx) error {
			return group.AddMember(ctx, tx, role.ForGroups(), all, g, ada)
		})
		now := f.Clock.Now()
		f.give(role.OfUser(ada), role.Admin, now.Add(3*time.Minute))
		f.give(role.OfUser(ada), role.Auditor, now.Add(time.Minute))
		f.give(role.OfGroup(g), role.Auditor, now.Add(2*time.Minute))
		f.give(role.OfGroup(g), role.Developer, time.Time{})
		for minute, want := range [][]string{{"admin", "auditor", "developer"}, {"admin", "auditor", "developer"},
			{"admin", "developer"}, {"developer"}} {
			for range 2 { // read, and from the copy
				p, _ := f.ask(ada.String())
				if diff := cmp.Diff(append(want, principal.RoleUser), p.Roles); diff != "" {
					t.Errorf("after %d minutes: %s", minute, diff)
				}
			}
			f.Clock.Advance(time.Minute - time.Microsecond)
			if p, _ := f.ask(ada.String()); len(p.Roles) != len(want)+1 {
				t.Errorf("just before minute %d: %v", minute+1, p.Roles)
			}
			f.Clock.Advance(time.Microsecond)
		}
	})
}

// Sixteen at once change principals on one replica and ask on another: each sees what it has
// just changed itself, and what another worker counts up never goes back.
func TestAnswersAreExactUnderLoad(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		elsewhere := replica(testkit.Open(t, f.Config.DSN))
		const workers, rounds = 16, 8
		users, groups := make([]id.ID, workers), make([]id.ID, workers)
		for i := range workers {
			users[i], groups[i] = f.user(user.Profile{Username: fmt.Sprintf("u%d",
				i)}), f.group(group.Profile{Name: fmt.Sprintf("g%d", i)})
		}
		ctx := t.Context()
		asker := principal.Ask{Mode: application.FromDirectory, Application: id.New()}
		ask := func(u id.ID) (float64, bool) {
			a := asker
			a.Asserted = &enginev1.Principal{Id: u.String()}
			p, outcome, err := elsewhere.Resolve(ctx, f.c, a)
			if err != nil || outcome != principal.Found {
				t.Errorf("%s %v", outcome, err)
				return 0, false
			}
			member := len(p.Attr["groups"].GetListValue().GetValues()) > 0
			return p.Attr["user"].GetStructValue().Fields["round"].GetNumberValue(), member
		}
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				seen := 0.0
				for n := range rounds {
					err := f.Update(ctx, f.c, func(tx *db.Tx) error {
						attributes := map[string]any{"round": n + 1}
						if _, err := user.Update(ctx, tx, users[w],
							func(p *user.Profile) { p.Attributes = attributes }); err != nil {
							return err
						}
						if n%2 == 0 {
							return group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), groups[w], users[w])
						}
						return group.RemoveMember(ctx, tx, role.ForGroups(), role.Everything(), groups[w], users[w])
					})
					if err != nil {
						t.Error(err)
						return
					}
					for range 3 {
						if round, in := ask(users[w]); round != float64(n+1) || in != (n%2 == 0) {
							t.Errorf("worker %d changed round %d and sees round %v, in its group: %v", w, n+1, round,
								in)
						}
						round, _ := ask(users[0])
						if round < seen {
							t.Errorf("worker %d saw round %v after round %v", w, round, seen)
						}
						seen = round
					}
				}
			})
		}
		all.Wait()
	})
}
