package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/cerbos"
)

// A fleet of Cerbos servers answers by what its operator exported below each tenant's scope. While it
// is away there is no answer and no record; what guards our own API is asked here.
func TestAFleetDecides(t *testing.T) {
	dir := t.TempDir()
	server := cerbos.Start(t, cerbos.Config{Policies: dir})
	w := open(t, "", "GATEHOUSE_POLICY_ENGINE=grpc://"+server.GRPC)
	operator := w.operatorToken()
	tenants, deciders, managers := map[string]string{}, map[string]string{}, map[string]string{}
	for _, slug := range []string{"acme", "globex"} {
		tenants[slug] = w.must(operator, "POST", "platform", "/tenants", map[string]any{"slug": slug, "name": slug})["id"].(string)
		client, secret := w.machine(slug, role.Owner, application.JWT)
		managers[slug] = w.token(slug, client, secret)
		shop := w.must(managers[slug], "POST", slug, "/applications", map[string]any{"name": "Shop", "type": "machine", "principal_mode": "asserted", "scopes": []string{"gatehouse:decide"}})
		deciders[slug] = w.token(slug, shop["client_id"].(string), shop["client_secret"].(string))
	}
	answers := map[string]int{}
	check := func(slug, resourceScope, principalScope string) answered {
		t.Helper()
		body, _ := json.Marshal(map[string]any{"principal": map[string]any{"id": "ada", "roles": []string{"user"}, "scope": principalScope},
			"resources": []any{map[string]any{"actions": []string{"view"}, "resource": map[string]any{"kind": "album", "id": "a1", "scope": resourceScope}}}})
		r, _ := http.NewRequest("POST", w.url+"/t/"+slug+"/api/check/resources", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+deciders[slug])
		r.Header.Set("Content-Type", "application/json")
		got := w.do(r)
		if got.status == 200 {
			answers[slug]++
		}
		return got
	}
	answersAgain := func() answered {
		t.Helper()
		got := check("acme", "", "")
		for i := 0; got.status == 503 && i < 600; i++ { // a connection is made in its own time
			time.Sleep(50 * time.Millisecond)
			got = check("acme", "", "")
		}
		return got
	}

	w.publish(managers["acme"], "acme", policy.Files{"album.yaml": []byte(albumPolicy)})
	if got := check("acme", "", ""); got.status != 200 || !strings.Contains(string(got.body), "EFFECT_DENY") {
		t.Errorf("before the fleet has the policies: %d %s", got.status, got.body)
	}
	var out bytes.Buffer
	if code := Main([]string{"policy", "export", filepath.Join(dir, "acme"), "--below-scope", tenants["acme"]},
		[]string{"GATEHOUSE_URL=" + w.url + "/t/acme", "GATEHOUSE_TOKEN=" + managers["acme"]}, &out, &out); code != 0 {
		t.Fatalf("export: %d %s", code, out.String())
	}
	server.Restart(t)
	if got := answersAgain(); got.status != 200 || !strings.Contains(string(got.body), "EFFECT_ALLOW") || strings.Contains(string(got.body), tenants["acme"]) {
		t.Errorf("when it has them: %d %s", got.status, got.body)
	}
	for _, scope := range []string{"", tenants["acme"], tenants["globex"] + "." + tenants["acme"]} {
		for _, principalScope := range []string{"", tenants["acme"]} {
			if got := check("globex", scope, principalScope); got.status != 200 || !strings.Contains(string(got.body), "EFFECT_DENY") {
				t.Errorf("another tenant, scopes %q and %q: %d %s", scope, principalScope, got.status, got.body)
			}
		}
	}

	server.Kill()
	for range 2 {
		got := check("acme", "", "")
		if got.status != 503 || got.header.Get("Retry-After") == "" || got.json(t)["code"] != 14.0 || got.json(t)["message"] != policy.ErrFleet.Reason {
			t.Errorf("without the fleet: %d %v %s", got.status, got.header, got.body)
		}
	}
	w.must(managers["acme"], "GET", "acme", "/applications", nil)
	server.Restart(t)
	if got := answersAgain(); got.status != 200 || !strings.Contains(string(got.body), "EFFECT_ALLOW") {
		t.Errorf("with the fleet again: %d %s", got.status, got.body)
	}
	w.Decisions.Close() // writes what waits
	for slug, want := range answers {
		// Whatever the fleet answered, and nothing that it did not; the management calls are of another kind.
		got := 0
		for _, kind := range itemsOf(t, w.must(managers[slug], "GET", slug, "/decisions?limit=200", nil), "kind") {
			if kind != "admin" {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d records of %d answers", slug, got, want)
		}
	}
}
