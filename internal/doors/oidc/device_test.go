package oidc_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// device is a device that waits for its person.
type device struct {
	c              *client
	code, userCode string
}

// cli is an application that people sign in to on a device.
func (w *scene) cli() *client {
	w.T.Helper()
	return w.client(application.New{Name: "Kubectl", Type: application.Native, DeviceAuthorization: true,
		FirstParty: true, RedirectURIs: []string{}})
}

func (c *client) device(t testing.TB, kv ...string) device {
	t.Helper()
	if len(kv) == 0 {
		kv = []string{"scope", "openid offline_access"}
	}
	a := c.post("/oauth2/device_authorization", kv...)
	if a.Status != http.StatusOK {
		t.Fatalf("no device code: %d %s", a.Status, a.Body)
	}
	got := a.JSON(t)
	code, _ := got["device_code"].(string)
	shown, _ := got["user_code"].(string)
	if got["verification_uri"] != c.w.issuer+"/device" || got["expires_in"] != 600. || got["interval"] != 5. ||
		got["verification_uri_complete"] != c.w.issuer+"/device?user_code="+shown {
		t.Errorf("device authorization: %v", got)
	}
	return device{c, code, shown}
}

// poll asks for tokens.
func (d device) poll() world.Answer {
	return d.redeem()
}

func (d device) redeem(kv ...string) world.Answer {
	return d.c.post("/oauth2/token", append([]string{"grant_type", "urn:ietf:params:oauth:grant-type:device_code",
		"device_code", d.code}, kv...)...)
}

// asked leads the person's browser to the question whether the device may have access.
func (d device) asked(b *browser) world.Answer {
	d.c.w.T.Helper()
	return b.Fill(b.Open("/device?user_code="+d.userCode), "user_code", d.userCode)
}

func (d device) answered(t testing.TB, b *browser, decision string) {
	t.Helper()
	if a := b.Fill(d.asked(b), "decision", decision); !strings.HasPrefix(a.Path, "/device/done") {
		t.Fatalf("%s ends at %s: %s", decision, a.Path, a.Text())
	}
}

// RFC 8628 §3: the whole way of a device, and one redemption.
func TestADeviceGetsTokensOnceItsPersonAllowsIt(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		d := w.cli().device(t)
		refusedWith(t, "nobody answered", d.poll(), 400, "authorization_pending")
		refusedWith(t, "at once again", d.poll(), 400, "slow_down")
		w.Clock.Advance(6 * time.Second)
		refusedWith(t, "sooner than the longer interval", d.poll(), 400, "slow_down")
		w.Clock.Advance(15 * time.Second)
		refusedWith(t, "after the longer interval", d.poll(), 400, "authorization_pending")

		w.SetPassword(w.c, w.user)
		b := w.browser()
		page := d.asked(b)
		if !strings.HasPrefix(page.Path, "/signin") {
			t.Fatalf("not asked to sign in: %s %s", page.Path, page.Text())
		}
		page = b.Fill(page, "username", w.user.Email, "password", world.Password)
		for _, words := range []string{"Kubectl", d.userCode, "Allow this only if you started it yourself",
			"on a device in front of you", "Asked from", "127.0.0.1", "Go"} {
			if !strings.Contains(page.Text(), words) {
				t.Errorf("the question lacks %q: %s", words, page.Text())
			}
		}
		page = b.Fill(page, "decision", "allow")
		if !strings.Contains(page.Text(), "You can return to your device") {
			t.Errorf("at the end: %s", page.Text())
		}
		got := mustTokens(t, d.poll())
		id, _ := w.claims(t, got.ID, "JWT")
		if id["sub"] != w.user.ID.String() || id["acr"] != "aal1" || id["sid"] == nil || got.Refresh == "" ||
			got.Scope != "openid offline_access" {
			t.Errorf("ID token %v, answer %+v", id, got)
		}
		got = mustTokens(t, d.c.refresh(got.Refresh))
		if s := w.userinfo(got.Access).Status; s != http.StatusOK {
			t.Errorf("userinfo %d", s)
		}
		refusedWith(t, "the code again", d.poll(), 400, "invalid_grant")
		refusedWith(t, "what it gave", d.c.refresh(got.Refresh), 400, "invalid_grant")
		for _, action := range []string{"device.approve", "grant.create", "device.replay"} {
			if !slices.Contains(w.actions(), action) {
				t.Errorf("no audit event %s: %v", action, w.actions())
			}
		}
	})
}

