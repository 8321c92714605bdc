package application

import (
	"crypto/subtle"
	"encoding/json"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Type is the kind of program that an application is.
type Type string

// The types.
const (
	Web     Type = "web"     // on a server, can keep a secret
	SPA     Type = "spa"     // in a browser, public
	Native  Type = "native"  // on a device, public (RFC 8252)
	Machine Type = "machine" // acts for itself (client credentials)
)

// public reports whether applications of this type cannot keep a secret.
func (t Type) public() bool { return t == SPA || t == Native }

// Status enables or disables an application.
type Status string

// The statuses.
const (
	Active   Status = "active"
	Disabled Status = "disabled"
)

// AuthMethod is how an application authenticates at the token endpoint. Its values are those of
// token_endpoint_auth_method (RFC 7591 §2).
type AuthMethod string

// The authentication methods.
const (
	AuthNone  AuthMethod = "none"
	AuthBasic AuthMethod = "client_secret_basic"
	AuthPost  AuthMethod = "client_secret_post"
	AuthJWT   AuthMethod = "private_key_jwt"
)

// Secret reports whether the method uses a shared secret.
func (m AuthMethod) Secret() bool { return m == AuthBasic || m == AuthPost }

// AccessToken is the form of an application's access tokens.
type AccessToken string

// The forms of access tokens.
const (
	JWT    AccessToken = "jwt"    // RFC 9068; a service checks the signature and does not ask us
	Opaque AccessToken = "opaque" // a service asks us by introspection; revocation is immediate
)

// ScopeManage is the scope that the management API requires. The roles of an application decide
// what it may do there.
const ScopeManage = "gatehouse:manage"

// ScopeDecide is the scope that the decision APIs require. A machine application with it may ask
// about any principal. A user's token with it may ask about that user.
const ScopeDecide = "gatehouse:decide"

// PrincipalMode selects the source of the principal in a machine application's decision requests.
// For a user's token the source is always the directory.
type PrincipalMode string

// The principal modes.
const (
	Asserted      PrincipalMode = "asserted"  // the request has roles and attributes, as with a plain Cerbos server
	FromDirectory PrincipalMode = "directory" // the request has an id, and the directory has the rest
)

// Lifetimes bound the tokens of an application.
type Lifetimes struct {
	AccessToken time.Duration // 1 minute to 1 day; default 10 minutes
	IDToken     time.Duration // 1 minute to 1 day; default 10 minutes
	RefreshIdle time.Duration // since its last use: 1 minute to 1 year; default 30 days
	RefreshMax  time.Duration // since the sign-in: at least RefreshIdle, to 2 years; default 90 days
}

// MaxTokenLifetime is the longest lifetime of an access token or ID token.
const MaxTokenLifetime = 24 * time.Hour

// defaultLifetimes replace the lifetimes that a new application does not set.
var defaultLifetimes = Lifetimes{
	AccessToken: 10 * time.Minute,
	IDToken:     10 * time.Minute,
	RefreshIdle: 30 * 24 * time.Hour,
	RefreshMax:  90 * 24 * time.Hour,
}

// Application is an OAuth client. Values from a Directory are shared: do not change them.
type Application struct {
	ID                     id.ID
	ClientID               string
	Name                   string
	Type                   Type
	Status                 Status
	AuthMethod             AuthMethod
	SecretHash             []byte // SHA-256; nil without a secret
	PreviousSecretHash     []byte // accepted until PreviousSecretUntil
	PreviousSecretUntil    time.Time
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	Scopes                 []string // the scopes that it may request, besides openid
	AccessToken            AccessToken
	IDTokenAlg             string          // "ES256", "RS256" or "EdDSA"
	EarlierIDTokenAlg      string          // before its last change, or ""; it signs until clients know the new key
	JWKS                   json.RawMessage // its public keys, for private_key_jwt, or nil
	JWKSURI                string          // where the public keys are read instead, or ""
	BackchannelLogoutURI   string          // is notified when a session has ended, or ""
	FrontchannelLogout     FrontchannelLogout
	TokenEndpointAudience  bool          // its assertions may name the token endpoint as their audience
	AllowUnboundCode       bool          // its requests may send neither PKCE nor a nonce
	FirstParty             bool          // the tenant's own: users are not asked for consent
	DeviceAuthorization    bool          // people may sign in to it on a device with a code (RFC 8628)
	Rotation               bool          // each use replaces a refresh token
	PrincipalMode          PrincipalMode // FromDirectory is for machines only
	InspectsTenant         bool          // it may introspect any access token for the tenant; for machines only
	Lifetimes              Lifetimes
	Claims                 Claims
	Mappings               []Mapping // claims besides those of scopes
	SubjectType            SubjectType
	SectorIdentifier       string // a host; "" only for a public application
	SectorIdentifierURI    string // the document that shows the sector, or "": see Sector
	DefaultAPI             string // the API of a request that names none, or "": the tenant itself
	Generation             int64  // how often something that it holds was ended: see NextGeneration
	CreatedAt              time.Time
	UpdatedAt              time.Time
}

// MayHave reports whether a token of the application may have a scope now. It may have lost one
// that an earlier token has.
func (a *Application) MayHave(scope string) bool {
	return scope == "openid" || slices.Contains(a.Scopes, scope)
}

// Outlives reports whether what these scopes give outlives the session (OpenID Connect Core §11).
func (a *Application) Outlives(scopes []string) bool {
	return slices.Contains(scopes, "offline_access") && a.MayHave("offline_access")
}

// CheckSecret reports whether hash is that of the application's secret, or of the previous one if
// that is still accepted at now. It compares in constant time.
func (a *Application) CheckSecret(hash []byte, now time.Time) bool {
	current := len(a.SecretHash) > 0 && subtle.ConstantTimeCompare(a.SecretHash, hash) == 1
	previous := len(a.PreviousSecretHash) > 0 && subtle.ConstantTimeCompare(a.PreviousSecretHash, hash) == 1
	return current || previous && now.Before(a.PreviousSecretUntil)
}

// Target names the application in an audit event.
func (a *Application) Target() audit.Target {
	return audit.Target{Kind: "application", ID: a.ID.String(), Name: a.Name}
}

// TargetOf is Target for an application of which only the id is known.
func TargetOf(application id.ID) audit.Target {
	return audit.ByID("application", application,
		`SELECT a.name FROM applications a WHERE a.tenant_id = $1 AND a.id = $2`)
}

// Subject returns the application as the subject of a role.
func (a *Application) Subject() role.Subject { return role.Subject{Application: a.ID, Name: a.Name} }

// Faults of this package.
var (
	ErrNotFound      = fault.New(fault.NotFound, "application.not_found", "There is no application with this id.")
	ErrClientIDTaken = fault.InvalidField("application.client_id_taken", "client_id",
		"Another application of this tenant has this client_id.")
	errNoSecret = fault.New(fault.Conflict, "application.no_secret", "This application does not authenticate by a "+
		"secret. Change auth_method to client_secret_basic or client_secret_post first.")
	errChanged = fault.New(fault.Conflict, "application.changed", "Another request changed this application at the "+
		"same moment. Read it again and repeat your change.")
)
