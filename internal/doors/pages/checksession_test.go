package pages_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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
			case "/stage":
				_, _ = io.WriteString(w, stage(t, h))
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
	hear := func() string {
		t.Helper()
		select {
		case got := <-said:
			return got
		case <-time.After(10 * time.Second):
			console, _ := p.Seen()
			t.Fatalf("the frame says nothing; console: %v", console)
		}
		return ""
	}
	ask := func(from *httptest.Server, message, want string) {
		t.Helper()
		p.Goto(from.URL + "/asker?" + url.Values{"frame": {h.url + "/oauth2/session"}, "ask": {message}}.Encode())
		if got := hear(); got != want {
			t.Errorf("the frame says %q, want %q", got, want)
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

	p.Goto(client.URL + "/stage")
	var got map[string]string
	if err := json.Unmarshal([]byte(hear()), &got); err != nil {
		t.Fatal(err)
	}
	for name, c := range staged {
		if got[name] != c.want {
			t.Errorf("%s: the frame answers %q, want %q", name, got[name], c.want)
		}
	}
}

// staged are messages to the frame's script in surroundings that no server on a loopback address
// has. The session_state is that of the application billing at https://app.example with the state
// "s". want is the answer and the origin that it is for, or "" for none.
var staged = map[string]struct {
	protocol, cookie, from, storage, message, want string
}{
	"https":                         {"https:", "a=b; __Secure-gh_browser_state=s", appOrigin, "yes", "", unchanged},
	"https, own domain":             {"https:", "__Host-gh_browser_state=s", appOrigin, "yes", "", unchanged},
	"https, a cookie of plain http": {"https:", "gh_browser_state=s", appOrigin, "yes", "", changed},
	"http":                          {"http:", "gh_browser_state=s", appOrigin, "yes", "", unchanged},
	"the second of two": {"http:", "gh_browser_state=x; gh_browser_state=s", appOrigin, "yes", "",
		unchanged},
	"the fifth": {"http:", strings.Repeat("gh_browser_state=x; ", 4) + "gh_browser_state=s", appOrigin, "yes", "",
		changed},
	"no cookie":                {"https:", "", appOrigin, "yes", "", changed},
	"no cookie, old browser":   {"https:", "", appOrigin, "", "", changed},
	"hidden cookies":           {"https:", "", appOrigin, "no", "", failed},
	"cookies in spite of that": {"https:", "__Host-gh_browser_state=s", appOrigin, "no", "", unchanged},
	"a window of a stranger": {"http:", "gh_browser_state=s", "https://evil.example", "yes", "",
		"changed https://evil.example"},
	"no origin":  {"http:", "gh_browser_state=s", "null", "yes", "", ""},
	"itself":     {"http:", "gh_browser_state=s", "itself", "yes", "", ""},
	"not a text": {"http:", "gh_browser_state=s", appOrigin, "yes", "list", failed},
	"long":       {"http:", "gh_browser_state=s", appOrigin, "yes", "long", failed},
}

const (
	appOrigin = "https://app.example"
	unchanged = "unchanged " + appOrigin
	changed   = "changed " + appOrigin
	failed    = "error " + appOrigin
)

// stage returns a page that runs the script of the frame once for each of staged, and reports the
// answers.
func stage(t *testing.T, h *house) string {
	page := h.Browser("acme").Open("/oauth2/session").Body
	_, script, _ := strings.Cut(page, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	state := func(client string) string {
		sum := sha256.Sum256([]byte(client + " " + appOrigin + " s salt"))
		return client + " " + base64.RawURLEncoding.EncodeToString(sum[:]) + ".salt"
	}
	scenes := map[string]any{}
	for name, c := range staged {
		var message any = state("billing")
		switch c.message {
		case "list":
			message = []any{message}
		case "long":
			message = state(strings.Repeat("x", 2000))
		}
		scenes[name] = map[string]any{"protocol": c.protocol, "cookie": c.cookie, "from": c.from,
			"storage": c.storage, "message": message,
			"answered": c.want != ""}
	}
	b, err := json.Marshal(map[string]any{"script": script, "scenes": scenes})
	if err != nil {
		t.Error(err)
	}
	return `<!doctype html><title>stage</title><script type="module">
const { script, scenes } = ` + string(b) + `, said = {};
const play = (name, s) => new Promise((answered) => {
  let listener;
  const document = { cookie: s.cookie, referrer: '` + appOrigin + `/' };
  if (s.storage) document.hasStorageAccess = async () => s.storage === 'yes';
  const self = { crypto }, location = { protocol: s.protocol, ancestorOrigins: ['` + appOrigin + `'] };
  new Function('location', 'document', 'window', 'addEventListener', script)(
    location, document, self, (_, fn) => { listener = fn; });
  self.postMessage = (text, to) => { said[name] = text + ' ' + to; answered(); };
  const own = s.from === 'itself';
  listener({ data: s.message, origin: own ? '` + appOrigin + `' : s.from,
    source: own ? self : { postMessage: self.postMessage } });
});
const all = Object.entries(scenes);
for (const [name, s] of all) if (!s.answered) play(name, s);
for (const [name, s] of all) if (s.answered) await play(name, s);
fetch('/said', { method: 'POST', body: JSON.stringify(said) });
</script>`
}
