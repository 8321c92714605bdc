package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// call sends a request of the app to the management API, as a page of the tenant's own site does.
func call(t *testing.T, w *world.World, b *world.Browser, method, slug, path, body string,
	header ...string) world.Answer {
	t.Helper()
	r := w.Request("", method, slug, "/api/v1"+path, "", strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method != http.MethodGet {
		r.Header.Set("Origin", w.Origin)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Del(header[i])
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return b.Send(r)
}

// enter signs a person in to the console of a tenant by its pages, and returns the browser.
func enter(t *testing.T, w *world.World, slug, login string) *world.Browser {
	t.Helper()
	b := w.Browser(slug)
	page := b.Open("/console/signin?return=" + url.QueryEscape("/users?status=locked"))
	if page.Status != http.StatusOK || !strings.Contains(page.Text(), "Gatehouse console") {
		t.Fatalf("the sign-in to the console: %d %s", page.Status, page.Text())
	}
	b.Fill(page, "username", login, "password", world.Password)
	if b.Cookie("console") == "" {
		t.Fatal("no cookie of the console")
	}
	return b
}

// A person signs in to the console by the tenant's own pages. Its calls carry the cookie, act as
// the person via the console, and end with whatever ends the person's session.
func TestConsoleSession(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := w.Tenant("acme", nil)
		globex := w.Tenant("globex", nil)
		ada := w.User(acme, user.Profile{Username: "ada"}, role.Admin)
		w.SetPassword(acme, ada)
		w.SetPassword(globex, w.User(globex, user.Profile{Username: "bob"}, role.Admin))

		b := enter(t, w, "acme", "ada")
		if a := call(t, w, b, "GET", "acme", "/users", ""); a.Status != http.StatusOK {
			t.Fatalf("a read: %d %s", a.Status, a.Body)
		}
		made := call(t, w, b, "POST", "acme", "/groups", `{"name":"Staff"}`)
		if made.Status != http.StatusCreated {
			t.Fatalf("a change: %d %s", made.Status, made.Body)
		}
		events := call(t, w, b, "GET", "acme", "/audit-events?action=group.create", "").JSON(t)["items"].([]any)
		actor := events[0].(map[string]any)["actor"].(map[string]any)
		if actor["id"] != ada.ID.String() || actor["via"] != "00000000-0000-7000-8000-000000000010" {
			t.Errorf("the actor of a change in the console: %v", actor)
		}

		t.Run("me", func(t *testing.T) {
			owner := w.Holder("acme", role.Owner)
			helpers := w.Must(owner, "POST", "acme", "/groups", map[string]any{"name": "Helpers"})["id"]
			group, err := id.Parse(helpers.(string))
			if err != nil {
				t.Fatal(err)
			}
			w.Must(owner, "POST", "acme", "/groups/"+group.String()+"/members", map[string]any{"user_id": ada.ID})
			w.Do(acme, func(tx *db.Tx) error {
				return role.Assign(t.Context(), tx, role.Everything(), role.OfGroup(group), role.Auditor, time.Time{})
			})
			m := call(t, w, b, "GET", "acme", "/me", "").JSON(t)
			roles := fmt.Sprint(m["roles"])
			if m["kind"] != "user" || m["id"] != ada.ID.String() || m["name"] != "ada" ||
				m["application_id"] != "00000000-0000-7000-8000-000000000010" ||
				m["session"].(map[string]any)["acr"] != "aal1" || m["user"].(map[string]any)["username"] != "ada" ||
				!strings.Contains(roles, "map[role:admin]") || !strings.Contains(roles, "name:Helpers") {
				t.Errorf("me: %v", m)
			}
		})
		t.Run("a role that is lost", func(t *testing.T) {
			assign := func(do func(tx *db.Tx) error) { t.Helper(); w.Do(acme, do) }
			assign(func(tx *db.Tx) error {
				return role.Revoke(t.Context(), tx, role.Everything(), role.OfUser(ada.ID), role.Admin)
			})
			if a := call(t, w, b, "POST", "acme", "/groups", `{"name":"Late"}`); a.Status != http.StatusForbidden {
				t.Errorf("the next call: %d %s", a.Status, a.Body)
			}
			assign(func(tx *db.Tx) error {
				return role.Assign(t.Context(), tx, role.Everything(), role.OfUser(ada.ID), role.Admin, time.Time{})
			})
			if a := call(t, w, b, "GET", "acme", "/users", ""); a.Status != http.StatusOK {
				t.Errorf("the role again: %d %s", a.Status, a.Body)
			}
		})
		t.Run("other proofs and other pages", func(t *testing.T) {
			const crossOrigin, evil = "request.cross_origin", "https://evil.example"
			for name, tt := range map[string]struct {
				method string
				header []string
				status int
				code   string
			}{
				"another site's read": {"GET", []string{"Sec-Fetch-Site", "cross-site"}, 403, crossOrigin},
				"a subdomain's read":  {"GET", []string{"Sec-Fetch-Site", "same-site"}, 403, crossOrigin},
				"another site's post": {"POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", evil}, 403,
					crossOrigin},
				"without a sender":       {"POST", []string{"Sec-Fetch-Site", "", "Origin", ""}, 403, crossOrigin},
				"with a bad token":       {"GET", []string{"Authorization", "Bearer nonsense"}, 401, "token.invalid"},
				"with another scheme":    {"GET", []string{"Authorization", "Basic YTpi"}, 401, "token.missing"},
				"an address in the bar":  {"GET", []string{"Sec-Fetch-Site", "none"}, 200, ""},
				"a browser without both": {"GET", []string{"Sec-Fetch-Site", ""}, 200, ""},
			} {
				body := ""
				if tt.method == "POST" {
					body = `{"name":"Stolen ` + name + `"}`
				}
				a := call(t, w, b, tt.method, "acme", "/groups", body, tt.header...)
				if a.Status != tt.status || tt.code != "" && a.JSON(t)["code"] != tt.code {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
				}
				if a.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: the answer is readable by other origins", name)
				}
			}
		})
		t.Run("elsewhere", func(t *testing.T) {
			thief := w.Browser("globex")
			thief.SetCookie("console", b.Cookie("console"))
			if a := call(t, w, thief, "GET", "globex", "/users", ""); a.Status != http.StatusUnauthorized ||
				a.JSON(t)["code"] != "session.none" || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("the cookie of acme at globex: %d %s", a.Status, a.Body)
			}
			swapped := w.Browser("acme")
			swapped.SetCookie("console", b.Cookie("session"))
			if a := call(t, w, swapped, "GET", "acme", "/users", ""); a.Status != http.StatusUnauthorized {
				t.Errorf("the cookie of the session as that of the console: %d", a.Status)
			}
			for _, path := range []string{"/oauth2/userinfo", "/account"} {
				only := w.Browser("acme")
				only.SetCookie("console", b.Cookie("console"))
				if a := only.Visit(w.Base("acme") + path); a.Status == http.StatusOK {
					t.Errorf("the cookie of the console opens %s", path)
				}
			}
		})
	})
}

