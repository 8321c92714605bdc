package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/logout"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
)

// Front-Channel Logout §2, §3: the browser that signs out loads a frame of each application of the
// session, once, and then returns to the one that asked.
func TestSigningOutLoadsFrames(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		asks := w.client(application.New{Name: "Asks", PostLogoutRedirectURIs: []string{afterLogout},
			FrontchannelLogout: application.FrontchannelLogout{URI: "https://app.example.com/front?a=1&b", Session: true}})
		plain := w.client(application.New{Name: "Plain",
			FrontchannelLogout: application.FrontchannelLogout{URI: "https://app.example.com/plain"}})
		w.client(application.New{Name: "Elsewhere",
			FrontchannelLogout: application.FrontchannelLogout{URI: "https://app.example.com/elsewhere"}})
		b, s, hint := asks.hinted(t)
		_, challenge := pkce()
		w.response(t, b.Visit(plain.authorizeURL(challenge)))

		a := b.Visit(w.logoutURL("id_token_hint", hint, "post_logout_redirect_uri", afterLogout, "state", "s"))
		to := a.Header.Get("Location")
		if !strings.HasPrefix(to, "/t/acme/signedout?ended=") {
			t.Fatalf("%d %s", a.Status, to)
		}
		to = w.Origin + to
		page := b.Visit(to)
		wants := []string{
			`src="https://app.example.com/front?a=1&amp;b&amp;` + strings.ReplaceAll(
				url.Values{"iss": {w.issuer}, "sid": {s.ID.String()}}.Encode(), "&", "&amp;") + `"`,
			`src="https://app.example.com/plain"`, `href="` + afterLogout + `?state=s"`,
			`sandbox="allow-scripts allow-same-origin" allow="" referrerpolicy="no-referrer"`,
		}
		for _, want := range wants {
			if !strings.Contains(page.Body, want) {
				t.Errorf("the page lacks %s", want)
			}
		}
		csp := page.Header.Get("Content-Security-Policy")
		if strings.Contains(page.Body, "elsewhere") || !strings.Contains(csp, "; frame-src https://app.example.com;") ||
			!strings.Contains(csp, "; script-src 'sha256-") || page.Header.Get("Referrer-Policy") != "no-referrer" ||
			page.Header.Get("Refresh") != "2; url="+afterLogout+"?state=s" {
			t.Errorf("page: %v\n%s", page.Header, page.Body)
		}

		// The address is worth nothing to others, nor for long.
		w.Clock.Advance(time.Minute)
		if page := w.browser().Visit(to); page.Status != http.StatusOK ||
			strings.Contains(page.Body, "app.example.com") ||
			strings.Contains(page.Header.Get("Content-Security-Policy"), "script-src") {
			t.Errorf("another browser: %d %s", page.Status, page.Body)
		}
		w.Clock.Advance(time.Minute + time.Second)
		if page := b.Visit(to); strings.Contains(page.Body, "app.example.com") {
			t.Error("the frames are loaded after two minutes")
		}

		found := w.events(audit.Filter{Action: "logout.notify"})
		if len(found) != 2 || !strings.Contains(string(found[0].Detail), `"front"`) {
			t.Errorf("%d events: %v", len(found), found)
		}
	})
}

// A session that ends elsewhere has no browser to load frames in. One without such applications
// returns at once, and so does a browser that confirms.
func TestSigningOutWithoutFrames(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		front := application.FrontchannelLogout{URI: "https://app.example.com/front"}
		c := w.client(application.New{FrontchannelLogout: front})
		_, s, _ := c.hinted(t)
		w.Do(w.c, func(tx *db.Tx) error { return logout.End(ctx, tx, s.ID, "operator") })
		if n := len(w.events(audit.Filter{Action: "logout.notify"})); n != 0 {
			t.Errorf("%d events of an end without a browser", n)
		}

		b, _, hint := c.hinted(t)
		w.disable(c)
		a := b.Visit(w.logoutURL("id_token_hint", hint))
		if to := a.Header.Get("Location"); to != "/t/acme/signedout" {
			t.Errorf("a disabled application: %s", to)
		}
	})
}

// The number of frames is bounded, and so is the address that the browser returns to.
func TestFramesAreBounded(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		b := w.browser()
		s := b.signIn(w.user)
		_, challenge := pkce()
		for range 22 {
			c := w.client(application.New{
				FrontchannelLogout: application.FrontchannelLogout{URI: "https://app.example.com/front"}})
			w.response(t, b.Visit(c.authorizeURL(challenge)))
		}
		w.Do(w.c, func(tx *db.Tx) error {
			if err := logout.EndHere(ctx, tx, s.ID); err != nil {
				return err
			}
			got, err := logout.Frames(ctx, tx, s.ID, w.issuer)
			if len(got) != 20 {
				t.Errorf("%d frames, want 20", len(got))
			}
			return err
		})
		c := w.client(application.New{PostLogoutRedirectURIs: []string{afterLogout}})
		a := b.Visit(w.logoutURL("client_id", c.ClientID, "post_logout_redirect_uri", afterLogout, "state",
			strings.Repeat("&", 3<<10))) // each is %26 in an address
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "oauth.state_too_long") {
			t.Errorf("a long state: %d", a.Status)
		}
	})
}
