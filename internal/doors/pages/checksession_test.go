package pages_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/browser"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// asker is a page of an application that asks our frame about a session_state, and reports what it
// said.
const asker = `<!doctype html><title>asker</title><iframe id="op" hidden></iframe><script>
const q = new URLSearchParams(location.search), op = document.getElementById('op');
addEventListener('message', (e) => {
  if (e.origin === new URL(q.get('frame')).origin) fetch('/said', { method: 'POST', body: e.data });
});
op.onload = () => op.contentWindow.postMessage(q.get('ask'), new URL(q.get('frame')).origin);
op.src = q.get('frame');
</script>`

// Session Management §3.2, in a browser across origins: the frame says whether the session that an
// application knows is still that of the browser. It says so to the application's own origin only.
func TestTheFrameComparesTheSession(t *testing.T) {
	h := build(world.OnSQLite(t), nil)
	said, answers := make(chan string, 4), make(chan url.Values, 4)
	serve := func() *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			switch r.URL.Path {
			case "/callback":
				answers <- r.URL.Query()
			case "/said":
				b, _ := io.ReadAll(r.Body)
				said <- string(b)
			case "/asker":
				_, _ = io.WriteString(w, asker)
			}
		}))
		t.Cleanup(s.Close)
		return s
	}
	client, stranger := serve(), serve()
	h.person("ada@acme.example")
	app := h.Client(h.c, application.New{Name: "Acme Billing", Type: application.SPA, FirstParty: true,
		RedirectURIs: []string{client.URL + "/callback"}})
	p := browser.Start(t).Page(browser.Options{})
	p.Goto(h.url + "/oauth2/authorize?" + url.Values{"client_id": {app.ClientID}, "scope": {"openid"},
		"redirect_uri": {client.URL + "/callback"}, "response_type": {"code"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}}.Encode())
	p.Fill("#username", "ada@acme.example")
	p.Fill("#password", password)
	p.Submit("button[type=submit]")
	known := app.ClientID + " " + (<-answers).Get("session_state")
	ask := func(from *httptest.Server, message, want string) {
		t.Helper()
		p.Goto(from.URL + "/asker?" + url.Values{"frame": {h.url + "/oauth2/session"}, "ask": {message}}.Encode())
		select {
		case got := <-said:
			if got != want {
				t.Errorf("the frame says %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			console, _ := p.Seen()
			t.Fatalf("the frame says nothing; console: %v", console)
		}
	}
	ask(client, known, "unchanged")
	ask(stranger, known, "changed")
	ask(client, "other"+known, "changed")
	for _, malformed := range []string{"", "x", app.ClientID + " x", known + " x", strings.Repeat("x", 2000)} {
		ask(client, malformed, "error")
	}
	p.Goto(h.url + "/account")
	p.Submit("#signout")
	ask(client, known, "changed")
}
