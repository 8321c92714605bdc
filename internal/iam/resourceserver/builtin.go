package resourceserver

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/filter"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// Own is what the door of a built-in API asks of a token, and what its challenge names.
type Own struct {
	Path  string // below a base of the tenant; both are the identifier
	Scope string
}

// The built-in APIs.
var (
	Management = Own{"/api/v1", application.ScopeManage}
	Decision   = Own{"/access/v1", application.ScopeDecide}
	Userinfo   = Own{"/oauth2/userinfo", "openid"}
)

// builtIn are the APIs of every tenant that Gatehouse itself answers. An identifier here is only
// the path. Their ids come before those of all registered APIs.
var builtIn = []API{
	ours(1, Management, "Management API", "Manage users, applications and settings as far as your roles allow"),
	ours(2, Decision, "Decision API", "Ask what you may do"),
	ours(3, Userinfo, "Userinfo", "Know who you are"),
}

// ours returns a built-in API. An application may ask for it if it has the API's scope.
func ours(number byte, own Own, name, description string) API {
	return API{
		ID: id.ID{6: 0x70, 8: 0x80, 15: number}, Identifier: own.Path, BuiltIn: true,
		Profile: Profile{Name: name, Scopes: []Scope{{own.Scope, description}}, TokenProfile: RFC9068,
			SigningAlg: string(jose.ES256), Access: Any, Applications: []id.ID{}, Servers: []id.ID{}},
		CreatedAt: time.Unix(0, 0).UTC(), UpdatedAt: time.Unix(0, 0).UTC(),
	}
}

var errBuiltIn = fault.New(fault.Conflict, "api.built_in",
	"This API is built in. It can be neither changed nor deleted. Register an API of your own instead.")

// BuiltIn returns the built-in APIs as a base of the tenant names them.
func BuiltIn(base string) []API {
	out := make([]API, len(builtIn))
	for i, a := range builtIn {
		a.Identifier = base + a.Identifier
		out[i] = a
	}
	return out
}

// BuiltInAs returns the built-in API of which a grant has the name, or nil. A tenant may have
// several bases, so that name has Tenant instead of one: see NameOf.
func BuiltInAs(name, base string) *API {
	path, ok := strings.CutPrefix(name, Tenant)
	if !ok {
		return nil
	}
	for _, a := range BuiltIn(base) {
		if a.Identifier == base+path {
			return &a
		}
	}
	return nil
}

// EndsBuiltIn reports whether an address may be that of a built-in API.
func EndsBuiltIn(address string) bool {
	return slices.ContainsFunc(builtIn, func(a API) bool { return strings.HasSuffix(address, a.Identifier) })
}

// Named returns the API that a grant names: a built-in one as base has it, or what find returns.
// nil stands for the tenant itself, and so does an empty name.
func Named(name, base string, find func() (*API, error)) (*API, error) {
	if name == Tenant || name == "" {
		return nil, nil
	}
	if a := BuiltInAs(name, base); a != nil {
		return a, nil
	}
	return find()
}

// NameOf returns what a grant calls the tenant or a built-in API that has an address. isBase
// reports whether an address is a base of the tenant. NameOf returns false for any other address.
func NameOf(address string, isBase func(string) (bool, error)) (string, bool, error) {
	for _, a := range append([]API{{}}, builtIn...) { // first the tenant itself, without a path
		base, below := strings.CutSuffix(address, a.Identifier)
		if !below {
			continue
		}
		if is, err := isBase(base); err != nil || is {
			return Tenant + a.Identifier, is, err
		}
	}
	return "", false, nil
}

// builtInWith returns the built-in API with an id, as a base of the tenant names it, or nil.
func builtInWith(api id.ID, base string) *API {
	for _, a := range BuiltIn(base) {
		if a.ID == api {
			return &a
		}
	}
	return nil
}

// withBuiltIn puts the built-in APIs before a page of the registered ones. They have no attribute
// of a filter, so only callers who see every API see them.
func withBuiltIn(l page.List[API], shown filter.Filter, p page.Request, base string) page.List[API] {
	if !shown.ShowsAll() {
		return l
	}
	var items []API
	for _, a := range BuiltIn(base) {
		if compareIDs(a.ID, p.After) > 0 {
			items = append(items, a)
		}
	}
	if items == nil {
		return l
	}
	return page.Of(p, append(items, l.Items...), idOf)
}
