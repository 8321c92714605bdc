package claim

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Place is where an application is told a claim.
type Place int

// The places. Introspection has what an access token has, and lists that are too long for one.
const (
	IDToken Place = iota
	Userinfo
	AccessToken
	Introspection
	places
)

// Scopes with claims.
const (
	ScopeProfile = "profile"
	ScopeEmail   = "email"
	ScopeGroups  = "groups"
	ScopeRoles   = "roles"
)

// ofScope maps scopes to the claims that they stand for (OpenID Connect Core §5.4).
var ofScope = map[string][]string{
	ScopeProfile: {"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at"},
	ScopeEmail:  {"email", "email_verified"},
	ScopeGroups: {claimGroups},
	ScopeRoles:  {claimRoles},
}

// Names are the claims about a person, in the order of discovery.
var Names = slices.Concat(ofScope[ScopeProfile], ofScope[ScopeEmail], ofScope[ScopeGroups], ofScope[ScopeRoles])

// scopeOf maps each claim to its scope.
var scopeOf = func() map[string]string {
	m := map[string]string{}
	for scope, names := range ofScope {
		for _, name := range names {
			m[name] = scope
		}
	}
	return m
}()

// ScopeOf returns the scope that stands for a claim. It is "" for a claim that is not one about a
// person.
func ScopeOf(claim string) string { return scopeOf[claim] }

// inPlace reports whether an application that has a scope is told its claims in a place. Groups and
// roles are for decisions, so they are everywhere. A profile is not for the services that see an
// access token.
func inPlace(app *application.Application, scope string, at Place) bool {
	switch {
	case scope == ScopeGroups, scope == ScopeRoles, at == Userinfo:
		return true
	case at == IDToken:
		return app.Claims.InIDToken
	}
	return false
}

// Ask says about whom an application asks, and for what.
type Ask struct {
	Application *application.Application
	User        id.ID
	Scopes      []string           // of the token
	Wished      map[Place][]string // claims that the claims parameter names (Core §5.5)
}

// wants returns the names of the claims for a place. A scope that the application may no longer
// have gives none.
func (a Ask) wants(at Place) map[string]bool {
	names := map[string]bool{}
	for _, scope := range a.Scopes {
		if a.Application.MayHave(scope) && inPlace(a.Application, scope, at) {
			for _, name := range ofScope[scope] {
				names[name] = true
			}
		}
	}
	for _, name := range a.Wished[at] {
		if a.Application.MayHave(scopeOf[name]) {
			names[name] = true
		}
	}
	return names
}

// About is what is said about a person. It is ready once the transaction of Read has ended.
type About struct {
	app   *application.Application
	wants [places]map[string]bool
	user  []user.User
	held  []holding

	mappings []application.Mapping // those of the places
	compile  func(text string) (*expression, error)
	mapped   []Mapped // nil until the first use
}

// Read defers the reading of the claims for some places.
func Read(tx *db.Tx, a Ask, at ...Place) *About {
	about := &About{app: a.Application, mappings: needed(a.Application.Mappings, at...), compile: cached}
	all := map[string]bool{}
	for _, p := range at {
		about.wants[p] = a.wants(p)
		maps.Copy(all, about.wants[p])
	}
	if all[claimGroups] || all[claimRoles] || len(about.mappings) > 0 {
		readHoldings(tx, &about.held, a.User)
	}
	delete(all, claimGroups)
	delete(all, claimRoles)
	if len(all) > 0 || len(about.mappings) > 0 {
		user.GetLater(tx, &about.user, a.User)
	}
	return about
}

// Claims returns the claims for one of the places of Read. userinfo is the address of userinfo,
// which has the lists that are too long for a token. It is "" if the token is not good there.
func (a *About) Claims(at Place, userinfo string) map[string]any {
	out := map[string]any{}
	if a == nil {
		return out
	}
	if len(a.user) > 0 {
		for name, value := range profile(a.user[0]) {
			if a.wants[at][name] {
				out[name] = value
			}
		}
	}
	a.addLists(out, at, userinfo)
	a.addMapped(out, at)
	return out
}

// profile returns the standard claims about u that have a value (Core §5.1).
func profile(u user.User) map[string]any {
	c := map[string]any{"updated_at": u.UpdatedAt.Unix()}
	for name, value := range map[string]string{
		"name": fullName(u), "given_name": u.GivenName, "family_name": u.FamilyName,
		"middle_name": u.MiddleName,
		"nickname":    u.Nickname, "preferred_username": cmp.Or(u.Username, u.Email), "profile": u.Page,
		"picture": u.Picture, "website": u.Website, "gender": u.Gender, "birthdate": u.Birthdate,
		"zoneinfo": u.Zoneinfo, "locale": u.Locale,
	} {
		if value != "" {
			c[name] = value
		}
	}
	if u.Email != "" {
		c["email"], c["email_verified"] = u.Email, u.EmailVerified
	}
	return c
}

// fullName joins the parts of the user's name that are not empty.
func fullName(u user.User) string {
	return strings.Join(slices.DeleteFunc([]string{u.GivenName, u.MiddleName, u.FamilyName},
		func(s string) bool { return s == "" }), " ")
}
