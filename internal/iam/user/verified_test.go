package user_test

import (
	"context"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// An account without an address is never verified, whatever its creator or a patch says.
func TestOnlyAnAddressIsVerified(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		var nameless user.Profile
		nameless.Username, nameless.EmailVerified = "ada", true
		bob := user.Profile{EmailVerified: true}
		bob.Email, bob.Username = "bob@example.com", "bob"
		verify := func(p *user.Profile) { p.EmailVerified = true }
		remove := func(p *user.Profile) { p.Email, p.EmailVerified = "", true }

		for name, c2 := range map[string]struct {
			in    user.Profile
			patch func(*user.Profile)
		}{
			"created without an address": {nameless, nil},
			"verified by a patch":        {nameless, verify},
			"address removed":            {bob, remove},
		} {
			u := create(t, d, c, c2.in)
			if c2.patch != nil {
				if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error {
					var err error
					u, err = user.Update(ctx, tx, u.ID, c2.patch)
					return err
				}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if stored, err := get(t, d, c, u.ID); err != nil || u.EmailVerified || stored.EmailVerified {
				t.Errorf("%s: verified: answered %v, stored %v, error %v", name, u.EmailVerified, stored.EmailVerified,
					err)
			}
			if err := update(t, d, c,
				func(ctx context.Context, tx *db.Tx) error {
					return user.Delete(ctx, tx, role.ForUsers(), u.ID)
				}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
