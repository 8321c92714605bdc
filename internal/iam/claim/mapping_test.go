package claim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// about returns what is said about a person with two groups and a role.
func about(mappings ...application.Mapping) *About {
	app := &application.Application{ID: id.New(), ClientID: "grafana", Name: "Grafana", Mappings: mappings}
	return &About{app: app, mappings: mappings, compile: cached,
		user: []user.User{{ID: id.New(), UpdatedAt: time.Unix(7, 0),
			Profile: user.Profile{Email: "ada@example.com", EmailVerified: true, GivenName: "Ada",
				FamilyName: "Lovelace",
				Attributes: map[string]any{"floor": 3.0, "badge": map[string]any{"color": "blue"}}}}},
		held: []holding{{name: "admins"}, {name: "billing"}, {role: true, name: "payer"}}}
}

// mapped returns the claims of a place about that person.
func mapped(at Place, wants []string, mappings ...application.Mapping) (*About, map[string]any) {
	a := about(mappings...)
	for p := range places {
		a.wants[p] = map[string]bool{}
		for _, name := range wants {
			a.wants[p][name] = true
		}
	}
	return a, a.Claims(at, "")
}

func in(claim, expression string, places ...string) application.Mapping {
	if places == nil {
		places = []string{application.InIDToken}
	}
	return application.Mapping{Claim: claim, Expression: expression, In: places}
}

// Each variable, each kind of value, and where the claim is told.
func TestMappings(t *testing.T) {
	for expression, want := range map[string]any{
		`"admins" in groups ? "Admin" : "Viewer"`: "Admin",
		`groups.map(g, "oidc:" + g)`:              []any{"oidc:admins", "oidc:billing"},
		`roles`:                                   []any{"payer"}, `size(group_ids)`: int64(2),
		`user.name`:             "Ada Lovelace",
		`user.email_verified`:   true,
		`user.attributes.floor`: 3.0, `user.attributes.badge.color`: "blue", `has(user.attributes.none)`: false,
		`application.client_id + "/" + application.name`: "grafana/Grafana", `null`: nil,
		`user.updated_at`: "1970-01-01T00:00:07Z",
		`{"x-hasura-default-role": "user", "x-hasura-allowed-roles": roles}`: map[string]any{
			"x-hasura-default-role": "user", "x-hasura-allowed-roles": []any{"payer"}},
	} {
		a, got := mapped(IDToken, nil, in("https://hasura.io/jwt/claims", expression))
		if diff := cmp.Diff(map[string]any{"https://hasura.io/jwt/claims": want}, got); diff != "" {
			t.Errorf("%s: %v %s", expression, a.Mapped()[0].Err, diff)
		}
	}
	if _, got := mapped(Userinfo, nil, in("role", `"x"`)); len(got) > 0 {
		t.Errorf("told in another place: %v", got)
	}
	if _, got := mapped(AccessToken, nil, in("role", `"x"`, application.InAccessToken)); got["role"] != "x" {
		t.Errorf("not told in the access token: %v", got)
	}
}

// A mapping replaces the claim of a scope. If it fails, neither is told, and other claims are.
func TestAMappingThatFailsHidesItsClaim(t *testing.T) {
	_, got := mapped(IDToken, []string{"groups", "email"}, in("groups", `groups.filter(g, g == "billing")`))
	if diff := cmp.Diff([]any{"billing"}, got["groups"]); diff != "" {
		t.Error(diff)
	}
	a, got := mapped(IDToken, []string{"groups", "email"}, in("groups", `[groups[7]]`), in("role", `"x"`),
		in("iss", `"https://evil.example"`))
	if _, told := got["groups"]; told || got["email"] != "ada@example.com" || got["role"] != "x" || got["iss"] != nil {
		t.Errorf("%v", got)
	}
	if m := a.Mapped(); m[0].Err == nil || m[1].Err != nil || m[2].Err == nil {
		t.Errorf("%v", m)
	}
}

// Nothing outside of the variables has a name. A mistake is told with its place.
func TestCompile(t *testing.T) {
	for expression, want := range map[string]string{
		`user.password`:          "line 1, column 5: undefined field 'password'",
		`user.password_hash`:     "undefined field",
		`user.totp`:              "undefined field",
		`"floor " + 3`:           "line 1, column 10: no such overload",
		`cel.bind(u, user, u.x)`: "no such field: x",
		`users`:                  "undeclared reference to 'users'",
		`P.attr.groups`:          "undeclared reference to 'P'",
		`request.principal.id`:   "undeclared reference to 'request'",
		`G`:                      "undeclared reference to 'G'",
		"groups.map(g,\n g + 1)": "line 2, column 4: no such overload",
		`application.secret`:     "undefined field 'secret'",
		`groups.map(`:            "line 1, column 12: Syntax error",
	} {
		err := Compile([]application.Mapping{in("a", "true"), in("b", "1"), in("c", expression)})
		f := fault.As(err)
		if len(f.Fields) != 1 || f.Fields[0].Name != "mappings[2].expression" ||
			!strings.Contains(f.Fields[0].Reason, want) {
			t.Errorf("%s: %v %v", expression, err, f.Fields)
		}
	}
	for _, right := range []string{`user.name`, `user.attributes.floor + 1.0`, `groups[7]`, `user.middle_name[0]`} {
		if err := Compile([]application.Mapping{in("a", right)}); err != nil {
			t.Errorf("%s: %v", right, err)
		}
	}
}

// What is only tried takes no place of what is saved.
func TestAPreviewIsNotCached(t *testing.T) {
	isCached := func(text string) bool {
		_, ok := expressions.Lookup(id.ID{}, text)
		return ok
	}
	tried, saved := in("a", `"tried"`), in("a", `"saved"`)
	if err := Compile([]application.Mapping{tried}); err != nil || isCached(tried.Expression) {
		t.Errorf("checked: %v", err)
	}
	a := about(tried)
	if p := a.preview(); p.Mappings[0].Value != "tried" || isCached(tried.Expression) {
		t.Errorf("previewed: %v", p)
	}
	if mapped(IDToken, nil, saved); !isCached(saved.Expression) {
		t.Error("what is saved is not cached")
	}
}

// The mappings of one token share a budget: many greedy ones cost no more than some, and come to
// nothing.
func TestGreedyMappingsShareABudget(t *testing.T) {
	var held []holding
	for i := range 500 {
		held = append(held, holding{name: fmt.Sprintf("group %d %s", i, strings.Repeat("x", 100))})
	}
	var mappings []application.Mapping
	for i := range 32 {
		mappings = append(mappings, in(fmt.Sprint("c", i),
			fmt.Sprintf(`groups.all(a, groups.all(b, a.size() >= %d))`, i)))
	}
	total := uint64(0)
	for _, m := range evaluate(mappings, factsOf(&application.Application{}, user.User{}, held), cached) {
		if total += m.Cost; m.Err == nil {
			t.Errorf("%s: %v", m.Claim, m.Value)
		}
	}
	if total > 300_000 {
		t.Errorf("cost %d", total)
	}
}
