package pages_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/browser"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// challenge is a code challenge that nothing redeems (RFC 7636 §4.2).
var challenge = base64.RawURLEncoding.EncodeToString(make([]byte, 32))

// spy is a front-channel page that reports what it can learn from the page around it, and tries to
// lead it away.
const spy = `<!doctype html><title>spy</title><script>
const said = [];
const attempt = (what, f) => { try { const v = f(); if (v) said.push(what + '=' + v); } catch (e) { } };
attempt('referrer', () => document.referrer);
attempt('opener', () => window.opener);
attempt('name', () => window.name);
attempt('address', () => parent.location.href);
attempt('content', () => parent.document.body.innerHTML);
attempt('cookies', () => parent.document.cookie);
attempt('sibling', () => parent.frames[0] !== window && parent.frames[0].location.href);
attempt('popup', () => window.open('/popup'));
attempt('away', () => { top.location = '/away'; });
for (const a of location.ancestorOrigins || []) said.push('ancestor=' + a);
fetch('/said', { method: 'POST', body: document.cookie + '\n' + said.join('\n') });
</script>`

// A front-channel page gets its own cookies, and learns nothing of ours but the origin. Afterwards
// the browser returns to the application by itself.
func TestAFrameReadsNothing(t *testing.T) {
	h := build(world.OnSQLite(t), nil)
	said, back := make(chan string, 4), make(chan string, 4)
	client := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/callback":
			http.SetCookie(w, &http.Cookie{Name: "own", Value: "yes"})
		case "/front":
			said <- r.URL.RawQuery
			_, _ = io.WriteString(w, spy)
			return
		case "/said":
			b, _ := io.ReadAll(r.Body)
			said <- string(b)
			return
		case "/bye", "/popup", "/away":
			back <- r.URL.Path + "?" + r.URL.RawQuery
		}
		_, _ = io.WriteString(w, "<!doctype html><title>Billing</title>")
	}))
	defer client.Close()
	h.person("ada@acme.example")
	app := h.Client(h.c, application.New{Name: "Acme Billing", Type: application.SPA, FirstParty: true,
		RedirectURIs: []string{client.URL + "/callback"}, PostLogoutRedirectURIs: []string{client.URL + "/bye"},
		FrontchannelLogout: application.FrontchannelLogout{URI: client.URL + "/front", Session: true}})
	p := browser.Start(t).Page(browser.Options{Width: 390, Height: 844, Scale: 2})
	p.Goto(h.url + "/oauth2/authorize?" + url.Values{"client_id": {app.ClientID}, "scope": {"openid"},
		"redirect_uri": {client.URL + "/callback"}, "response_type": {"code"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}}.Encode())
	p.Fill("#username", "ada@acme.example")
	p.Fill("#password", password)
	p.Submit("button[type=submit]")
	p.Goto(h.url + "/oauth2/logout?" + url.Values{"client_id": {app.ClientID}, "state": {"s"},
		"post_logout_redirect_uri": {client.URL + "/bye"}}.Encode())
	p.Submit("#signout")
	next := func(from chan string) string {
		t.Helper()
		select {
		case s := <-from:
			return s
		case <-time.After(10 * time.Second):
			console, _ := p.Seen()
			t.Fatalf("nothing came; the browser is at %s; console: %v", p.URL(), console)
			return ""
		}
	}
	if q, err := url.ParseQuery(next(said)); err != nil || q.Get("iss") != h.url || len(q.Get("sid")) != 36 {
		t.Errorf("the frame's query is %v", q)
	}
	if got := next(said); got != "own=yes\nancestor="+h.Origin {
		t.Errorf("the frame learned:\n%s", got)
	}
	if got := next(back); got != "/bye?state=s" {
		t.Errorf("the browser went to %s", got)
	}
	if pictures := os.Getenv("GATEHOUSE_TEST_SCREENSHOTS"); pictures != "" {
		p.Screenshot(filepath.Join(pictures, "frames.png"))
	}
}