// Whatever ends or replaces the person's session ends the console session.
func TestConsoleEndsWithTheSession(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := w.Tenant("acme", nil)
		operator := w.Operator()
		for i, end := range []struct {
			name string
			do   func(b *world.Browser, u user.User)
		}{
			{"sign-out", func(b *world.Browser, _ user.User) {
				if b.Post("/signout", url.Values{}); b.Cookie("console") != "" || b.Cookie("session") != "" {
					t.Error("the browser still has a cookie")
				}
			}},
			{"lock", func(_ *world.Browser, u user.User) {
				w.Must(operator, "PATCH", "acme", "/users/"+u.ID.String(), map[string]any{"status": "locked"})
			}},
			{"revoked by an operator", func(_ *world.Browser, u user.User) {
				all := w.Must(operator, "GET", "acme", "/sessions?user_id="+u.ID.String(), nil)["items"].([]any)
				w.Must(operator, "DELETE", "acme", "/sessions/"+all[0].(map[string]any)["id"].(string), nil)
			}},
			{"own change of the password", func(b *world.Browser, _ user.User) {
				a := b.FillForm(b.Open("/account/password"), "/account/password", "current_password", world.Password,
					"password", "another good password")
				if a.Status != http.StatusOK || !strings.Contains(a.Path, "done=") {
					t.Fatalf("change the password: %d %s", a.Status, a.Text())
				}
			}},
			{"tenant signed out", func(*world.Browser, user.User) {
				at := "/tenants/" + acme.Tenant.String()
				w.Must(operator, "PATCH", "platform", at, map[string]any{"status": "suspended", "sign_out": true})
				w.Must(operator, "PATCH", "platform", at, map[string]any{"status": "active"})
			}},
		} {
			login := "ada" + string(rune('a'+i))
			u := w.User(acme, user.Profile{Username: login}, role.Admin)
			w.SetPassword(acme, u)
			b := enter(t, w, "acme", login)
			cookie := b.Cookie("console")
			thief := w.Browser("acme")
			thief.SetCookie("console", cookie)
			if a := call(t, w, thief, "GET", "acme", "/users", ""); a.Status != http.StatusOK {
				t.Fatalf("%s: before: %d %s", end.name, a.Status, a.Body)
			}
			end.do(b, u)
			if a := call(t, w, thief, "GET", "acme", "/users", ""); a.Status != http.StatusUnauthorized ||
				a.JSON(t)["code"] != "session.none" {
				t.Errorf("%s: the cookie still opens the API: %d %s", end.name, a.Status, a.Body)
			}
		}
	})
}

