package application

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// New is what Create makes an application from. Zero fields get their defaults.
type New struct {
	ClientID               string        // default: the application's id
	Secret                 secret.String // random, at least 32 characters; default: generated if one is needed
	Name                   string
	Type                   Type
	AuthMethod             AuthMethod // default: none for public types, otherwise client_secret_basic
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	Scopes                 []string // default: none for machines, otherwise defaultScopes
	AccessToken            AccessToken
	IDTokenAlg             string
	JWKS                   json.RawMessage
	JWKSURI                string // instead of JWKS
	BackchannelLogoutURI   string // not for machines
	FrontchannelLogout     FrontchannelLogout
	TokenEndpointAudience  bool // for private_key_jwt only
	AllowUnboundCode       bool // for confidential applications of people only
	FirstParty             bool
	DeviceAuthorization    bool          // not for machines
	NoRotation             bool          // keep the refresh token at each use; for confidential applications only
	PrincipalMode          PrincipalMode // default: Asserted
	InspectsTenant         *bool         // default: true for machines
	Lifetimes              Lifetimes
	Claims                 ClaimsPatch // of the defaults: ID tokens have the claims of profile and email
	Mappings               []Mapping   // not for machines
	SubjectType            SubjectType // default: Public
	SectorIdentifier       string      // default: the host of SectorIdentifierURI, or of the redirect URIs
	SectorIdentifierURI    string      // for several hosts, or ""
	Sector                 Sector      // what SectorIdentifierURI answered
	DefaultAPI             string      // an identifier, or ""
}

// Patch is a change to an application. Fields that are nil stay unchanged.
type Patch struct {
	Name                   *string
	Status                 *Status
	AuthMethod             *AuthMethod
	RedirectURIs           *[]string
	PostLogoutRedirectURIs *[]string
	Scopes                 *[]string
	AccessToken            *AccessToken
	IDTokenAlg             *string
	JWKS                   *json.RawMessage
	JWKSURI                *string
	BackchannelLogoutURI   *string
	FrontchannelLogoutURI  *string
	FrontchannelSession    *bool
	TokenEndpointAudience  *bool
	AllowUnboundCode       *bool
	FirstParty             *bool
	DeviceAuthorization    *bool
	Rotation               *bool
	PrincipalMode          *PrincipalMode
	InspectsTenant         *bool
	Lifetimes              *Lifetimes // zero fields stay unchanged
	Claims                 ClaimsPatch
	Mappings               *[]Mapping
	SubjectType            *SubjectType
	SectorIdentifier       *string
	SectorIdentifierURI    *string // sets SectorIdentifier too, unless it is empty
	Sector                 Sector  // what SectorIdentifierURI answered
	DefaultAPI             *string
}

// defaultIDTokenAlg is what clients expect that compare nothing (OpenID Connect Core §3.1.3.7,
// Dynamic Client Registration §2). Many know nothing else.
const defaultIDTokenAlg = "RS256"

const (
	maxName   = 100 // code points
	maxScopes = 100
	maxSecret = 256 // bytes
	minSecret = 32  // bytes, because it is stored under a fast hash
	maxJWKS   = 16 << 10
)

