package grant_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// A replica of the earlier release takes every grant for one of the tenant's. In a grant for APIs
// it finds only the scopes about the person. This release finds all of them, in their order.
func TestAnEarlierReleaseFindsNoScopeOfAnAPI(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const api = "https://api.example.com"
		for name, c := range map[string]struct {
			scopes, resources, earlier []string
		}{
			"for the tenant":  {[]string{"openid", "read"}, nil, []string{"openid", "read"}},
			"for an API":      {[]string{"read", "openid", "groups"}, []string{api}, []string{"openid", "groups"}},
			"only its scopes": {[]string{"read"}, []string{api, "urn:example:b"}, []string{}},
			"for an API and the tenant": {[]string{"read", "openid"}, []string{api, resourceserver.Tenant},
				[]string{"read", "openid"}},
		} {
			w.update(func(ctx context.Context, tx *db.Tx) error {
				g, code, err := grant.Create(ctx, tx, grant.New{Application: w.app, User: w.user, Session: w.session,
					Scopes: c.scopes, Resources: c.resources, AuthTime: tx.Now(), Lifetime: time.Hour,
					RedirectURI: "https://app.example.com/"})
				if err != nil {
					return err
				}
				// What the earlier release reads.
				earlier, err := db.One(ctx, tx, db.Column[string],
					`SELECT scopes FROM grants WHERE tenant_id = $1 AND id = $2`, g.ID)
				if diff := cmp.Diff(c.earlier, strings.Fields(earlier)); diff != "" || err != nil {
					t.Errorf("%s, the earlier release: %s %v", name, diff, err)
				}
				redeemed, outcome, err := grant.ConsumeCode(ctx, tx, code.Reveal(), grant.Redemption{Application: w.app,
					Differs: func(string, string) string { return "" },
					Allows:  func(context.Context, *db.Tx, grant.Grant) (bool, error) { return true, nil }})
				if diff := cmp.Diff(c.scopes, redeemed.Scopes); diff != "" || err != nil || outcome != grant.Accepted {
					t.Errorf("%s, redeemed: %s %s %v", name, diff, outcome, err)
				}
				listed, err := grant.Get(ctx, tx, g.ID)
				if diff := cmp.Diff(c.scopes, listed.Scopes); diff != "" || err != nil {
					t.Errorf("%s, read back: %s %v", name, diff, err)
				}
				return nil
			})
		}
	})
}
