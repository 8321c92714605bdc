package pdp_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/decision"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/testkit/world"
)

// people makes users of a tenant, each with a role or none, and returns their ids in the order of a
// search.
func (w *scene) people(c caller.Caller, named string, roles ...string) []string {
	var ids []string
	w.T.Helper()
	w.Do(c, func(tx *db.Tx) error {
		for i, name := range roles {
			u, err := user.Create(ctx, tx, user.Profile{Username: fmt.Sprintf("%s%d", named, i)})
			if err != nil {
				return err
			}
			if name != "" {
				if err := role.Assign(ctx, tx, everything, role.OfUser(u.ID), name, time.Time{}); err != nil {
					return err
				}
			}
			ids = append(ids, u.ID.String())
		}
		return nil
	})
	slices.Sort(ids)
	return ids
}

// found is an answer to a search.
type found struct {
	world.Answer
	names   []string // or ids
	next    string
	context map[string]any
}

func (w *scene) search(token, path, body string) found {
	w.T.Helper()
	f := found{Answer: w.post(token, path, body)}
	if f.Status != 200 {
		return f
	}
	m := f.JSON(w.T)
	page := m["page"].(map[string]any)
	f.next = page["next_token"].(string)
	f.context, _ = m["context"].(map[string]any)
	for _, r := range m["results"].([]any) {
		r := r.(map[string]any)
		if name, ok := r["name"].(string); ok {
			f.names = append(f.names, name)
		} else if f.names = append(f.names, r["id"].(string)); r["type"] != "user" {
			w.T.Errorf("a subject of the type %v", r["type"])
		}
	}
	if page["count"] != float64(len(f.names)) {
		w.T.Errorf("count %v of %d results", page["count"], len(f.names))
	}
	return f
}

const (
	subjects = "/t/acme/access/v1/search/subject"
	actions  = "/t/acme/access/v1/search/action"
)

// viewers asks who may view a leave request; page is the page's JSON, or "".
func viewers(page string) string {
	if page != "" {
		page = `,"page":` + page
	}
	return `{"subject":{"type":"user","properties":{"ip":"10.0.0.1"}},"action":{"name":"view"},` +
		`"resource":{"type":"leave_request","id":"L1"},"context":{"time":"now"}` + page + `}`
}