// scopeRE matches a scope token (RFC 6749 §3.3), shorter and without characters that URLs and
// shells escape.
var scopeRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$`)

// validClientID reports whether s has the form of a client_id: 1 to 64 characters that no URL
// escapes (RFC 3986 §2.3).
func validClientID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 64
}

// defaultScopesOf returns the scopes of a new application that sets none. No scope of gatehouse: is
// among them: a caller who may create an application may create one with these. See New.manage.
func defaultScopesOf(t Type) []string {
	if t == Machine {
		return []string{}
	}
	return []string{"openid", "profile", "email", "groups", "roles", "offline_access"}
}

// ValidScope reports whether s has the form of a scope.
func ValidScope(s string) bool { return scopeRE.MatchString(s) }

func (n New) application() Application {
	a := Application{
		ClientID: n.ClientID, Name: n.Name, Type: n.Type, Status: Active, AuthMethod: n.AuthMethod,
		RedirectURIs: n.RedirectURIs, PostLogoutRedirectURIs: n.PostLogoutRedirectURIs, Scopes: n.Scopes,
		AccessToken: n.AccessToken, IDTokenAlg: n.IDTokenAlg, JWKS: n.JWKS, JWKSURI: n.JWKSURI,
		BackchannelLogoutURI:  n.BackchannelLogoutURI,
		FrontchannelLogout:    n.FrontchannelLogout,
		TokenEndpointAudience: n.TokenEndpointAudience, AllowUnboundCode: n.AllowUnboundCode,
		FirstParty: n.FirstParty, DeviceAuthorization: n.DeviceAuthorization, Rotation: !n.NoRotation,
		PrincipalMode: n.PrincipalMode, Lifetimes: n.Lifetimes, Mappings: n.Mappings,
		SubjectType: cmp.Or(n.SubjectType, Public), SectorIdentifier: n.SectorIdentifier,
		SectorIdentifierURI: n.SectorIdentifierURI, DefaultAPI: n.DefaultAPI,
	}
	if a.AuthMethod == "" {
		a.AuthMethod = AuthBasic
		if a.Type.public() {
			a.AuthMethod = AuthNone
		}
	}
	if a.Scopes == nil {
		a.Scopes = defaultScopesOf(a.Type)
	}
	if a.AccessToken == "" {
		a.AccessToken = JWT
	}
	if a.IDTokenAlg == "" {
		a.IDTokenAlg = defaultIDTokenAlg
	}
	if a.PrincipalMode == "" {
		a.PrincipalMode = Asserted
	}
	a.Lifetimes = a.Lifetimes.over(defaultLifetimes)
	a.InspectsTenant = a.Type == Machine
	set(&a.InspectsTenant, n.InspectsTenant)
	a.Claims.InIDToken = a.Type != Machine
	n.Claims.apply(&a.Claims)
	return a
}

// checked returns the application with an id of its own. It fails as check does.
func (n New) checked() (Application, error) {
	a := n.application()
	a.ID = id.New()
	if a.ClientID == "" {
		a.ClientID = a.ID.String()
	}
	return a, a.check(n.Secret)
}

// over returns l with its zero fields replaced by those of base.
func (l Lifetimes) over(base Lifetimes) Lifetimes {
	for _, f := range []struct{ to, from *time.Duration }{
		{&l.AccessToken, &base.AccessToken}, {&l.IDToken, &base.IDToken},
		{&l.RefreshIdle, &base.RefreshIdle}, {&l.RefreshMax, &base.RefreshMax},
	} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	return l
}

func (p Patch) apply(a *Application) {
	set(&a.Name, p.Name)
	set(&a.Status, p.Status)
	set(&a.AuthMethod, p.AuthMethod)
	set(&a.RedirectURIs, p.RedirectURIs)
	set(&a.PostLogoutRedirectURIs, p.PostLogoutRedirectURIs)
	set(&a.Scopes, p.Scopes)
	set(&a.AccessToken, p.AccessToken)
	set(&a.IDTokenAlg, p.IDTokenAlg)
	set(&a.JWKS, p.JWKS)
	set(&a.JWKSURI, p.JWKSURI)
	set(&a.BackchannelLogoutURI, p.BackchannelLogoutURI)
	set(&a.FrontchannelLogout.URI, p.FrontchannelLogoutURI)
	set(&a.FrontchannelLogout.Session, p.FrontchannelSession)
	set(&a.TokenEndpointAudience, p.TokenEndpointAudience)
	set(&a.AllowUnboundCode, p.AllowUnboundCode)
	set(&a.FirstParty, p.FirstParty)
	set(&a.DeviceAuthorization, p.DeviceAuthorization)
	set(&a.Rotation, p.Rotation)
	set(&a.PrincipalMode, p.PrincipalMode)
	set(&a.InspectsTenant, p.InspectsTenant)
	p.Claims.apply(&a.Claims)
	set(&a.Mappings, p.Mappings)
	set(&a.SubjectType, p.SubjectType)
	if valueOf(p.SectorIdentifierURI) != "" {
		a.SectorIdentifier = "" // the host of the address, unless the patch has another one
	}
	set(&a.SectorIdentifierURI, p.SectorIdentifierURI)
	set(&a.SectorIdentifier, p.SectorIdentifier)
	set(&a.DefaultAPI, p.DefaultAPI)
	if p.Lifetimes != nil {
		a.Lifetimes = p.Lifetimes.over(a.Lifetimes)
	}
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// check normalises a in place. chosen is the secret that its creator chose, or empty. It fails with
// a fault that names every wrong field.
func (a *Application) check(chosen secret.String) error {
	var wrong fault.Fields
	if a.Name = strings.TrimSpace(a.Name); a.Name == "" {
		wrong.Add("name", "An application needs a name. People see it when they sign in.")
	} else if !validName(a.Name) {
		wrong.Add("name", "A name has at most %d characters and no line breaks.", maxName)
	}
	if !validClientID(a.ClientID) {
		wrong.Add("client_id", "A client_id has 1 to 64 letters, digits, dots, hyphens, underscores or tildes.")
	}
	switch a.Type {
	case Web, SPA, Native, Machine:
	default:
		wrong.Add("type", "The type must be one of: web, spa, native, machine.")
		return wrong.Err("application.invalid") // the rest depends on it
	}
	if a.Status != Active && a.Status != Disabled {
		wrong.Add("status", "The status must be active or disabled.")
	}
	a.checkAuthMethod(&wrong)
	a.checkSecret(&wrong, chosen)
	a.checkURIs(&wrong)
	a.checkLogout(&wrong)
	a.checkScopes(&wrong)
	a.checkTokens(&wrong)
	a.checkClaims(&wrong)
	a.checkMappings(&wrong)
	a.checkSubject(&wrong)
	switch {
	case a.PrincipalMode != Asserted && a.PrincipalMode != FromDirectory:
		wrong.Add("principal_mode", "The principal mode must be asserted or directory.")
	case a.PrincipalMode == FromDirectory && a.Type != Machine:
		wrong.Add("principal_mode", "Only machine applications have a principal mode. "+
			"For an application of type %s the source is always the directory.", a.Type)
	}
	if a.InspectsTenant && a.Type != Machine {
		wrong.Add("inspects_tenant_tokens", "Only machine applications inspect the tokens of others. Set it to false.")
	}
	return wrong.Err("application.invalid")
}

func (a *Application) checkSecret(wrong *fault.Fields, chosen secret.String) {
	switch {
	case chosen.IsZero():
	case !a.AuthMethod.Secret():
		wrong.Add("secret", "An application that authenticates by %s has no secret.", a.AuthMethod)
	case len(chosen) < minSecret || len(chosen) > maxSecret:
		wrong.Add("secret", "A secret of your own must be random and have %d to %d characters (openssl rand -hex 32).",
			minSecret, maxSecret)
	}
}

// Check fails as Create would, before there is a database.
func (n New) Check() error {
	a := n.application()
	return a.check(n.Secret)
}

func validName(name string) bool {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	return utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxName && !strings.ContainsFunc(name, control)
}

func (a *Application) checkAuthMethod(wrong *fault.Fields) {
	switch a.AuthMethod {
	case AuthNone, AuthBasic, AuthPost, AuthJWT:
	default:
		wrong.Add("auth_method", "The authentication method must be one of: none, client_secret_basic, "+
			"client_secret_post, private_key_jwt.")
		return
	}
	switch {
	case a.Type.public() && a.AuthMethod != AuthNone:
		wrong.Add("auth_method", "An application of type %s cannot keep a secret. Its method is none, "+
			"and it uses PKCE.", a.Type)
	case a.Type == Machine && a.AuthMethod == AuthNone:
		wrong.Add("auth_method", "A machine application must authenticate. Use client_secret_basic, "+
			"client_secret_post or private_key_jwt.")
	}
	if a.TokenEndpointAudience && a.AuthMethod != AuthJWT {
		wrong.Add("token_endpoint_audience", "Only an application that authenticates by private_key_jwt sends an "+
			"audience. Set this to false.")
	}
	if a.AllowUnboundCode && (a.AuthMethod == AuthNone || a.Type == Machine) {
		wrong.Add("allow_unbound_code", "Only an application that people sign in to and that has a secret or a key "+
			"may have this. Set it to false.")
	}
	if a.DeviceAuthorization && a.Type == Machine {
		wrong.Add("device_authorization", "No user signs in to a machine application. Set this to false.")
	}
	a.checkKeys(wrong)
}

func (a *Application) checkKeys(wrong *fault.Fields) {
	if string(a.JWKS) == "null" {
		a.JWKS = nil
	}
	switch {
	case len(a.JWKS) > maxJWKS:
		wrong.Add("jwks", "The key set is larger than %d bytes.", maxJWKS)
	case len(a.JWKS) > 0:
		if _, err := jose.ParseSet(a.JWKS); err != nil {
			wrong.Add("jwks", "%s", fault.As(err).Reason)
		}
	case a.AuthMethod == AuthJWT && a.JWKSURI == "":
		wrong.Add("jwks", "private_key_jwt needs the application's public keys, as a JWKS (RFC 7517). "+
			"Set jwks, or jwks_uri.")
	}
	if a.JWKSURI == "" {
		return
	}
	if len(a.JWKS) > 0 {
		wrong.Add("jwks_uri", "An application has either jwks or jwks_uri. Set the other one to null.")
	}
	if err := outbound.CheckURL(a.JWKSURI); err != nil {
		wrong.Add("jwks_uri", "%s", fault.As(err).Reason)
	}
}

func (a *Application) checkURIs(wrong *fault.Fields) {
	for _, l := range []struct {
		name string
		uris *[]string
	}{{"redirect_uris", &a.RedirectURIs}, {"post_logout_redirect_uris", &a.PostLogoutRedirectURIs}} {
		if *l.uris == nil {
			*l.uris = []string{}
		}
		if len(*l.uris) > maxURIs {
			wrong.Add(l.name, "There may be at most %d.", maxURIs)
			continue
		}
		if a.Type == Machine && len(*l.uris) > 0 {
			wrong.Add(l.name, "A machine application has none, because users do not sign in to it.")
			continue
		}
		for i, uri := range *l.uris {
			if reason := checkRedirectURI(a.Type, uri); reason != "" {
				wrong.Add(fmt.Sprintf("%s[%d]", l.name, i), "%s", reason)
			} else if slices.Contains((*l.uris)[:i], uri) {
				wrong.Add(fmt.Sprintf("%s[%d]", l.name, i), "This is already in the list.")
			}
		}
	}
	if a.Type != Machine && len(a.RedirectURIs) == 0 && !a.DeviceAuthorization {
		wrong.Add("redirect_uris", "An application of type %s needs at least one redirect URI, unless people "+
			"sign in to it on a device only (device_authorization).", a.Type)
	}
}

func (a *Application) checkLogout(wrong *fault.Fields) {
	switch uri := a.BackchannelLogoutURI; {
	case uri == "":
	case a.Type == Machine:
		wrong.Add("backchannel_logout_uri", "A machine application has none, because users do not sign in to it.")
	default:
		if err := outbound.CheckURL(uri); err != nil {
			wrong.Add("backchannel_logout_uri", "%s", fault.As(err).Reason)
		}
	}
	if reason := a.checkFrontchannel(); reason != "" {
		wrong.Add("frontchannel_logout_uri", "%s", reason)
	}
}

func (a *Application) checkScopes(wrong *fault.Fields) {
	if a.Scopes == nil {
		a.Scopes = []string{}
	}
	if len(a.Scopes) > maxScopes {
		wrong.Add("scopes", "There may be at most %d.", maxScopes)
		return
	}
	for i, s := range a.Scopes {
		if !ValidScope(s) {
			wrong.Add(fmt.Sprintf("scopes[%d]", i), "A scope has 1 to 100 letters, digits, colons, dots, slashes, "+
				"hyphens or underscores.")
		} else if slices.Contains(a.Scopes[:i], s) {
			wrong.Add(fmt.Sprintf("scopes[%d]", i), "This is already in the list.")
		}
	}
}

func (a *Application) checkTokens(wrong *fault.Fields) {
	if a.AccessToken != JWT && a.AccessToken != Opaque {
		wrong.Add("access_token", "Access tokens are jwt or opaque.")
	}
	switch a.IDTokenAlg {
	case "ES256", "RS256", "EdDSA":
	default:
		wrong.Add("id_token_alg", "ID tokens are signed with ES256, RS256 or EdDSA.")
	}
	if !a.Rotation && a.AuthMethod == AuthNone {
		wrong.Add("rotation", "Each use must replace a public application's refresh token (RFC 9700 §4.14).")
	}
	const day = 24 * time.Hour
	l := a.Lifetimes
	bound := func(name string, d, from, to time.Duration) {
		if d < from || d > to || d%time.Second != 0 {
			wrong.Add(name, "This must be from %d to %d seconds.", from/time.Second, to/time.Second)
		}
	}
	bound("access_token_seconds", l.AccessToken, time.Minute, MaxTokenLifetime)
	bound("id_token_seconds", l.IDToken, time.Minute, MaxTokenLifetime)
	bound("refresh_idle_seconds", l.RefreshIdle, time.Minute, 365*day)
	bound("refresh_max_seconds", l.RefreshMax, max(time.Minute, min(l.RefreshIdle, 730*day)), 730*day)
}
