package subject_test

import (
	"sync"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
)

func pairwise(sector string) *application.Application {
	return &application.Application{ID: id.New(), Type: application.Web, SubjectType: application.Pairwise,
		SectorIdentifier: sector}
}

// A pairwise sub is the same for a user, a sector and a tenant, on every replica, and for nothing
// else. Replicas that are asked first at once agree.
func TestSubjects(t *testing.T) {
	testkit.Both(t, func(t *testing.T, d *testkit.Database) {
		ring, err := secret.ParseKeyRing(secret.NewKey("a"))
		if err != nil {
			t.Fatal(err)
		}
		acme, globex, ada := d.Tenant(t, "acme"), d.Tenant(t, "globex"), id.New()
		of := func(keys *subject.Keys, c caller.Caller, app *application.Application, user id.ID) string {
			k, err := keys.For(t.Context(), c, app)
			if err != nil {
				t.Error(err)
			}
			return k.Of(user)
		}
		const replicas = 16
		var got [replicas]string
		var wait sync.WaitGroup
		for i := range replicas {
			wait.Go(func() { got[i] = of(subject.NewKeys(d.DB, ring), acme, pairwise("a.example"), ada) })
		}
		wait.Wait()
		for _, sub := range got {
			if sub != got[0] || len(sub) != 43 {
				t.Errorf("two replicas: %q and %q", sub, got[0])
			}
		}
		keys := subject.NewKeys(d.DB, ring)
		seen := map[string]string{got[0]: "first"}
		for name, sub := range map[string]string{
			"another sector": of(keys, acme, pairwise("b.example"), ada),
			"another user":   of(keys, acme, pairwise("a.example"), id.New()),
			"another tenant": of(keys, globex, pairwise("a.example"), ada),
			"public":         of(keys, acme, &application.Application{SubjectType: application.Public}, ada),
		} {
			if other, ok := seen[sub]; ok {
				t.Errorf("%s and %s have the same sub %s", name, other, sub)
			}
			seen[sub] = name
		}
		if seen[ada.String()] != "public" {
			t.Errorf("a public sub is not the user's id: %v", seen)
		}
		other, err := secret.ParseKeyRing(secret.NewKey("b"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := subject.NewKeys(d.DB, other).For(t.Context(), acme, pairwise("a.example")); err == nil {
			t.Error("another key ring opened the secret")
		}
	})
}
