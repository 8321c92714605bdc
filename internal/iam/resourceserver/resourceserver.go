package resourceserver

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
)

// Tenant stands for the tenant itself in the resources of a grant. A tenant may have several bases.
// No identifier of an API is a single word.
const Tenant = "issuer"

// API is a service that accepts access tokens of the tenant. Values from a Directory are shared: do
// not change them.
type API struct {
	ID         id.ID  `json:"id" always:"true" format:"uuid"`
	Identifier string `json:"identifier" always:"true" doc:"The audience of its tokens, and what a request names as resource (RFC 8707). It never changes."`
	BuiltIn    bool   `json:"built_in" always:"true" doc:"Gatehouse itself answers at this API. It cannot be changed or deleted. Its tokens are opaque for an application whose access_token is opaque."`
	Profile
	CreatedAt time.Time `json:"created_at" always:"true"`
	UpdatedAt time.Time `json:"updated_at" always:"true"`
}

// Profile is what the management API can edit of an API. limit is the maximum length in a request,
// in characters.
type Profile struct {
	Name         string  `json:"name" minLength:"1" limit:"100" doc:"People see it when an application asks for access." example:"Invoices"`
	Scopes       []Scope `json:"scopes" maxItems:"100" doc:"What a token may allow there. Names are unique within the API."`
	TokenProfile string  `json:"token_profile" enum:"at+jwt,jwt,opaque" doc:"at+jwt (default): RFC 9068. jwt: the same claims with the type JWT, for services that refuse at+jwt. opaque: the service asks by introspection, and revocation is immediate."`
	TokenSeconds int64   `json:"token_seconds" minimum:"0" maximum:"86400" doc:"Lifetime of its access tokens, 60 to 86400. 0 (default): that of the application."`
	SigningAlg   string  `json:"signing_alg" enum:"ES256,RS256,EdDSA" doc:"Of its JWTs. Default ES256, which also signs until clients can have a new key of EdDSA."`
	Access       string  `json:"access" enum:"any,listed" doc:"any (default): an application may ask if one of its scopes is the API's. listed: if applications names it. Its own scopes limit its tokens in both cases."`
	ACR          string  `json:"acr" enum:",aal2" doc:"How strongly people must have signed in for a token. aal2: with two factors. Empty (default): as the tenant asks."`
	MaxAge       int64   `json:"max_age_seconds" minimum:"0" maximum:"31536000" doc:"How long ago people may have signed in for a token, 60 to 31536000 seconds. Later a refresh is refused, and the application sends the person again. 0 (default): any time."`
	Applications []id.ID `json:"applications" maxItems:"200" doc:"The ids of the applications that may ask, if access is listed."`
	Servers      []id.ID `json:"servers" maxItems:"20" doc:"The ids of the applications that are this API. They may introspect its tokens. Adding one sets its inspects_tenant_tokens to false."`
}

// Scope is one thing that a token may allow at an API.
type Scope struct {
	Name        string `json:"name" maxLength:"100" example:"invoices:read"`
	Description string `json:"description,omitempty" maxLength:"200" doc:"What it allows, as people read it when an application asks for it." example:"See your invoices"`
}

// The token profiles.
const (
	RFC9068 = "at+jwt"
	JWT     = "jwt"
	Opaque  = "opaque"
)

// Who may ask for tokens.
const (
	Any    = "any"
	Listed = "listed"
)

// Limits of a tenant and of one API.
const (
	maxAPIs         = 1_000 // of a tenant
	maxIdentifier   = 255   // bytes
	maxName         = 100   // code points
	maxScopes       = 100
	maxDescription  = 200 // code points
	maxApplications = 200
	maxServers      = 20
	minSeconds      = 60
)

// Lifetime returns the lifetime of a token of the API for an application.
func (a *API) Lifetime(app *application.Application) time.Duration {
	if a.TokenSeconds == 0 {
		return app.Lifetimes.AccessToken
	}
	return time.Duration(a.TokenSeconds) * time.Second
}

