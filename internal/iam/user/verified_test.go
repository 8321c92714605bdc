package user_test

import (
	"context"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// An account without an address is never verified, whatever its creator or a patch says.
func TestOnlyAnAddressIsVerified(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		c := d.Tenant(t, "acme")
		yes, none := true, ""
		var nameless user.New
		nameless.Username, nameless.EmailVerified = "ada", true
		bob := user.New{EmailVerified: true}
		bob.Email, bob.Username = "bob@example.com", "bob"
		var verify, remove user.Patch
		verify.EmailVerified = &yes
		remove.Email, remove.EmailVerified = &none, &yes

		for name, c2 := range map[string]struct {
			in    user.New
			patch *user.Patch
		}{
			"created without an address": {nameless, nil},
			"verified by a patch":        {nameless, &verify},
			"address removed":            {bob, &remove},
		} {
			u := create(t, d, c, c2.in)
			if c2.patch != nil {
				if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) (err error) {
					u, err = user.Update(ctx, tx, u.ID, *c2.patch)
					return err
				}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if stored, err := get(t, d, c, u.ID); err != nil || u.EmailVerified || stored.EmailVerified {
				t.Errorf("%s: verified: answered %v, stored %v, error %v", name, u.EmailVerified, stored.EmailVerified, err)
			}
			if err := update(t, d, c, func(ctx context.Context, tx *db.Tx) error { return user.Delete(ctx, tx, u.ID) }); err != nil {
				t.Fatal(err)
			}
		}
	})
}
