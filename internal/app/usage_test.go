package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// What requests leave is counted, for the tenant at once and for the platform after housekeeping. A
// tenant sees its own usage only.
func TestUsage(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		operator := w.Operator()
		w.Tenant("acme", nil)
		w.Must(operator, "POST", "platform", "/tenants", map[string]any{"slug": "globex", "name": "=Globex"})
		client, secret := w.Machine("acme", role.Owner, "jwt")
		token := w.Token("acme", client, secret)
		w.Must(token, "POST", "acme", "/users", map[string]any{"username": "ada"})
		w.Do(w.By("acme"), func(tx *db.Tx) error {
			return mail.Enqueue(w.App.Queue, tx, mail.Message{To: "ada@acme.example", Subject: "Hello", Text: "Hello."})
		})
		w.Work()
		today, month := w.Clock.Now().UTC().Format(time.DateOnly), w.Clock.Now().UTC().Format("2006-01")

		var values map[string]any
		testkit.Eventually(t, "the records are counted", func() bool {
			list := w.Must(token, "GET", "acme", "/usage?from="+today, nil)
			values = list["items"].([]any)[0].(map[string]any)["values"].(map[string]any)
			return values["tokens_client_credentials"] == 1.0 && values["management_calls"].(float64) >= 1 &&
				values["mails"] == 1.0
		})
		for metric, want := range map[string]float64{"tokens": 1, "users": 1, "applications": 1, "groups": 0} {
			if values[metric] != want {
				t.Errorf("%s: %v, want %v", metric, values[metric], want)
			}
		}

		w.Clock.Advance(10 * time.Minute)
		w.App.Housekeep(context.Background(), func(context.Context, time.Duration) error { return nil })
		operator, token = w.Operator(), w.Token("acme", client, secret)
		list := w.Must(operator, "GET", "platform", "/usage?sort=users&month="+month, nil)
		if slugs := itemsOf(t, list, "slug"); len(slugs) != 3 || slugs[0] != "acme" {
			t.Errorf("the platform's list is %v, want all three, acme first", slugs)
		}
		var paged []string
		for cursor := ""; ; {
			list := w.Must(operator, "GET", "platform", "/usage?limit=1&month="+month+"&cursor="+cursor, nil)
			paged = append(paged, itemsOf(t, list, "slug")...)
			next, more := list["next_cursor"].(string)
			if cursor = next; !more || len(paged) > 3 {
				break
			}
		}
		if len(paged) != 3 {
			t.Errorf("pages of one tenant: %v", paged)
		}

		csv := func(slug, token, query string) world.Answer {
			r := w.Request(token, "GET", slug, "/api/v1/usage?"+query, "", nil)
			r.Header.Set("Accept", "text/csv")
			return w.Send(r)
		}
		a := csv("platform", operator, "metrics=tokens,users&month="+month)
		if kind := a.Header.Get("Content-Type"); a.Status != http.StatusOK || kind != "text/csv" ||
			!strings.HasPrefix(a.Body, "tenant_id,slug,name,tokens,users\n") ||
			!strings.Contains(a.Body, ",globex,'=Globex,0,0\n") {
			t.Errorf("CSV of the platform: %d %s\n%s", a.Status, kind, a.Body)
		}
		a = csv("acme", token, "metrics=users&from="+today)
		if a.Body != "day,users\n"+today+",1\n" {
			t.Errorf("CSV of a tenant: %d\n%s", a.Status, a.Body)
		}
		for query, field := range map[string]string{
			"from=2026-13-01": "from", "from=9000-01-01": "from", "from=2001-01-01": "from", "to=x": "to",
			"metrics=tokens,logins": "metrics", "month=" + month: "month",
		} {
			a := w.Call(token, "GET", "acme", "/usage?"+query, nil)
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"name":"`+field+`"`) ||
				strings.Contains(a.Body, "globex") {
				t.Errorf("%s: %d %s", query, a.Status, a.Body)
			}
		}
		for query, field := range map[string]string{"month=2026-13": "month", "sort=name&month=" + month: "sort",
			"from=" + today + "&month=" + month: "from"} {
			a := w.Call(operator, "GET", "platform", "/usage?"+query, nil)
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"name":"`+field+`"`) {
				t.Errorf("platform, %s: %d %s", query, a.Status, a.Body)
			}
		}
	})
}
