package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/testkit"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/process"
)

const (
	killRedirect = "http://127.0.0.1:9/callback"
	killPassword = "a password of usual length"
	killScope    = "openid offline_access"
)

// TestKill ends the server with SIGKILL in the middle of its work, again and again. What was
// acknowledged must be there after each restart, and what was revoked must stay revoked. What was
// not answered may go either way.
func TestKill(t *testing.T) {
	t.Parallel()
	const rounds = 5
	onBoth(t, func(t *testing.T, cfg process.Config) {
		cfg.Plain = false
		server := process.Start(t, cfg)
		w := newKillWorld(t, server)
		for round := range rounds {
			w.run(t, 40)
			server.Restart(t)
			w.verify(t, round)
			if t.Failed() {
				return
			}
		}
		w.verifyAudit(t)
		t.Logf("acknowledged and found again: %d users, %d sessions, %d refreshes, %d tokens, %d revocations",
			len(w.users), len(w.cookies), w.refreshes, len(w.issued), len(w.revoked))
	})
}

// killWorld remembers what the server has acknowledged.
type killWorld struct {
	server   *process.Server
	operator *process.Operator
	web      process.Application
	machine  process.Application
	email    string // of the user that signs in

	killed atomic.Bool
	acks   atomic.Int64

	mu        sync.Mutex
	users     map[string]string // id → email
	cookies   []string          // of sessions
	families  []string          // the newest acknowledged refresh token of each family
	refreshes int
	issued    []string // opaque access tokens, live
	revoked   []string // opaque access tokens, revoked
}

func newKillWorld(t *testing.T, server *process.Server) *killWorld {
	t.Helper()
	w := &killWorld{server: server, operator: server.Operator(), email: "ada@example.com", users: map[string]string{}}
	var tenant struct {
		Issuer string `json:"issuer"`
	}
	w.operator.MustCall(t, "POST", "platform", "/tenants", map[string]any{"slug": "acme", "name": "Acme"}, &tenant)
	type created struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	var web, machine created
	w.operator.MustCall(t, "POST", "acme", "/applications",
		map[string]any{"name": "web", "type": "web", "redirect_uris": []string{killRedirect},
			"first_party": true}, &web)
	w.operator.MustCall(t, "POST", "acme", "/applications",
		map[string]any{"name": "machine", "type": "machine", "access_token": "opaque"}, &machine)
	w.operator.MustCall(t, "POST", "acme", "/users", map[string]any{"email": w.email, "password": killPassword}, nil)
	w.web = process.Application{Issuer: tenant.Issuer, ClientID: web.ID, Secret: web.Secret, RedirectURI: killRedirect}
	w.machine = process.Application{Issuer: tenant.Issuer, ClientID: machine.ID, Secret: machine.Secret}
	for range 3 {
		tokens, err := process.NewVisitor().SignIn(w.web, w.email, killPassword, killScope)
		if err != nil {
			t.Fatal(err)
		}
		w.families = append(w.families, tokens.RefreshToken)
	}
	return w
}

// run puts load on the server until at least acks more writes are acknowledged. It kills the server
// at some moment after that, under load.
func (w *killWorld) run(t *testing.T, acks int64) {
	t.Helper()
	w.killed.Store(false)
	enough, sessions := w.acks.Load()+acks, w.sessions()+2
	var wait sync.WaitGroup
	worker := func(act func(i int) error) {
		wait.Go(func() {
			for i := 0; !w.killed.Load(); i++ {
				if err := act(i); err != nil {
					if !w.killed.Load() {
						t.Errorf("before the kill: %v", err)
					}
					return
				}
				w.acks.Add(1)
			}
		})
	}
	for range 2 {
		worker(w.createUser)
	}
	for i := range w.families {
		worker(func(int) error { return w.refresh(i) })
	}
	worker(w.token)
	worker(w.signIn)

	testkit.Eventually(t, "enough is acknowledged", func() bool {
		return w.acks.Load() >= enough && w.sessions() >= sessions || t.Failed()
	})
	// A kill comes at any moment of the load, so this is a pause of real time.
	time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	w.killed.Store(true)
	w.server.Kill()
	wait.Wait()
}

func (w *killWorld) sessions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.cookies)
}

func (w *killWorld) createUser(int) error {
	email := fmt.Sprintf("user%d@example.com", rand.Uint64())
	var created struct {
		ID string `json:"id"`
	}
	// The user has no password: this test is about the database, not the hash.
	if err := w.operator.Call("POST", "acme", "/users", map[string]any{"email": email}, &created); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[created.ID] = email
	return nil
}