// Has reports whether a scope is one of the API's.
func (a *API) Has(scope string) bool {
	return slices.ContainsFunc(a.Scopes, func(s Scope) bool { return s.Name == scope })
}

// Admits reports whether an application may ask for tokens of the API.
func (a *API) Admits(app *application.Application) bool {
	if a.Access == Listed {
		return slices.Contains(a.Applications, app.ID)
	}
	return slices.ContainsFunc(a.Scopes, func(s Scope) bool {
		return app.MayHave(s.Name) && (s.Name != Userinfo.Scope || app.Type != application.Machine)
	})
}

// aboutPeople are the scopes about the person. They go with every API, and no API has them.
var aboutPeople = []string{"openid", "profile", "email", "phone", "address", "offline_access", "groups", "roles"}

// AboutPeople reports whether a scope is about the person, such as openid. No API has such a scope,
// and a token of every API may have it.
func AboutPeople(scope string) bool { return slices.Contains(aboutPeople, scope) }

// Consents returns what a person must allow for a request of scopes at APIs: each scope of each API
// by its own. The same word means another thing at another API. nil among apis stands for the
// tenant itself, as does a request without any.
func Consents(apis []*API, scopes []string) []string {
	if len(apis) == 0 {
		return slices.Clone(scopes)
	}
	var out []string
	for _, s := range scopes {
		if AboutPeople(s) || slices.Contains(apis, nil) {
			out = append(out, s)
		}
	}
	for _, a := range apis {
		if a == nil {
			continue
		}
		before := len(out)
		for _, s := range scopes {
			switch {
			case !a.Has(s):
			case !a.BuiltIn:
				out = append(out, ConsentTo(a.Identifier, s))
			case !slices.Contains(out, s): // it means the same for the tenant itself
				out = append(out, s)
			}
		}
		if len(out) == before && !a.BuiltIn {
			out = append(out, ConsentTo(a.Identifier, ""))
		}
	}
	return out
}

// ConsentTo returns the name under which a person's consent to a scope of an API is stored. An
// empty scope stands for the API without any. No identifier has a "#".
func ConsentTo(identifier, scope string) string { return identifier + "#" + scope }

// Consented splits a name that ConsentTo made. It returns false for any other scope.
func Consented(name string) (string, string, bool) { return strings.Cut(name, "#") }

func (a *API) target() audit.Target {
	return audit.Target{Kind: "api", ID: a.ID.String(), Name: a.Name}
}

// Faults of this package.
var (
	ErrNotFound        = fault.New(fault.NotFound, "api.not_found", "There is no API with this id.")
	ErrIdentifierTaken = fault.New(fault.Conflict, "api.identifier_taken",
		"Another API of this tenant has this identifier.")
	errTooMany = fault.New(fault.Limited, "api.too_many",
		"The tenant has %d APIs, which is the limit. Delete one first.", maxAPIs)
)

// ValidIdentifier reports whether s has the form of an identifier: an absolute URI without a
// fragment (RFC 8707 §2, RFC 3986 §4.3).
func ValidIdentifier(s string) bool {
	if len(s) > maxIdentifier || strings.ContainsFunc(s, outsideOfURI) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.User != nil {
		return false
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Hostname() != ""
	}
	return u.Opaque != "" || u.Host != "" || u.Path != ""
}

// outsideOfURI reports whether no URI without a fragment has the character (RFC 3986 §2).
func outsideOfURI(r rune) bool {
	const marks = "-._~:/?[]@!$&'()*+,;=%"
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune(marks, r)
}

// normalise cleans p in place and sets what is missing. It fails with a fault that names every
// wrong field.
func (p *Profile) normalise() error {
	var wrong fault.Fields
	p.Name = clean(p.Name)
	if p.Name == "" {
		wrong.Add("name", "An API needs a name. People see it when an application asks for access.")
	} else if !fits(p.Name, maxName) {
		wrong.Add("name", "Use at most %d characters and no line breaks.", maxName)
	}
	p.normaliseTokens(&wrong)
	p.normaliseScopes(&wrong)
	p.normaliseAccess(&wrong)
	p.checkDemand(&wrong)
	return wrong.Err("api.invalid")
}

