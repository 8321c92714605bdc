package pages_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/invitation"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// invite makes an invitation through the API, and returns its id and the path of its link.
func (h *house) invite(token string, body map[string]any) (string, string) {
	h.T.Helper()
	body["send"] = false
	made := h.Must(token, "POST", "acme", "/invitations", body)
	return made["id"].(string), strings.TrimPrefix(made["link"].(string), h.url)
}

// An invited person opens the mailed link and chooses a name and a password. The tenant asks for a
// second factor, then the person is signed in with the roles and groups of the invitation. Opening
// the link uses nothing, and the link works once.
func TestAnInvitedPersonBecomesAUser(t *testing.T) {
	strict := func(s *tenant.Settings) { s.MFA, s.Accent = tenant.MFARequired, "#aa0066" }
	both(t, strict, func(t *testing.T, h *house) {
		owner := h.Holder("acme", role.Owner)
		group := h.Must(owner, "POST", "acme", "/groups", map[string]any{"name": "Sales"})["id"].(string)
		made := h.Must(owner, "POST", "acme", "/invitations", map[string]any{"email": "ada@acme.example",
			"given_name": "Ada", "locale": "de-AT", "roles": []string{"auditor"}, "groups": []string{group}})
		if made["status"] != "pending" || made["link"] != nil || made["expires_at"] == nil {
			t.Errorf("the answer is %v", made)
		}
		sent := h.Work()
		link := h.linkIn(sent, "ada@acme.example")
		if m := sent[0]; m.Subject != "ada@acme.example ist zu Acme eingeladen" ||
			!strings.Contains(m.HTML, "#aa0066") {
			t.Errorf("the mail is %q, %s", m.Subject, m.HTML)
		}
		scanner, g := h.guest(), h.guest()
		scanner.Open(link)
		page := g.Open(link)
		says(t, page, 200, "Willkommen bei Acme")
		for _, shown := range []string{"ada@acme.example", `value="Ada"`, ">auditor<", ">Sales<"} {
			if !strings.Contains(page.Body, shown) {
				t.Errorf("the page does not show %s: %s", shown, page.Text())
			}
		}
		wrong := g.Fill(page, "given_name", "Ada", "family_name", "", "password", "short")
		says(t, wrong, 422, "Geben Sie Ihren Nachnamen ein.")
		enrol := g.Fill(page, "given_name", "Ada", "family_name", "Lovelace", "password", password)
		secret := enrol.Find(t, secretRE)
		if g.session() != nil {
			t.Error("there is a session before the second factor")
		}
		codes := g.Fill(enrol, "code", h.code(secret))
		codes.Find(t, codesRE)
		g.Open("/account")
		if g.session() == nil {
			t.Fatal("there is no session in the end")
		}
		got := h.Must(owner, "GET", "acme", "/invitations/"+made["id"].(string), nil)
		u := h.Must(owner, "GET", "acme", "/users/"+got["user_id"].(string), nil)
		if got["status"] != "accepted" || u["email_verified"] != true || u["status"] != "active" ||
			u["family_name"] != "Lovelace" || u["locale"] != "de-AT" {
			t.Errorf("the invitation is %v, the user %v", got, u)
		}
		roles := h.Must(owner, "GET", "acme", "/users/"+got["user_id"].(string)+"/roles", nil)["items"].([]any)
		members := h.Must(owner, "GET", "acme", "/groups/"+group+"/members", nil)["items"].([]any)
		if len(roles) != 1 || len(members) != 1 {
			t.Errorf("roles %v, members %v", roles, members)
		}
		says(t, h.guest().Open(link), 404, "Diese Einladung wurde bereits angenommen")
	})
}

