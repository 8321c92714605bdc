package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// RFC 8707 §2 for devices: the token is for the API that the device named, and the person reads
// what it may do there.
func TestADeviceAsksForAnAPI(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.registered(invoices, nil)
		w.registered(reports, nil)
		c := w.client(application.New{Name: "Kubectl", Type: application.Native, DeviceAuthorization: true,
			Scopes: everyScope, RedirectURIs: []string{}})
		d := c.device(t, "scope", "openid read offline_access", "resource", invoices)
		b := w.browser()
		b.signIn(w.user)
		page := d.asked(b)
		if !strings.Contains(page.Text(), "See what is in "+invoices) {
			t.Errorf("the question lacks the scope's description: %s", page.Text())
		}
		b.Fill(page, "decision", "allow")
		refusedWith(t, "another API", d.redeem("resource", reports), 400, "invalid_target")
		got := mustTokens(t, d.poll()) // which the wrong one did not consume
		claims, _ := w.claims(t, got.Access, "at+jwt")
		if diff := cmp.Diff([]any{invoices, w.issuer + "/oauth2/userinfo"}, claims["aud"]); diff != "" {
			t.Errorf("audience: %s", diff)
		}
		refusedWith(t, "another API by refresh", c.refresh(got.Refresh, "resource", reports), 400, "invalid_target")
		refusedWith(t, "an unknown API", c.post("/oauth2/device_authorization", "scope", "openid", "resource", vault),
			400, "invalid_target")
		other := w.client(application.New{Type: application.Native, DeviceAuthorization: true,
			Scopes: []string{"read", "other"}, RedirectURIs: []string{}})
		refusedWith(t, "no scope of the API", other.post("/oauth2/device_authorization", "scope", "other", "resource",
			invoices), 400, "invalid_scope")
	})
}

// What ends between the answer and the redemption gives nothing.
func TestADeviceGetsNothingFromAnApplicationThatChanged(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		owner, c := w.Holder("acme", role.Owner), w.cli()
		of := "/applications/" + c.ID.String()
		b := w.browser()
		b.signIn(w.user)
		allowed, asked := c.device(t), c.device(t)
		allowed.answered(t, b, "allow")
		page := asked.asked(b)

		w.Must(owner, "PATCH", "acme", of, map[string]any{"device_authorization": false,
			"redirect_uris": []string{redirectURI}})
		refusedWith(t, "no longer set up for devices", allowed.poll(), 400, "unauthorized_client")
		answeredTooLate(t, "allowed for an application that may not", b.Fill(page, "decision", "allow"))
		w.Must(owner, "PATCH", "acme", of, map[string]any{"device_authorization": true, "status": "disabled"})
		refusedWith(t, "disabled", allowed.poll(), 401, "invalid_client")

		other := w.cli()
		ruledOut := other.device(t)
		ruledOut.answered(t, b, "allow")
		w.Must(owner, "PATCH", "acme", "/settings", map[string]any{"mfa": "required"})
		refusedWith(t, "two factors are required since", ruledOut.poll(), 400, "invalid_grant")
	})
}

// answeredTooLate expects the page that says what became of the request.
func answeredTooLate(t *testing.T, when string, a world.Answer) {
	t.Helper()
	if a.Status != http.StatusNotFound || !strings.Contains(a.Text(), "This code is no longer valid") {
		t.Errorf("%s: %d %s", when, a.Status, a.Text())
	}
}

// The question for one code may be open in several browsers, and for longer than the code lasts.
func TestAQuestionThatIsOverSaysSo(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.cli()
		d, slow := c.device(t), c.device(t)
		var questions []world.Answer
		browsers := []*browser{w.browser(), w.browser(), w.browser()}
		for _, b := range browsers {
			b.signIn(w.user)
			questions = append(questions, d.asked(b))
		}
		browsers[0].Fill(questions[0], "decision", "allow")
		answeredTooLate(t, "allowed again", browsers[1].Fill(questions[1], "decision", "allow"))
		answeredTooLate(t, "refused when allowed", browsers[2].Fill(questions[2], "decision", "deny"))

		page := slow.asked(browsers[0])
		w.Clock.Advance(grant.DeviceLifetime + time.Second)
		answeredTooLate(t, "allowed when expired", browsers[0].Fill(page, "decision", "allow"))
	})
}

// A session that does not satisfy the policies is not enough to allow a device, whatever it is
// enough for elsewhere.
func TestADeviceNeedsWhatThePoliciesAskFor(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		b := w.browser()
		b.signIn(w.user)
		w.Must(w.Holder("acme", role.Owner), "PATCH", "acme", "/settings", map[string]any{"mfa": "required"})
		d := w.cli().device(t)
		page := d.asked(b)
		if strings.Contains(page.Body, `id="allow"`) || !strings.HasPrefix(page.Path, "/signin") {
			t.Fatalf("asked with one factor: %s %s", page.Path, page.Text())
		}
		flow := url.Values{"flow": {page.Path[strings.Index(page.Path, "flow=")+5:]}, "decision": {"allow"}}
		if a := b.Post("/signin/consent", flow); strings.Contains(a.Text(), "Your device is connected") {
			t.Errorf("allowed with one factor: %s", a.Text())
		}
		refusedWith(t, "with one factor", d.poll(), 400, "authorization_pending")
	})
}

// RFC 8628 §5.4, §5.5: another site can neither frame the pages nor answer for the person, and
// neither can another browser.
func TestOnlyThePersonAnswersADevice(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		d := w.cli().device(t)
		b := w.browser()
		b.signIn(w.user)
		question := d.asked(b)
		for name, a := range map[string]world.Answer{"code": b.Open("/device"), "question": question} {
			csp := a.Header.Get("Content-Security-Policy")
			if a.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(csp, "frame-ancestors 'none'") ||
				strings.Contains(a.Body, "<script") || strings.Contains(a.Body, "http-equiv") ||
				strings.Contains(a.Body, "autofocus id=\"allow\"") {
				t.Errorf("%s: %q %q %s", name, a.Header.Get("X-Frame-Options"), csp, a.Body)
			}
		}
		flow := url.Values{"flow": {question.Path[strings.Index(question.Path, "flow=")+5:]}, "decision": {"allow"}}
		r, _ := http.NewRequest(http.MethodPost, w.issuer+"/signin/consent", strings.NewReader(flow.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.example")
		if a := b.Send(r); a.Status != http.StatusForbidden {
			t.Errorf("from another site: %d %s", a.Status, a.Text())
		}
		other := w.browser()
		other.signIn(w.person("grace@example.com", "Grace", "Hopper"))
		if a := other.Post("/signin/consent", flow); a.Status < 400 {
			t.Errorf("from another browser: %d %s", a.Status, a.Text())
		}
		refusedWith(t, "after these", d.poll(), 400, "authorization_pending")
	})
}