func TestADeviceCodeHasOneRedeemer(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		d := w.cli().device(t)
		b := w.browser()
		b.signIn(w.user)
		d.answered(t, b, "allow")
		var wg sync.WaitGroup
		var mu sync.Mutex
		status := map[int]int{}
		for range 16 {
			wg.Go(func() {
				a := d.poll()
				mu.Lock()
				defer mu.Unlock()
				status[a.Status]++
			})
		}
		wg.Wait()
		if status[200] != 1 || status[400] != 15 {
			t.Errorf("answers: %v, want one 200", status)
		}
	})
}

// RFC 8628 §3.5, §5: what a device gets instead of tokens.
func TestADeviceGetsNothing(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c, other := w.cli(), w.cli()
		allowed := func(kv ...string) (device, *browser, session.Session) {
			d, b := c.device(t, kv...), w.browser()
			s := b.signIn(w.user)
			d.answered(t, b, "allow")
			return d, b, s
		}
		d, _, _ := allowed()
		stolen := d
		stolen.c = other
		refusedWith(t, "the code of another application", stolen.poll(), 400, "invalid_grant")
		mustTokens(t, d.poll()) // which lost nothing by that

		d, b, s := allowed("scope", "openid")
		b.Post("/signout", url.Values{})
		refusedWith(t, "the session ended since", d.poll(), 400, "invalid_grant")
		refusedWith(t, "the session ended since, again", d.poll(), 400, "invalid_grant")

		d, _, s = allowed()
		w.Do(w.c, func(tx *db.Tx) error { return session.Revoke(ctx, tx, s.ID, "test") })
		mustTokens(t, d.poll()) // offline_access outlives the session

		d, b = c.device(t), w.browser()
		b.signIn(w.user)
		d.answered(t, b, "deny")
		refusedWith(t, "the person did not allow it", d.poll(), 400, "access_denied")
		if a := d.asked(b); a.Status != 422 {
			t.Errorf("the same code a second time: %d %s", a.Status, a.Text())
		}

		d = c.device(t)
		w.Clock.Advance(10*time.Minute + time.Second)
		refusedWith(t, "too late", d.poll(), 400, "expired_token")
		if a := d.asked(w.browser()); a.Status != 422 {
			t.Errorf("a code that has expired: %d %s", a.Status, a.Text())
		}

		d, _, _ = allowed()
		w.Must(w.Holder("acme", role.Owner), "PATCH", "acme", "/users/"+w.user.ID.String(),
			map[string]any{"status": "locked"})
		refusedWith(t, "the user was locked since", d.poll(), 400, "invalid_grant")

		off := w.client(application.New{Type: application.Native})
		refusedWith(t, "not set up for it", off.post("/oauth2/device_authorization", "scope", "openid"), 400,
			"unauthorized_client")
		refusedWith(t, "no device code", c.post("/oauth2/token", "grant_type",
			"urn:ietf:params:oauth:grant-type:device_code"), 400, "invalid_request")
	})
}

