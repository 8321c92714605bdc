package principal_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/principal"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// The users of a tenant, a few at a time, are those whom Resolve finds, and as it finds them.
func TestUsersAreAsResolved(t *testing.T) {
	both(t, func(t *testing.T, f *fixture) {
		var users []id.ID
		for i := range 7 {
			users = append(users, f.user(user.Profile{Username: fmt.Sprintf("u%d", i),
				Attributes: map[string]any{"floor": i}}))
		}
		f.machine("machine")
		f.give(role.OfUser(users[2]), role.Auditor, time.Time{})
		f.status(users[3], user.Locked)
		slices.SortFunc(users, func(a, b id.ID) int { return slices.Compare(a[:], b[:]) })
		ask := principal.Ask{Mode: application.FromDirectory, Application: id.New(), Asserted: &enginev1.Principal{
			PolicyVersion: "v2", Scope: "acme", Roles: []string{"admin"},
			Attr: map[string]*structpb.Value{"ip": structpb.NewStringValue("10.0.0.1")}}}
		compare := func(what string) {
			t.Helper()
			var got, want []*enginev1.Principal
			for _, u := range users {
				one := ask
				one.Asserted = &enginev1.Principal{Id: u.String(), PolicyVersion: "v2", Scope: "acme",
					Attr: ask.Asserted.Attr}
				if p, outcome := f.resolve(one); outcome == principal.Found {
					want = append(want, p)
				}
			}
			after := id.ID{}
			for pages := 0; ; pages++ {
				page, err := f.Users(t.Context(), f.c, ask, after, 2)
				if err != nil {
					t.Fatal(err)
				}
				got, after = append(got, page.Principals...), page.Last
				if !page.More {
					if pages != 3 {
						t.Errorf("%s: %d pages", what, pages+1)
					}
					break
				}
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(got) < 5 {
				t.Errorf("%s: %d users %s", what, len(got), diff)
			}
		}
		compare("read")
		compare("from copies")
		f.give(role.OfUser(users[6]), role.Auditor, time.Time{})
		f.status(users[0], user.Deactivated)
		compare("after a change")
		if page, err := f.Users(t.Context(), f.c, ask, users[6], 2); err != nil || len(page.Principals) != 0 ||
			page.More || !page.Last.IsZero() {
			t.Errorf("after the last: %+v %v", page, err)
		}
		f.must(func(ctx context.Context, tx *db.Tx) error {
			_, err := tenant.SetStatus(ctx, tx, tenant.Suspended)
			return err
		})
		if page, err := f.Users(t.Context(), f.c, ask, id.ID{}, 2); err != nil || len(page.Principals) != 0 ||
			page.More {
			t.Errorf("of a suspended tenant: %+v %v", page, err)
		}
	})
}
