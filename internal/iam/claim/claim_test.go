package claim

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
)

// Every claim of Core §5.1 that the directory has, and none without a value.
func TestProfile(t *testing.T) {
	full := user.User{UpdatedAt: time.Unix(7, 0), Profile: user.Profile{
		Email: "ada@example.com", EmailVerified: true, Username: "ada", GivenName: "Ada", MiddleName: "King",
		FamilyName: "Lovelace", Nickname: "Countess", Page: "https://example.com/ada",
		Picture: "https://example.com/ada.jpg", Website: "https://ada.example.com", Gender: "female",
		Birthdate: "1815-12-10", Zoneinfo: "Europe/London", Locale: "en-GB"}}
	want := map[string]any{
		"name": "Ada King Lovelace", "given_name": "Ada", "middle_name": "King", "family_name": "Lovelace",
		"nickname": "Countess", "preferred_username": "ada", "profile": "https://example.com/ada",
		"picture": "https://example.com/ada.jpg", "website": "https://ada.example.com", "gender": "female",
		"birthdate": "1815-12-10", "zoneinfo": "Europe/London", "locale": "en-GB", "updated_at": int64(7),
		"email": "ada@example.com", "email_verified": true,
	}
	if diff := cmp.Diff(want, profile(full)); diff != "" {
		t.Error(diff)
	}
	for _, name := range Names {
		if _, ok := want[name]; !ok && name != claimGroups && name != claimRoles {
			t.Errorf("discovery names %s, which nobody can have", name)
		}
	}
	if n := len(ofScope[ScopeProfile]); n != 14 {
		t.Errorf("the scope profile stands for %d claims, Core §5.4 has 14", n)
	}
	for name, c := range map[string]struct {
		user user.Profile
		want map[string]any
	}{
		"an address alone": {user.Profile{Email: "ada@example.com"}, map[string]any{"updated_at": int64(7),
			"preferred_username": "ada@example.com", "email": "ada@example.com", "email_verified": false}},
		"no address": {user.Profile{Username: "ada", EmailVerified: true},
			map[string]any{"updated_at": int64(7), "preferred_username": "ada"}},
	} {
		if diff := cmp.Diff(c.want, profile(user.User{UpdatedAt: time.Unix(7, 0), Profile: c.user})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What is read in which place, by the application's settings, its scopes and the claims parameter.
func TestWants(t *testing.T) {
	inIDToken, none := application.Claims{InIDToken: true}, application.Claims{}
	both := []string{"profile", "email"}
	wished := map[Place][]string{IDToken: {"email", "sub", "nonsense"}, Userinfo: {"nickname"}}
	for name, c := range map[string]struct {
		settings application.Claims
		allowed  []string
		ask      Ask
		at       Place
		want     []string
	}{
		"ID token":            {inIDToken, both, Ask{Scopes: []string{"openid", "email"}}, IDToken, ofScope["email"]},
		"strict":              {none, both, Ask{Scopes: both}, IDToken, nil},
		"userinfo":            {none, both, Ask{Scopes: []string{"email"}}, Userinfo, ofScope["email"]},
		"access":              {inIDToken, both, Ask{Scopes: both}, AccessToken, nil},
		"scope no longer had": {none, []string{"email"}, Ask{Scopes: both}, Userinfo, ofScope["email"]},
		"wished in the ID token": {none, []string{"email"}, Ask{Wished: wished}, IDToken,
			[]string{"email"}},
		"wished at userinfo": {none, []string{"profile"}, Ask{Wished: wished}, Userinfo,
			[]string{"nickname"}},
		"wished, scope no longer had": {none, []string{"openid"}, Ask{Wished: wished}, IDToken, nil},
	} {
		c.ask.Application = &application.Application{Claims: c.settings, Scopes: c.allowed}
		var got []string
		for n := range c.ask.wants(c.at) {
			got = append(got, n)
		}
		slices.Sort(got)
		if !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