// A link that cannot be accepted says why and what to do, in the person's language. Of 16 who send
// the form one wins.
func TestInvitationsThatCannotBeAccepted(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		owner := h.Holder("acme", role.Owner)
		withdrawn, link := h.invite(owner, map[string]any{"email": "a@acme.example"})
		h.Must(owner, "DELETE", "acme", "/invitations/"+withdrawn, nil)
		says(t, h.guest().Open(link), 404, "This invitation was withdrawn")

		_, replaced := h.invite(owner, map[string]any{"email": "b@acme.example"})
		resent, old := h.invite(owner, map[string]any{"email": "b@acme.example", "locale": "de"})
		says(t, h.guest().Open(replaced), 404, "If you got a newer email")
		fresh := h.Must(owner, "POST", "acme", "/invitations/"+resent+"/resend", map[string]any{"send": false})
		says(t, h.guest().Open(old), 404, "No open invitation has this link")
		path := strings.TrimPrefix(fresh["link"].(string), h.url)
		says(t, h.guest().Open(path), 200, "Sie sind eingeladen.")

		h.Tenant("globex", nil)
		if a := h.Browser("globex").Open(path); a.Status != 404 || strings.Contains(a.Body, "acme") {
			t.Errorf("another tenant answers %d %s", a.Status, a.Text())
		}

		_, path = h.invite(owner, map[string]any{"email": "c@acme.example"})
		form := h.guest().Open(path)
		h.person("c@acme.example")
		says(t, h.guest().Open(path), 409, "You have an account here already")
		says(t, h.guest().Fill(form, "given_name", "C", "family_name", "D", "password", password), 409,
			"You have an account here already")

		_, path = h.invite(owner, map[string]any{"email": "d@acme.example", "expires_in_seconds": 300})
		token, _ := url.ParseQuery(strings.TrimPrefix(path, invitation.Path+"?"))
		answers := make([]world.Answer, 16)
		h.Race(t, len(answers), func(i int) {
			answers[i] = h.guest().Post(invitation.Path, url.Values{"token": token["token"], "given_name": {"D"},
				"family_name": {"E"}, "password": {password}})
		})
		won := 0
		for _, a := range answers {
			if a.Status == 200 && strings.Contains(a.Path, "/account") {
				won++
			} else if a.Status != 404 && a.Status != 409 && a.Status != 429 && a.Status != 503 {
				t.Errorf("answer %d: %s", a.Status, a.Text())
			}
		}
		if won != 1 {
			t.Errorf("%d people accepted", won)
		}
		_, path = h.invite(owner, map[string]any{"email": "e@acme.example", "expires_in_seconds": 300})
		h.Clock.Advance(time.Hour)
		says(t, h.guest().Open(path), 404, "This invitation has expired")
	})
}

// The page and the mail name the person who invited.
func TestTheInviterIsNamed(t *testing.T) {
	h := build(world.OnSQLite(t), nil)
	olga := h.person("olga@acme.example")
	var link string
	c := h.c.As(caller.Actor{Kind: caller.User, ID: olga.ID, Tenant: h.c.Tenant, Name: olga.Login()})
	h.Do(c, func(tx *db.Tx) error {
		made, err := h.App.Tenants.ByID(ctx, h.c.Tenant)
		if err != nil {
			return err
		}
		_, link, err = invitation.Invite(ctx, tx, role.Everything(), invitation.Site{Tenant: made, Base: h.url}, nil,
			invitation.New{Email: "ada@acme.example"})
		return err
	})
	says(t, h.guest().Open(strings.TrimPrefix(link, h.url)), 200, "olga@acme.example invited you.")
}

// The API of invitations: what a row of a bulk gets, the list's filters, and whom it refuses.
func TestInvitationsByTheAPI(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		owner, manager := h.Holder("acme", role.Owner), h.Holder("acme", role.UserManager)
		h.person("is@acme.example")
		rows := []any{map[string]any{"email": "a@acme.example", "send": false}, map[string]any{"email": "nothing"},
			map[string]any{"email": "A@acme.example"}, map[string]any{"email": "is@acme.example"},
			map[string]any{"email": "b@acme.example", "roles": []string{"owner"}},
			map[string]any{"email": "c@acme.example"}}
		all := h.Must(manager, "POST", "acme", "/invitations/bulk", map[string]any{"invitations": rows})
		items := all["items"].([]any)
		want := []string{"", "invitation.invalid", "invitation.repeated", "invitation.user_exists",
			"role.beyond_own", ""}
		for i, item := range items {
			code := ""
			if e, ok := item.(map[string]any)["error"].(map[string]any); ok {
				code = e["code"].(string)
			}
			if code != want[i] || item.(map[string]any)["email"] != rows[i].(map[string]any)["email"] {
				t.Errorf("row %d: %v, want the code %q", i, item, want[i])
			}
		}
		if len(items) != len(rows) || items[0].(map[string]any)["invitation"].(map[string]any)["link"] == nil {
			t.Errorf("the rows are %v", items)
		}
		if sent := h.Work(); len(sent) != 1 || sent[0].To != "c@acme.example" {
			t.Errorf("%d mails: %+v", len(sent), sent)
		}
		listed := func(query string) []string {
			var out []string
			for _, item := range h.Must(owner, "GET", "acme", "/invitations"+query, nil)["items"].([]any) {
				out = append(out, item.(map[string]any)["email"].(string))
			}
			return out
		}
		h.invite(owner, map[string]any{"email": "olga@acme.example", "roles": []string{"owner"}})
		l := h.Must(owner, "GET", "acme", "/invitations?email=OLGA@acme.example", nil)
		olga := "/invitations/" + l["items"].([]any)[0].(map[string]any)["id"].(string)
		for _, call := range [][2]string{{"DELETE", ""}, {"POST", "/resend"}} {
			var body any
			if call[0] == "POST" {
				body = map[string]any{}
			}
			if a := h.Call(manager, call[0], "acme", olga+call[1], body); a.Status != 403 {
				t.Errorf("%s%s of an owner's invitation by a manager: %d", call[0], call[1], a.Status)
			}
		}
		h.Must(owner, "DELETE", "acme", olga, nil)
		if got := strings.Join(listed("?status=pending"), " "); got != "c@acme.example a@acme.example" {
			t.Errorf("pending: %s", got)
		}
		if got := strings.Join(listed("?status=withdrawn"), " "); got != "olga@acme.example" {
			t.Errorf("withdrawn: %s", got)
		}
		if got := listed("?status=expired"); len(got) != 0 {
			t.Errorf("expired: %v", got)
		}
		if a := h.Call(owner, "POST", "acme", olga+"/resend", map[string]any{}); a.Status != 409 {
			t.Errorf("a withdrawn invitation is sent again: %d", a.Status)
		}
		// Only a caller with user.create may vouch for an address.
		h.Must(owner, "POST", "acme", "/roles", map[string]any{"name": "host",
			"actions": []string{"invitation.create"}})
		host := h.Holder("acme", "host")
		if a := h.Call(host, "POST", "acme", "/invitations", map[string]any{"email": "x@acme.example",
			"send": false}); a.Status != 403 || !strings.Contains(a.Body, "user.create") {
			t.Errorf("a link for a caller without user.create: %d %s", a.Status, a.Body)
		}
		h.Must(host, "POST", "acme", "/invitations", map[string]any{"email": "x@acme.example"})
		if a := h.Call(owner, "GET", "acme", "/invitations/"+id.New().String(), nil); a.Status != 404 {
			t.Errorf("an unknown invitation: %d", a.Status)
		}
	})
}