func (p *Profile) normaliseTokens(wrong *fault.Fields) {
	switch p.TokenProfile {
	case "":
		p.TokenProfile = RFC9068
	case RFC9068, JWT, Opaque:
	default:
		wrong.Add("token_profile", "The token profile must be one of: at+jwt, jwt, opaque.")
	}
	switch p.SigningAlg {
	case "":
		p.SigningAlg = string(jose.ES256)
	case string(jose.ES256), string(jose.RS256), string(jose.EdDSA):
	default:
		wrong.Add("signing_alg", "Access tokens are signed with ES256, RS256 or EdDSA.")
	}
	longest := int64(application.MaxTokenLifetime / time.Second)
	if p.TokenSeconds != 0 && (p.TokenSeconds < minSeconds || p.TokenSeconds > longest) {
		wrong.Add("token_seconds", "This must be from %d to %d seconds, or 0 for the application's.", minSeconds,
			longest)
	}
}

func (p *Profile) normaliseScopes(wrong *fault.Fields) {
	if p.Scopes == nil {
		p.Scopes = []Scope{}
	}
	if len(p.Scopes) > maxScopes {
		wrong.Add("scopes", "There may be at most %d.", maxScopes)
		return
	}
	seen := make(map[string]bool, len(p.Scopes))
	for i := range p.Scopes {
		s, field := &p.Scopes[i], fmt.Sprintf("scopes[%d]", i)
		s.Description = clean(s.Description)
		switch {
		case !application.ValidScope(s.Name):
			wrong.Add(field+".name", "A scope has 1 to 100 letters, digits, colons, dots, slashes, hyphens or "+
				"underscores.")
		case application.ReservedScope(s.Name):
			wrong.Add(field+".name", "Scopes that begin with gatehouse: are Gatehouse's own. Choose another name.")
		case AboutPeople(s.Name):
			wrong.Add(field+".name", "The scope %s is about the person and goes with every API. Choose another name.",
				s.Name)
		case seen[s.Name]:
			wrong.Add(field+".name", "This is already in the list.")
		case !fits(s.Description, maxDescription):
			wrong.Add(field+".description", "Use at most %d characters and no line breaks.", maxDescription)
		}
		seen[s.Name] = true
	}
}

func (p *Profile) normaliseAccess(wrong *fault.Fields) {
	if p.Access == "" {
		p.Access = Any
	}
	for _, l := range []struct {
		name  string
		ids   *[]id.ID
		limit int
	}{{"applications", &p.Applications, maxApplications}, {"servers", &p.Servers, maxServers}} {
		*l.ids = slices.CompactFunc(slices.SortedFunc(slices.Values(*l.ids), compareIDs),
			func(a, b id.ID) bool { return a == b })
		if *l.ids == nil {
			*l.ids = []id.ID{}
		}
		if len(*l.ids) > l.limit {
			wrong.Add(l.name, "There may be at most %d.", l.limit)
		}
	}
	switch {
	case p.Access != Any && p.Access != Listed:
		wrong.Add("access", "The access must be any or listed.")
	case p.Access == Any && len(p.Applications) > 0:
		wrong.Add("applications", "The list counts only if access is listed. Set access to listed, or empty the list.")
	case p.Access == Any && len(p.Scopes) == 0:
		wrong.Add("scopes", "Applications ask for this API by its scopes, so it needs at least one. "+
			"Or set access to listed and list the applications that may ask.")
	}
}

func compareIDs(a, b id.ID) int { return slices.Compare(a[:], b[:]) }

func clean(s string) string {
	return strings.TrimSpace(norm.NFC.String(strings.ToValidUTF8(s, "\x00")))
}

// fits reports whether s has at most limit characters, all of them printable.
func fits(s string, limit int) bool {
	return utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
