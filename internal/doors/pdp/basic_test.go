package pdp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
)

// A machine application asks with its credentials alone. Nothing less is enough, and what is wrong
// is limited without harm to what is right.
func TestBasicAtTheDecisionAPI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		ask := func(client, secret, path string) int {
			t.Helper()
			r, err := http.NewRequest(http.MethodPost, w.Origin+path, strings.NewReader(samViews+`"resources":[]}`))
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth(client, secret)
			a := w.Send(r)
			if s := a.Header.Get("WWW-Authenticate"); a.Status == 401 && !strings.HasPrefix(s, "Basic") {
				t.Errorf("the challenge is %q", s)
			}
			return a.Status
		}
		scopes := []string{application.ScopeDecide}
		app := w.Client(w.acme, application.New{Name: "Shop", Type: application.Machine, ClientID: "shop",
			Scopes: scopes})
		none := w.Client(w.acme, application.New{Name: "None", Type: application.Machine})
		people := w.Client(w.acme, application.New{Name: "Web", Type: application.Web, Scopes: scopes,
			RedirectURIs: []string{"https://a.example"}})
		good := app.Secret.Reveal()
		const path, other = "/t/acme/api/check/resources", "/t/globex/api/check/resources"
		for name, c := range map[string]struct {
			client, secret, path string
			want                 int
		}{
			"good":                     {"shop", good, path, 200},
			"a wrong secret":           {"shop", good[:len(good)-4] + "AAAA", path, 401},
			"no secret":                {"shop", "", path, 401},
			"an unknown client":        {"nobody", good, path, 401},
			"another tenant":           {"shop", good, other, 401},
			"without the scope":        {none.ClientID, none.Secret.Reveal(), path, 403},
			"an application of people": {people.ClientID, people.Secret.Reveal(), path, 401},
		} {
			if got := ask(c.client, c.secret, c.path); got != c.want {
				t.Errorf("%s: %d, want %d", name, got, c.want)
			}
		}
		if made, by := w.recorded.last(); by.Actor.ID != app.ID || made.ID.IsZero() {
			t.Errorf("recorded as asked by %+v", by.Actor)
		}
		limited := 0
		for range 1200 {
			if ask("shop", "wrong", path) == 429 {
				limited++
			}
		}
		if limited < 100 || ask("shop", good, path) != 200 {
			t.Errorf("of 1200 wrong secrets %d were limited; a good one: %d", limited, ask("shop", good, path))
		}
	})
}