// A session has one console session, however often its browser opens the console, and the audit log
// has the first.
func TestOneConsoleOfASession(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := w.Tenant("acme", nil)
		w.SetPassword(acme, w.User(acme, user.Profile{Username: "ada"}, role.Admin))
		b := enter(t, w, "acme", "ada")
		first := b.Cookie("console")
		if a := b.Visit(w.Base("acme") + "/console/signin?return=/users"); a.Location != "/t/acme/console/users" {
			t.Errorf("signed in already: %d to %s", a.Status, a.Location)
		}
		if b.Cookie("console") == first {
			t.Error("the token was not replaced")
		}
		old := w.Browser("acme")
		old.SetCookie("console", first)
		if a := call(t, w, old, "GET", "acme", "/users", ""); a.Status != http.StatusUnauthorized {
			t.Errorf("the replaced token: %d", a.Status)
		}
		events := call(t, w, b, "GET", "acme", "/audit-events?action=session.console", "").JSON(t)["items"].([]any)
		if len(events) != 1 {
			t.Errorf("%d audit events", len(events))
		}
		w.Do(acme, func(tx *db.Tx) error { // a session that has ended meanwhile opens none
			_, err := session.OpenConsole(t.Context(), tx, session.Session{ID: id.New()})
			if err == nil {
				t.Error("a console without a session")
			}
			return nil
		})
	})
}

// The rules of signing in hold at each call. They name the console by its id.
func TestConsoleAsksWhatTheTenantAsks(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := w.Tenant("acme", func(s *tenant.Settings) {
			s.SignIn.Sessions = []tenant.SignInLimit{{Applications: []string{application.ConsoleID.String()},
				IdleSeconds: 900}}
		})
		w.SetPassword(acme, w.User(acme, user.Profile{Username: "ada"}, role.Admin))
		b := enter(t, w, "acme", "ada")
		for range 3 { // each call is a visit
			w.Clock.Advance(14 * time.Minute)
			if a := call(t, w, b, "GET", "acme", "/users", ""); a.Status != http.StatusOK {
				t.Fatalf("within the limit: %d %s", a.Status, a.Body)
			}
		}
		w.Clock.Advance(16 * time.Minute)
		if a := call(t, w, b, "GET", "acme", "/users", ""); a.Status != http.StatusUnauthorized ||
			a.JSON(t)["code"] != "session.none" {
			t.Errorf("after the limit: %d %s", a.Status, a.Body)
		}
		page := b.Open("/console/signin?return=/users")
		if !strings.HasPrefix(page.Path, "/signin") {
			t.Fatalf("the console asks for no sign-in: %s", page.Path)
		}
		if a := b.Fill(page, "username", "ada", "password", world.Password); a.Path != "/console/users" {
			t.Errorf("signed in again: %s", a.Path)
		}
		if a := call(t, w, b, "GET", "acme", "/users", ""); a.Status != http.StatusOK {
			t.Errorf("signed in again: %d %s", a.Status, a.Body)
		}
		w.Must(w.Holder("acme", role.Owner), "PATCH", "acme", "/settings", map[string]any{"mfa": "required"})
		if a := call(t, w, b, "GET", "acme", "/users", ""); a.Status != http.StatusUnauthorized {
			t.Errorf("without the second factor that is required now: %d %s", a.Status, a.Body)
		}
		if a := b.Open("/console/signin"); !strings.Contains(a.Body, "/signin/enrol") {
			t.Errorf("the console asks for no second factor: %s", a.Text())
		}
	})
}

// A sign-in to the console counts once, and only in the browser that began it. So a link gives no
// person another one's console.
func TestASignInBelongsToItsBrowser(t *testing.T) {
	world.Both(t, func(t *testing.T, w *world.World) {
		acme := w.Tenant("acme", nil)
		for _, name := range []string{"mallory", "ada"} {
			w.SetPassword(acme, w.User(acme, user.Profile{Username: name}, role.Admin))
		}
		mallory, ada := w.Browser("acme"), w.Browser("acme")
		page := mallory.Open("/console/signin")
		_, flow, _ := strings.Cut(page.Path, "flow=")
		form := url.Values{"flow": {flow}, "username": {"mallory"}, "password": {world.Password}}
		r := w.Request("", "POST", "acme", "/signin/password", "application/x-www-form-urlencoded",
			strings.NewReader(form.Encode()))
		link := w.Origin + mallory.Send(r).Location
		if link != w.Base("acme")+"/console/continue?flow="+flow {
			t.Fatalf("the way back is %s", link)
		}
		ada.SignIn("ada")
		visit := func(b *world.Browser) (string, bool) {
			before := b.Cookie("console")
			a := b.Visit(link)
			return a.Location, b.Cookie("console") != before
		}
		if to, opened := visit(ada); to != "/t/acme/console/" || opened {
			t.Errorf("another browser: to %s, opened %t", to, opened)
		}
		if to, opened := visit(mallory); to != "/t/acme/console/" || !opened {
			t.Errorf("its own browser: to %s, opened %t", to, opened)
		}
		if left := mallory.Cookie("flow_" + flow); left != "" {
			t.Error("the browser still carries the flow")
		}
		if _, opened := visit(mallory); opened {
			t.Error("the sign-in counts twice")
		}
		if a := ada.Visit(w.Base("acme") + "/console/continue?flow=nonsense"); a.Location != "/t/acme/console/" {
			t.Errorf("no flow: %d to %q", a.Status, a.Location)
		}
	})
}