func TestSubjectSearch(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		ids := w.people(w.acme, "u", "auditor", "", "auditor", "auditor", "auditor", "admin", "auditor")
		twins := w.people(w.globex, "u", "auditor", "")
		app := w.machine(w.acme, application.FromDirectory)
		token := w.token(w.acme, app, application.ScopeDecide)
		evaluated := func(token, base, id string) bool {
			a := w.post(token, base+"/access/v1/evaluation",
				`{"subject":{"type":"user","id":"`+id+`"},"action":{"name":"view"},"resource":{"type":"leave_request","id":"L1"}}`)
			return a.JSON(t)["decision"] == true
		}
		may := func(ids []string) []string {
			var of []string
			for _, id := range ids {
				if evaluated(token, "/t/acme", id) {
					of = append(of, id)
				}
			}
			return of
		}
		want := may(ids)
		if len(want) != 5 {
			t.Fatalf("auditors: %v", want)
		}
		before := len(w.recorded.list)
		all := w.search(token, subjects, viewers(""))
		if diff := cmp.Diff(want, all.names); diff != "" || all.next != "" {
			t.Fatalf("who may view: %d %s %q %s", all.Status, all.Body, all.next, diff)
		}
		if !strings.HasPrefix(strings.ReplaceAll(all.Body, " ", ""), `{"page":{`) {
			t.Errorf("the page does not come first: %s", all.Body)
		}
		// One record for a page, with everybody who was asked about.
		made, by := w.recorded.last()
		if len(w.recorded.list) != before+1 || made.Kind != decision.Evaluation || len(made.Inputs) != len(ids) ||
			len(made.Outputs) != len(ids) || made.Revision != 7 || by.Actor.ID != app.ID {
			t.Errorf("%d records; the last by %+v: %s, %d inputs, revision %d", len(w.recorded.list)-before, by.Actor,
				made.Kind, len(made.Inputs), made.Revision)
		}
		p := made.Inputs[0].Principal
		ip := p.Attr["request"].GetStructValue().Fields["ip"].GetStringValue()
		if ip != "10.0.0.1" || p.Attr["kind"].GetStringValue() != "user" {
			t.Errorf("the principal: %v", p)
		}

		// A locked or deactivated user is not found, from that moment on.
		out := map[user.Status]string{user.Locked: want[0], user.Deactivated: want[1]}
		for status, text := range out {
			gone, err := id.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			w.Do(w.acme, func(tx *db.Tx) error {
				_, err := user.SetStatus(ctx, tx, role.KeepOwner, gone,
					status)
				return err
			})
		}
		if got := w.search(token, subjects, viewers("")); !slices.Equal(got.names, want[2:]) ||
			!slices.Equal(may(ids), want[2:]) {
			t.Errorf("locked and deactivated: %s", got.Body)
		}
		// A tenant has its own users.
		twin := w.token(w.globex, w.machine(w.globex, application.FromDirectory), application.ScopeDecide)
		got := w.search(twin, "/t/globex/access/v1/search/subject", viewers(""))
		if len(got.names) != 1 || !slices.Contains(twins, got.names[0]) || !evaluated(twin, "/t/globex", got.names[0]) {
			t.Errorf("globex: %d %s", got.Status, got.Body)
		}
		// What the request asserts of its subjects gives them no role.
		lie := strings.Replace(viewers(""), `"ip":"10.0.0.1"`, `"cerbos.roles":["auditor"],"roles":["auditor"]`, 1)
		if got := w.search(token, subjects, strings.Replace(lie, `"user",`, `"user","id":"`+want[3]+`",`,
			1)); !slices.Equal(got.names, want[2:]) {
			t.Errorf("with roles of its own: %d %s", got.Status, got.Body)
		}
	})
}

// The pages of a search are all of it, whatever their size.
func TestPagesOfSubjects(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		const users = 230
		roles := make([]string, users)
		for i := range roles {
			if i%9 == 8 || i > users-12 {
				roles[i] = "auditor"
			}
		}
		w.people(w.acme, "u", roles...)
		token := w.token(w.acme, w.machine(w.acme, application.FromDirectory), application.ScopeDecide)
		walk := func(first, then string) ([]string, int) {
			var all []string
			var pages int
			t.Helper()
			got := w.search(token, subjects, viewers(first))
			for pages = 1; pages < users; pages++ {
				if made, _ := w.recorded.last(); len(made.Inputs) > 100 {
					t.Errorf("a request asked about %d users", len(made.Inputs))
				}
				all = append(all, got.names...)
				if got.Status != 200 || got.next == "" {
					break
				}
				got = w.search(token, subjects, viewers(strings.Replace(then, "TOKEN", got.next, 1)))
			}
			if got.Status != 200 {
				t.Fatalf("page %d: %d %s", pages, got.Status, got.Body)
			}
			return all, pages
		}
		all, pages := walk("", `{"token":"TOKEN"}`)
		if len(all) < 30 || pages != 3 || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Fatalf("%d results in %d pages", len(all), pages)
		}
		for limit, then := range map[int]string{1: `{"token":"TOKEN"}`, 7: `{"token":"TOKEN","limit":7}`,
			100: `{"token":"TOKEN"}`, 1 << 40: `{"token":"TOKEN","limit":1099511627776}`} {
			got, _ := walk(fmt.Sprintf(`{"limit":%d}`, limit), then)
			if diff := cmp.Diff(all, got); diff != "" {
				t.Errorf("by %d: %s", limit, diff)
			}
		}
		if got := w.search(token, subjects, viewers(`{"limit":3}`)); !slices.Equal(got.names, all[:3]) {
			t.Errorf("three: %s", got.Body)
		}
		if got := w.search(token, subjects, viewers(`{"limit":0}`)); got.Status != 200 || len(got.names) != 0 ||
			got.next == "" {
			t.Errorf("none: %d %s", got.Status, got.Body)
		}
		// An empty page says that there are more.
		rare := strings.Replace(viewers(""), `"view"`, `"teleport"`, 1)
		if got := w.search(token, subjects, rare); got.Status != 200 || len(got.names) != 0 || got.next == "" {
			t.Errorf("a page of nobody: %d %s", got.Status, got.Body)
		}
	})
}

