package pages_test

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pquerna/otp/totp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/mail"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

var ctx = context.Background()

const password = world.Password

// house is the world of the door's tests: the pages of the tenant acme.
type house struct {
	*world.World
	c   caller.Caller // in acme
	url string        // of the tenant's base
}

// both runs fn on each database with a tenant that has the settings given.
func both(t *testing.T, change func(*tenant.Settings), fn func(t *testing.T, h *house)) {
	t.Helper()
	world.Both(t, func(t *testing.T, w *world.World) { fn(t, build(w, change)) })
}

func build(w *world.World, change func(*tenant.Settings)) *house {
	return &house{w, w.Tenant("acme", change), w.Base("acme")}
}

// person creates an active user with the password.
func (h *house) person(email string) user.User {
	h.T.Helper()
	u := h.User(h.c, user.Profile{Email: email, GivenName: "Ada"})
	h.SetPassword(h.c, u)
	return u
}

var flowRE = regexp.MustCompile(`name="flow" value="([^"]*)"`)

var linkRE = regexp.MustCompile(`http://\S+`)

// linkIn is the path and query of the link in the only mail sent to an address.
func (h *house) linkIn(sent []mail.Message, to string) string {
	h.T.Helper()
	if len(sent) != 1 || sent[0].To != to {
		h.T.Fatalf("%d mails were sent, want one to %s: %+v", len(sent), to, sent)
	}
	return strings.TrimPrefix(linkRE.FindString(sent[0].Text), h.url)
}

// guest is a browser without JavaScript at the house.
type guest struct {
	*world.Browser
	h *house
}

func (h *house) guest() *guest { return &guest{h.Browser("acme"), h} }

var (
	secretRE = regexp.MustCompile(`id="totp-secret">([^<]*)<`)
	codesRE  = regexp.MustCompile(`<li><code>([^<]*)</code>`)
)

// session is what GET /account/session says: the session, or nil with the status 401.
func (g *guest) session() map[string]any {
	g.h.T.Helper()
	res, err := g.HTTP.Get(g.h.url + "/account/session")
	if err != nil {
		g.h.T.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var s map[string]any
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		g.h.T.Fatal(err)
	}
	switch res.StatusCode {
	case http.StatusOK:
		return s
	case http.StatusUnauthorized:
		return nil
	}
	g.h.T.Fatalf("GET /account/session answers %d: %v", res.StatusCode, s)
	return nil
}

// code is what an authenticator app with the page's key shows now.
func (h *house) code(key string) string {
	h.T.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(key, " ", ""), h.Clock.Now())
	if err != nil {
		h.T.Fatal(err)
	}
	return code
}

// says fails the test unless the page has the status and says the sentence.
func says(t testing.TB, a world.Answer, status int, sentence string) {
	t.Helper()
	if a.Status != status || !strings.Contains(a.Text(), sentence) {
		t.Errorf("%s answers %d, %q; want %d with %q", a.Path, a.Status, a.Text(), status, sentence)
	}
}
