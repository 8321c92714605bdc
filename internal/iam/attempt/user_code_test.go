package attempt

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

// A crowd of strangers, each at another network, guesses at codes of devices together. A person
// who has signed in is judged apart.
func TestACrowdGuessesAtUserCodes(t *testing.T) {
	t.Parallel()
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		f := &fixture{d, t, d.Tenant(t, "acme")}
		keys := func(i int, user id.ID) []Key {
			at := netip.MustParseAddr(fmt.Sprintf("198.%d.%d.1", i/200, i%200))
			return UserCode(at, user, fmt.Sprint("browser", i))
		}
		hold := func(i int, user id.ID) Verdict {
			return f.do(func(tx *db.Tx) (Verdict, error) { return Hold(t.Context(), tx, keys(i, user)...) })
		}
		f.do(func(tx *db.Tx) (Verdict, error) {
			for i := range guessesBucket.Burst {
				if v, err := Hold(t.Context(), tx, keys(i, id.ID{})...); err != nil || v.Blocked {
					return v, fmt.Errorf("guess %d: %+v %w", i, v, err)
				}
				if _, err := Fail(t.Context(), tx, keys(i, id.ID{})...); err != nil {
					return Verdict{}, err
				}
			}
			return Verdict{}, nil
		})
		if v := hold(1000, id.ID{}); !v.Blocked {
			t.Errorf("a stranger after %d wrong codes: %+v", guessesBucket.Burst, v)
		}
		if v := hold(1001, id.New()); v.Blocked {
			t.Errorf("a person who has signed in: %+v", v)
		}
	})
}