// An operator onboards a tenant in one call: settings, domains, and the invitation of its owner,
// whom the link leads to the new tenant. A wrong field creates nothing.
func TestATenantIsOnboardedInOneCall(t *testing.T) {
	both(t, nil, func(t *testing.T, h *house) {
		operator := h.Operator()
		body := func(change map[string]any) map[string]any {
			all := map[string]any{"slug": "globex", "name": "Globex", "domains": []string{"login.globex.example"},
				"settings": map[string]any{"locale": "de"}, "owner": map[string]any{"email": "hank@globex.example"}}
			for k, v := range change {
				all[k] = v
			}
			return all
		}
		for name, tt := range map[string]struct {
			change map[string]any
			field  string
		}{
			"address":  {map[string]any{"owner": map[string]any{"email": "hank"}}, "owner.email"},
			"language": {map[string]any{"owner": map[string]any{"email": "h@g.eu", "locale": "!"}}, "owner.locale"},
			"domain":   {map[string]any{"domains": []string{"nothing"}}, "domains"},
			"setting":  {map[string]any{"settings": map[string]any{"accent": "red"}}, "settings.accent"},
		} {
			a := h.Call(operator, "POST", "platform", "/tenants", body(tt.change))
			if a.Status != 400 || !strings.Contains(a.Body, `"name":"`+tt.field+`"`) {
				t.Errorf("a wrong %s: %d %s", name, a.Status, a.Body)
			}
		}
		if sent := h.Work(); len(sent) != 0 {
			t.Errorf("the refused calls sent %+v", sent)
		}
		made := h.Must(operator, "POST", "platform", "/tenants", body(nil))
		owner := made["owner"].(map[string]any)
		if owner["status"] != "pending" || owner["link"] != nil || len(made["domains"].([]any)) != 1 {
			t.Errorf("the answer is %v", made)
		}
		sent := h.Work()
		if len(sent) != 1 || sent[0].To != "hank@globex.example" || !strings.Contains(sent[0].Subject, "Globex") ||
			!strings.Contains(sent[0].Subject, "eingeladen") {
			t.Fatalf("the mails are %+v", sent)
		}
		b := h.Browser("globex")
		form := b.Open(strings.TrimPrefix(linkRE.FindString(sent[0].Text), h.Base("globex")))
		says(t, form, 200, "Willkommen bei Globex")
		b.Fill(form, "given_name", "Hank", "family_name", "Scorpio", "password", password)
		says(t, b.Open("/account"), 200, "Hank")
		got := h.Must(operator, "GET", "globex", "/invitations/"+owner["id"].(string), nil)
		roles := h.Must(operator, "GET", "globex", "/users/"+got["user_id"].(string)+"/roles", nil)["items"].([]any)
		if len(roles) != 1 || roles[0].(map[string]any)["role"] != "owner" {
			t.Errorf("the owner's roles are %v", roles)
		}
		listed := h.Must(operator, "GET", "platform", "/tenants?search=GLOB&status=active&sort=-name", nil)
		if items := listed["items"].([]any); len(items) != 1 || items[0].(map[string]any)["slug"] != "globex" {
			t.Errorf("the list is %v", items)
		}
	})
}
