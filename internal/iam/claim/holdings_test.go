package claim

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A role counts until its end, be it the user's own or a group's.
func TestRolesEndWithTheirAssignment(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ctx, acme := t.Context(), d.Tenant(t, "acme")
		do := func(fn func(tx *db.Tx) error) {
			t.Helper()
			if err := d.Update(ctx, acme, fn); err != nil {
				t.Fatal(err)
			}
		}
		var ada user.User
		do(func(tx *db.Tx) error {
			var err error
			if ada, err = user.Create(ctx, tx, user.Profile{Email: "ada@example.com"}); err != nil {
				return err
			}
			staff, err := group.Create(ctx, tx, group.Profile{Name: "Staff"})
			if err != nil {
				return err
			}
			if err := group.AddMember(ctx, tx, role.ForGroups(), role.Everything(), staff.ID, ada.ID); err != nil {
				return err
			}
			soon := tx.Now().Add(time.Hour)
			for _, a := range []struct {
				to    role.Subject
				name  string
				until time.Time
			}{
				{role.OfUser(ada.ID), "own", time.Time{}}, {role.OfUser(ada.ID), "own-soon", soon},
				{role.OfGroup(staff.ID), "group", time.Time{}}, {role.OfGroup(staff.ID), "group-soon", soon},
			} {
				if _, err := role.Create(ctx, tx, role.Everything(), role.Definition{Name: a.name}); err != nil {
					return err
				}
				if err := role.Assign(ctx, tx, role.Everything(), a.to, a.name, a.until); err != nil {
					return err
				}
			}
			return nil
		})
		for _, want := range [][]string{{"group", "group-soon", "own", "own-soon"}, {"group", "own"}} {
			var held []holding
			do(func(tx *db.Tx) error { readHoldings(tx, &held, ada.ID); return nil })
			var got []string
			for _, h := range held {
				if h.role {
					got = append(got, h.name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the roles are %v, want %v", got, want)
			}
			d.Clock.Advance(time.Hour + time.Second)
		}
	})
}