func (w *killWorld) refresh(family int) error {
	w.mu.Lock()
	token := w.families[family]
	w.mu.Unlock()
	next, err := w.redeem(token)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.families[family] = next
	w.refreshes++
	return nil
}

func (w *killWorld) redeem(token string) (string, error) {
	var tokens process.Tokens
	err := process.PostForm(http.DefaultClient, w.web.Issuer+"/oauth2/token", w.web.ClientID, w.web.Secret,
		url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, &tokens)
	if err == nil && (tokens.RefreshToken == "" || tokens.RefreshToken == token) {
		err = errors.New("the refresh token was not rotated")
	}
	return tokens.RefreshToken, err
}

// token issues an opaque access token and revokes every other one.
func (w *killWorld) token(i int) error {
	var tokens process.Tokens
	if err := process.PostForm(http.DefaultClient, w.machine.Issuer+"/oauth2/token", w.machine.ClientID,
		w.machine.Secret,
		url.Values{"grant_type": {"client_credentials"}}, &tokens); err != nil {
		return err
	}
	if i%2 == 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.issued = append(w.issued, tokens.AccessToken)
		return nil
	}
	if err := process.PostForm(http.DefaultClient, w.machine.Issuer+"/oauth2/revoke", w.machine.ClientID,
		w.machine.Secret,
		url.Values{"token": {tokens.AccessToken}}, nil); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revoked = append(w.revoked, tokens.AccessToken)
	return nil
}

func (w *killWorld) signIn(int) error {
	v := process.NewVisitor()
	if _, err := v.SignIn(w.web, w.email, killPassword, killScope); err != nil {
		return err
	}
	at, err := url.Parse(w.web.Issuer + "/account/session")
	if err != nil {
		return err
	}
	var pairs []string
	for _, c := range v.HTTP.Jar.Cookies(at) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cookies = append(w.cookies, strings.Join(pairs, "; "))
	return nil
}

func (w *killWorld) verify(t *testing.T, round int) {
	t.Helper()
	for id, email := range w.users {
		var got struct {
			Email string `json:"email"`
		}
		if err := w.operator.Call("GET", "acme", "/users/"+id, nil, &got); err != nil || got.Email != email {
			t.Errorf("round %d: user %s (%s), acknowledged, is %q: %v", round, id, email, got.Email, err)
		}
	}
	for i, cookie := range w.cookies {
		if status, body := w.session(t, cookie); status != http.StatusOK {
			t.Errorf("round %d: session %d of %d, acknowledged, answers %d: %s", round, i, len(w.cookies), status, body)
		}
	}
	for i := range w.families {
		// The successor may exist although its answer was lost. The grace period returns the same
		// one again.
		if err := w.refresh(i); err != nil {
			t.Errorf("round %d: family %d does not go on from its last acknowledged refresh token: %v", round, i, err)
		}
	}
	for _, token := range w.issued {
		if !w.active(t, token) {
			t.Errorf("round %d: an acknowledged access token is gone", round)
		}
	}
	for _, token := range w.revoked {
		if w.active(t, token) {
			t.Errorf("round %d: a revoked access token is live again", round)
		}
	}
}

func (w *killWorld) session(t *testing.T, cookie string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", w.web.Issuer+"/account/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", cookie)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func (w *killWorld) active(t *testing.T, token string) bool {
	t.Helper()
	var answer struct {
		Active bool `json:"active"`
	}
	if err := process.PostForm(http.DefaultClient, w.machine.Issuer+"/oauth2/introspect", w.machine.ClientID,
		w.machine.Secret,
		url.Values{"token": {token}}, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Active
}

// verifyAudit finds the audit event of every acknowledged user. It was written in the same
// transaction.
func (w *killWorld) verifyAudit(t *testing.T) {
	t.Helper()
	missing := map[string]bool{}
	for id := range w.users {
		missing[id] = true
	}
	for cursor := ""; ; {
		var list struct {
			Items []struct {
				Action string `json:"action"`
				Target struct {
					ID string `json:"id"`
				} `json:"target"`
			} `json:"items"`
			Next string `json:"next_cursor"`
		}
		w.operator.MustCall(t, "GET", "acme",
			"/audit-events?limit=200&action=user.create&cursor="+url.QueryEscape(cursor), nil, &list)
		for _, e := range list.Items {
			delete(missing, e.Target.ID)
		}
		if cursor = list.Next; cursor == "" {
			break
		}
	}
	if len(missing) > 0 {
		t.Errorf("%d of %d acknowledged users have no audit event", len(missing), len(w.users))
	}
}