// RFC 8628 §5.4: a link that an attacker sends fills in the code and does nothing else. Access is
// asked for each time, also for the tenant's own application and by a person who is signed in.
func TestALinkAllowsNoDevice(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		d := w.cli().device(t)
		b := w.browser()
		b.signIn(w.user)
		page := b.Open("/device?user_code=" + d.userCode)
		if page.Status != 200 || !strings.Contains(page.Body, `value="`+d.userCode+`"`) ||
			strings.Contains(page.Body, "<script") || !strings.Contains(page.Text(), "from another person") {
			t.Errorf("the page of the link: %d %s", page.Status, page.Body)
		}
		refusedWith(t, "after the link", d.poll(), 400, "authorization_pending")
		if page = d.asked(b); !strings.Contains(page.Body, `id="allow"`) || !strings.Contains(page.Body, `id="deny"`) {
			t.Fatalf("not asked: %s", page.Text())
		}
		w.Clock.Advance(20 * time.Second)
		refusedWith(t, "after the code", d.poll(), 400, "authorization_pending")
		// Two tabs with the question: one answer counts.
		second := d.asked(b)
		b.Fill(page, "decision", "allow")
		if a := b.Fill(second, "decision", "allow"); a.Status != http.StatusNotFound {
			t.Errorf("allowed twice: %d %s", a.Status, a.Text())
		}
		mustTokens(t, d.poll())

		// Codes as people type them.
		d = w.cli().device(t)
		typed := " " + strings.ToLower(strings.ReplaceAll(d.userCode, "-", " – ")) + " "
		page = b.Fill(b.Open("/device"), "user_code", typed)
		if !strings.Contains(page.Body, `id="allow"`) {
			t.Errorf("typed in another way: %s", page.Text())
		}
		// Another site cannot send the form.
		r, _ := http.NewRequest(http.MethodPost, w.issuer+"/device", strings.NewReader("user_code="+d.userCode))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.example")
		if a := b.Send(r); a.Status != http.StatusForbidden {
			t.Errorf("from another site: %d", a.Status)
		}
	})
}

// RFC 8628 §5.1: wrong codes are counted, for the browser, its network and its person.
func TestUserCodesCannotBeGuessed(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		d := w.cli().device(t)
		b := w.browser()
		guess := func(b *browser, code string) world.Answer {
			return b.Post("/device", url.Values{"user_code": {code}})
		}
		for i := range 20 {
			if a := guess(b, "BBBBBBB"+string("CDFG"[i%4])); a.Status != 422 {
				t.Fatalf("guess %d: %d", i, a.Status)
			}
		}
		if a := guess(b, d.userCode); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
			t.Errorf("the right code after 20 wrong ones: %d", a.Status)
		}
		for range 10 { // another browser at the same address
			guess(w.browser(), "CCCCCCCC")
		}
		if a := guess(w.browser(), d.userCode); a.Status != http.StatusTooManyRequests {
			t.Errorf("the right code from a network with 30 wrong ones: %d", a.Status)
		}
		w.Clock.Advance(2 * time.Minute)
		if a := guess(w.browser(), d.userCode); a.Status != http.StatusOK {
			t.Errorf("the right code two minutes later: %d %s", a.Status, a.Text())
		}
	})
}

// The tenant's own number of registrations is that of its requests of devices too.
func TestATenantLimitsRequestsOfDevices(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		w.Must(w.Holder("acme", role.Owner), "PATCH", "acme", "/settings",
			map[string]any{"registrations_per_address": 62})
		c := w.cli()
		for range 62 { // two more than by default
			c.device(t)
		}
		refusedWith(t, "the 63rd at once", c.post("/oauth2/device_authorization", "scope", "openid"), 429,
			"temporarily_unavailable")
	})
}

// The requests of devices are bounded: strangers know the client_id of a public client.
func TestRequestsOfDevicesAreBounded(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		c := w.cli()
		codes := map[string]bool{}
		for range 60 {
			codes[c.device(t).userCode] = true
		}
		if len(codes) != 60 {
			t.Errorf("%d different codes of 60", len(codes))
		}
		refusedWith(t, "the 61st at once", c.post("/oauth2/device_authorization", "scope", "openid"), 429,
			"temporarily_unavailable")
		w.Do(w.c, func(tx *db.Tx) error { // from other addresses
			for range 940 {
				if _, _, err := grant.RequestDevice(ctx, tx, c.ID, []string{"openid"}, nil); err != nil {
					return err
				}
			}
			_, _, err := grant.RequestDevice(ctx, tx, c.ID, []string{"openid"}, nil)
			if fault.Of(err) != fault.Limited {
				t.Errorf("the 1001st that waits: %v", err)
			}
			return nil
		})
		w.Clock.Advance(21 * time.Minute)
		w.Do(w.c, func(tx *db.Tx) error {
			for more := true; more; {
				var err error
				if more, err = grant.Purge(ctx, tx); err != nil {
					return err
				}
			}
			n, err := db.One(ctx, tx, db.Column[int64],
				`SELECT count(*) FROM device_authorizations WHERE tenant_id = $1`)
			if n != 0 {
				t.Errorf("%d requests are left", n)
			}
			return err
		})
	})
}