// A token goes on with the search that it came from and no other.
func TestTokensOfSearches(t *testing.T) {
	w := onSQLite(t)
	w.people(w.acme, "u", "auditor", "auditor", "auditor")
	w.people(w.globex, "u", "auditor", "auditor", "auditor")
	token := w.asking(application.FromDirectory)
	twin := w.token(w.globex, w.machine(w.globex, application.FromDirectory), application.ScopeDecide)
	first := w.search(token, subjects, viewers(`{"limit":1}`))
	theirs := w.search(twin, "/t/globex/access/v1/search/subject", viewers(`{"limit":1}`))
	ofActions := w.search(token, actions,
		`{"subject":{"type":"user","id":"`+first.names[0]+`"},"resource":{"type":"expense","id":"1"},`+
			`"context":{"gatehouse.namedActions":true},"page":{"limit":1}}`)
	for name, f := range map[string]found{"first": first, "theirs": theirs, "ofActions": ofActions} {
		if f.Status != 200 || f.next == "" {
			t.Fatalf("%s: %d %s", name, f.Status, f.Body)
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(first.next)
	if err != nil {
		t.Fatal(err)
	}
	again := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	version := slices.Clone(raw)
	version[0]++
	for name, c := range map[string]struct {
		page, change, to string
		status           int
	}{
		"as it was":             {`{"token":"` + first.next + `"}`, "", "", 200},
		"with its limit":        {`{"token":"` + first.next + `","limit":1}`, "", "", 200},
		"another limit":         {`{"token":"` + first.next + `","limit":2}`, "", "", 400},
		"another action":        {`{"token":"` + first.next + `"}`, `"view"`, `"edit"`, 400},
		"another resource":      {`{"token":"` + first.next + `"}`, `"L1"`, `"L2"`, 400},
		"another context":       {`{"token":"` + first.next + `"}`, `"now"`, `"then"`, 400},
		"other properties":      {`{"token":"` + first.next + `"}`, `10.0.0.1`, `10.0.0.2`, 400},
		"another tenant's":      {`{"token":"` + theirs.next + `"}`, "", "", 400},
		"of a search for acts":  {`{"token":"` + ofActions.next + `"}`, "", "", 400},
		"cut":                   {`{"token":"` + again(raw[:12]) + `"}`, "", "", 400},
		"without a position":    {`{"token":"` + again(raw[:19]) + `"}`, "", "", 200},
		"a position cut":        {`{"token":"` + again(raw[:25]) + `"}`, "", "", 400},
		"of a later version":    {`{"token":"` + again(version) + `"}`, "", "", 400},
		"nonsense":              {`{"token":"!"}`, "", "", 400},
		"a number":              {`{"token":7}`, "", "", 400},
		"no page":               {`null`, "", "", 200},
		"a page that is a list": {`[]`, "", "", 400},
		"a limit below zero":    {`{"limit":-1}`, "", "", 400},
		"a limit of a half":     {`{"limit":1.5}`, "", "", 400},
		"a limit in words":      {`{"limit":"many"}`, "", "", 400},
		"more of a page":        {`{"limit":2,"properties":{"sort":"id"}}`, "", "", 200},
	} {
		got := w.search(token, subjects, strings.Replace(viewers(c.page), c.change, c.to, 1))
		if got.Status != c.status || c.status == 400 && !strings.Contains(got.Body, "page") {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	// Of two searches that come to the same question, each has its own.
	same := w.search(token, subjects,
		`{"subject":{"type":"user"},"action":{"name":"-"},"resource":{"type":"expense","id":"1"},"page":{"limit":0}}`)
	if got := w.search(token, actions,
		`{"subject":{"type":"user","id":"-"},"resource":{"type":"expense","id":"1"},"page":{"token":"`+same.next+`"}}`); same.next == "" || got.Status != 400 {
		t.Errorf("a token of subjects, of the same question: %d %s", got.Status, got.Body)
	}
	if got := w.search(token, actions,
		`{"subject":{"type":"user","id":"`+first.names[0]+`"},"resource":{"type":"expense","id":"1"},`+
			`"page":{"token":"`+first.next+`"}}`); got.Status != 400 {
		t.Errorf("a token of subjects in a search for actions: %d %s", got.Status, got.Body)
	}
}

func TestWhoMaySearch(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		ada, hers := w.person("ada", nil, "admin")
		directory, asserted := w.asking(application.FromDirectory), w.asking(application.Asserted)
		foreign := w.token(w.globex, w.machine(w.globex, application.FromDirectory), application.ScopeDecide)
		of := func(id string) string {
			return `{"subject":{"type":"user","id":"` + id + `"},"resource":{"type":"leave_request","id":"L1"}}`
		}
		for name, c := range map[string]struct {
			token, path, body string
			status            int
			says              string
		}{
			"a user for others":               {hers, subjects, viewers(""), 403, "speaks of that user only"},
			"an application that asserts":     {asserted, subjects, viewers(""), 501, "principal_mode"},
			"an application of the directory": {directory, subjects, viewers(""), 200, "results"},
			"another tenant's":                {foreign, subjects, viewers(""), 401, ""},
			"nobody":                          {"", subjects, viewers(""), 401, ""},
			"another type of subject": {
				directory, subjects, strings.Replace(viewers(""), `"type":"user"`, `"type":"group"`, 1), 200,
				`"results":[]`,
			},
			"no subject": {
				directory, subjects, `{"action":{"name":"view"},"resource":{"type":"leave_request","id":"L1"}}`, 400,
				"subject: value is required",
			},
			"no action": {
				directory, subjects, `{"subject":{"type":"user"},"resource":{"type":"leave_request","id":"L1"}}`, 400,
				"action: value is required",
			},
			"no resource": {
				directory, subjects, `{"subject":{"type":"user"},"action":{"name":"view"}}`, 400,
				"resource: value is required",
			},
			"a resource of no id": {
				directory, subjects, strings.Replace(viewers(""), `,"id":"L1"`, "", 1), 400, "resource.id",
			},
			"nothing": {directory, subjects, ``, 400, "value is required"},
			"no JSON": {directory, subjects, `{"subject"`, 400, `"code":3`},
			"nesting": {
				directory, subjects, `{"page":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, 400,
				"nested deeper",
			},
			"resources": {
				directory, "/t/acme/access/v1/search/resource", `{}`, 501, "/api/plan/resources",
			},
			"resources of another tenant": {foreign, "/t/acme/access/v1/search/resource", `{}`, 401, ""},
			"actions, as another tenant":  {foreign, actions, of(ada.ID.String()), 401, ""},
			"actions of nobody": {
				directory, actions, `{"resource":{"type":"leave_request","id":"L1"}}`, 400,
				"subject: value is required",
			},
			"actions on nothing": {
				directory, actions, `{"subject":{"type":"user","id":"x"}}`, 400, "resource: value is required",
			},
		} {
			got := w.post(c.token, c.path, c.body)
			if got.Status != c.status || !strings.Contains(strings.ReplaceAll(got.Body, `": `, `":`), c.says) {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
		}
	})
}

func TestActionSearch(t *testing.T) {
	both(t, func(t *testing.T, w *scene) {
		ada, hers := w.person("ada", []string{"otp"}, "admin")
		abe, his := w.person("abe", nil, "auditor")
		kim, _ := w.person("kim", nil)
		eve, _ := w.person("eve", nil, "auditor")
		w.Do(w.acme, func(tx *db.Tx) error {
			_, err := user.SetStatus(ctx, tx, role.KeepOwner, eve.ID, user.Locked)
			return err
		})
		directory, asserted := w.asking(application.FromDirectory), w.asking(application.Asserted)
		const named = `"gatehouse.namedActions":true`
		for name, c := range map[string]struct {
			token, subject, resource, context string
			want                              []string
			open                              []any
			refused                           string // part of the sentence of a 501
		}{
			"an employee": {
				asserted, `{"type":"employee","id":"sam"}`,
				`{"type":"leave_request","id":"L1","properties":{"owner":"sam"}}`, ``,
				[]string{"divide", "edit", "view"}, nil, "",
			},
			"an employee, another's": {
				asserted, `{"type":"employee","id":"sam"}`,
				`{"type":"leave_request","id":"L1","properties":{"owner":"kim"}}`, ``, []string{"divide"}, nil, "",
			},
			"roles in the request": {
				asserted, `{"type":"x","id":"sam","properties":{"cerbos.roles":["auditor","employee"]}}`,
				`{"type":"leave_request","id":"L1"}`, ``, []string{"divide", "view"}, nil, "",
			},
			"from the directory": {
				directory, `{"type":"user","id":"` + kim.ID.String() + `","properties":{"cerbos.roles":["admin"]}}`,
				`{"type":"expense","id":"1"}`, ``, []string{"read", "submit"}, nil, "",
			},
			"somebody locked": {
				directory, `{"type":"user","id":"` + eve.ID.String() + `"}`, `{"type":"leave_request","id":"L1"}`, ``,
				nil, nil, "",
			},
			"somebody unknown": {
				directory, `{"type":"user","id":"nobody"}`, `{"type":"expense","id":"1"}`, ``, nil, nil, "",
			},
			"themselves": {
				hers, ``, `{"type":"leave_request","id":"L1"}`, ``, []string{"approve"}, nil, "",
			},
			"somebody else": {
				hers, `{"type":"user","id":"` + kim.ID.String() + `"}`, `{"type":"expense","id":"1"}`, ``, nil, nil,
				"",
			},
			"more than is named": {
				hers, ``, `{"type":"expense","id":"1"}`, ``, []string{"read", "submit"}, []any{"*", "read:*"}, "",
			},
			"more of a form": {
				his, ``, `{"type":"expense","id":"1"}`, ``, []string{"read", "submit"}, []any{"read:*"}, "",
			},
			"what is named, of a form": {
				directory, `{"type":"user","id":"` + abe.ID.String() + `"}`, `{"type":"expense","id":"1"}`, named,
				[]string{"read", "submit"}, []any{"read:*"}, "",
			},
			"a kind that nobody knows": {
				asserted, `{"type":"employee","id":"sam"}`, `{"type":"unheard_of","id":"1"}`, ``, nil, nil, "",
			},
			"a pattern out of the way": {
				asserted, `{"type":"employee","id":"sam"}`, `{"type":"odd","id":"1"}`, named, nil, nil, `\"v*w\"`,
			},
			"schemas for some actions": {
				asserted, `{"type":"employee","id":"sam"}`, `{"type":"form","id":"1"}`, ``, []string{"create"}, nil,
				"",
			},
			"schemas that have their say": {
				asserted, `{"type":"employee","id":"sam"}`, `{"type":"form","id":"1","properties":{"title":"t"}}`, ``,
				[]string{"create", "view"}, nil, "",
			},
			"another version": {
				asserted, `{"type":"employee","id":"sam"}`,
				`{"type":"expense","id":"1","properties":{"cerbos.policyVersion":"v9"}}`, ``, nil, nil, "",
			},
			"a kind of the base's policies": {
				asserted, `{"type":"employee","id":"sam"}`, `{"type":"gatehouse:user","id":"1"}`, ``, nil, nil, "",
			},
		} {
			body := `{"resource":` + c.resource + `,"context":{` + c.context + `}`
			if c.subject != "" {
				body += `,"subject":` + c.subject
			}
			got := w.search(c.token, actions, body+`}`)
			if c.refused != "" {
				if got.Status != 501 || !strings.Contains(got.Body, c.refused) ||
					!strings.Contains(got.Body, "/access/v1/evaluations") {
					t.Errorf("%s: %d %s", name, got.Status, got.Body)
				}
				continue
			}
			if open, _ := got.context["gatehouse.unnamedActions"].([]any); got.Status != 200 ||
				!slices.Equal(got.names, c.want) || !slices.Equal(open, c.open) || got.next != "" {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
			for _, action := range c.want { // what is found is allowed
				ask := body + `,"action":{"name":"` + action + `"}}`
				if a := w.post(c.token, "/t/acme/access/v1/evaluation", ask); a.JSON(t)["decision"] != true {
					t.Errorf("%s: %s is found and not allowed: %s", name, action, a.Body)
				}
			}
		}
		// The record has what policies name, and nothing of what was tried beside it.
		w.search(hers, actions, `{"resource":{"type":"expense","id":"1"},"context":{`+named+`}}`)
		made, by := w.recorded.last()
		if len(made.Inputs) != 1 || !slices.Equal(made.Inputs[0].Actions,
			[]string{"read", "read:secret", "shred", "submit"}) || len(made.Outputs) != 1 || made.Revision != 7 ||
			by.Actor.ID != ada.ID {
			t.Errorf("recorded by %+v, revision %d: %v", by.Actor, made.Revision, made.Inputs)
		}
		w.search(directory, actions, `{"subject":{"type":"user","id":"`+eve.ID.String()+`"},"resource":{"type":"expense","id":"1"}}`)
		if made, _ := w.recorded.last(); made.Reason != "principal.locked" || len(made.Outputs) != 1 {
			t.Errorf("recorded %+v", made)
		}
		// Page by page.
		ask := `{"subject":{"type":"employee","id":"sam"},"resource":{"type":"leave_request","id":"L1",` +
			`"properties":{"owner":"sam"}}`
		var all []string
		got := w.search(asserted, actions, ask+`,"page":{"limit":1}}`)
		for range 5 {
			if all = append(all, got.names...); got.next == "" {
				break
			}
			got = w.search(asserted, actions, ask+`,"page":{"token":"`+got.next+`"}}`)
		}
		if !slices.Equal(all, []string{"divide", "edit", "view"}) {
			t.Errorf("one by one: %v", all)
		}
		if got := w.search(asserted, actions, ask+`,"page":{"limit":0}}`); got.Status != 200 || len(got.names) != 0 ||
			got.next == "" {
			t.Errorf("none: %d %s", got.Status, got.Body)
		}
	})
}

// ahead says of actions what a later revision does.
type ahead struct{ pdpActions }

type pdpActions interface {
	Actions(ctx context.Context, c caller.Caller, kind string) (engine.Actions, error)
}

func (a ahead) Actions(ctx context.Context, c caller.Caller, kind string) (engine.Actions, error) {
	known, err := a.pdpActions.Actions(ctx, c, kind)
	known.Revision++
	return known, err
}

func TestSearchesThatCannotBe(t *testing.T) {
	w := onSQLite(t)
	token := w.asking(application.Asserted)
	const ask = `{"subject":{"type":"employee","id":"sam"},"resource":{"type":"leave_request","id":"L1"}}`
	known := w.App.PDP.Actions
	w.App.PDP.Actions = ahead{known}
	if got := w.search(token, actions, ask); got.Status != 503 {
		t.Errorf("policies that change: %d %s", got.Status, got.Body)
	}
}
