package application

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// View is an application as the API shows it.
type View struct {
	ID                     id.ID          `json:"id" always:"true" format:"uuid"`
	ClientID               string         `json:"client_id" always:"true" doc:"The OAuth client_id. It never changes."`
	ClientSecret           string         `json:"client_secret,omitempty" always:"true" doc:"Only the answer that created the secret has it. Store it: we keep a hash."`
	Name                   string         `json:"name"`
	Type                   string         `json:"type" enum:"web,spa,native,machine"`
	Status                 string         `json:"status" enum:"active,disabled"`
	AuthMethod             string         `json:"auth_method" enum:"none,client_secret_basic,client_secret_post,private_key_jwt"`
	RedirectURIs           []string       `json:"redirect_uris"`
	PostLogoutRedirectURIs []string       `json:"post_logout_redirect_uris"`
	Scopes                 []string       `json:"scopes"`
	AccessToken            string         `json:"access_token" enum:"jwt,opaque"`
	IDTokenAlg             string         `json:"id_token_alg" enum:"ES256,RS256,EdDSA"`
	JWKS                   map[string]any `json:"jwks,omitempty" doc:"The application's public keys (RFC 7517)."`
	JWKSURI                string         `json:"jwks_uri,omitempty" doc:"Where the server reads the public keys instead."`
	BackchannelLogoutURI   string         `json:"backchannel_logout_uri,omitempty" doc:"Is notified when a session has ended (OpenID Connect Back-Channel Logout 1.0)."`
	FrontchannelLogoutURI  string         `json:"frontchannel_logout_uri,omitempty" doc:"Is loaded in a frame of the page on which a person signs out (OpenID Connect Front-Channel Logout 1.0)."`
	FrontchannelSession    bool           `json:"frontchannel_logout_session_required" doc:"The frame's address has iss and sid."`
	TokenEndpointAudience  bool           `json:"token_endpoint_audience"`
	AllowUnboundCode       bool           `json:"allow_unbound_code"`
	FirstParty             bool           `json:"first_party"`
	DeviceAuthorization    bool           `json:"device_authorization"`
	Rotation               bool           `json:"rotation"`
	PrincipalMode          string         `json:"principal_mode,omitempty" enum:"asserted,directory" doc:"Only machine applications have one."`
	InspectsTenantTokens   bool           `json:"inspects_tenant_tokens"`
	AccessTokenSeconds     int64          `json:"access_token_seconds"`
	IDTokenSeconds         int64          `json:"id_token_seconds"`
	RefreshIdleSeconds     int64          `json:"refresh_idle_seconds"`
	RefreshMaxSeconds      int64          `json:"refresh_max_seconds"`
	PreviousSecretUntil    *time.Time     `json:"previous_secret_until,omitempty" doc:"The previous secret is accepted until then."`
	CreatedAt              time.Time      `json:"created_at" always:"true"`
	UpdatedAt              time.Time      `json:"updated_at" always:"true"`
	ClaimsView
	Mappings            []Mapping `json:"mappings" doc:"Claims besides those of scopes."`
	SubjectType         string    `json:"subject_type" enum:"public,pairwise"`
	SectorIdentifier    string    `json:"sector_identifier,omitempty" doc:"The host for which a pairwise sub is the same."`
	SectorIdentifierURI string    `json:"sector_identifier_uri,omitempty" doc:"The document that lists the redirect URIs of the sector."`
	DefaultAPI          string    `json:"default_api,omitempty" doc:"The API for which it gets tokens if its request names none."`
	Warnings            []Warning `json:"warnings,omitempty" doc:"What works and is not recommended."`
}

func view(a Application, shown secret.String) View {
	v := View{
		ID: a.ID, ClientID: a.ClientID, ClientSecret: shown.Reveal(), Name: a.Name,
		Type: string(a.Type), Status: string(a.Status), AuthMethod: string(a.AuthMethod),
		RedirectURIs: a.RedirectURIs, PostLogoutRedirectURIs: a.PostLogoutRedirectURIs, Scopes: a.Scopes,
		AccessToken: string(a.AccessToken), IDTokenAlg: a.IDTokenAlg, ClaimsView: a.Claims.view(),
		JWKSURI: a.JWKSURI, BackchannelLogoutURI: a.BackchannelLogoutURI,
		FrontchannelLogoutURI: a.FrontchannelLogout.URI, FrontchannelSession: a.FrontchannelLogout.Session,
		TokenEndpointAudience: a.TokenEndpointAudience,
		AllowUnboundCode:      a.AllowUnboundCode, FirstParty: a.FirstParty, DeviceAuthorization: a.DeviceAuthorization,
		Rotation:             a.Rotation,
		InspectsTenantTokens: a.InspectsTenant,
		AccessTokenSeconds:   seconds(a.Lifetimes.AccessToken), IDTokenSeconds: seconds(a.Lifetimes.IDToken),
		RefreshIdleSeconds: seconds(a.Lifetimes.RefreshIdle), RefreshMaxSeconds: seconds(a.Lifetimes.RefreshMax),
		CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt, Warnings: a.warnings(),
		Mappings: a.Mappings, SubjectType: string(a.SubjectType), SectorIdentifier: a.SectorIdentifier,
		SectorIdentifierURI: a.SectorIdentifierURI, DefaultAPI: a.DefaultAPI,
	}
	if a.Type == Machine {
		v.PrincipalMode = string(a.PrincipalMode)
	}
	if a.PreviousSecretHash != nil {
		v.PreviousSecretUntil = &a.PreviousSecretUntil
	}
	if len(a.JWKS) > 0 {
		_ = json.Unmarshal(a.JWKS, &v.JWKS) // it was parsed when it was stored
	}
	return v
}

// hidden is view without a secret.
func hidden(a Application) View { return view(a, "") }

type createInput struct {
	Body struct {
		Name                   string         `json:"name" minLength:"1" maxLength:"100" doc:"Users see it when they sign in." example:"Billing"`
		ClientID               string         `json:"client_id,omitempty" minLength:"1" maxLength:"64" doc:"A name of your own for the application: letters, digits, dots, hyphens, underscores and tildes. No other application of the tenant may have it, and it never changes. Default: the application's id." example:"billing"`
		Type                   string         `json:"type" enum:"web,spa,native,machine" doc:"web: on a server; spa: in a browser; native: on a device; machine: acts for itself."`
		RedirectURIs           []string       `json:"redirect_uris,omitempty" maxItems:"50" doc:"Where users return after sign-in: absolute, https, compared byte by byte. localhost and loopback IP addresses may use http and any port. Native applications may use a private-use scheme." example:"[\"https://billing.example.com/callback\"]"`
		PostLogoutRedirectURIs []string       `json:"post_logout_redirect_uris,omitempty" maxItems:"50" doc:"Where users return after sign-out."`
		AuthMethod             string         `json:"auth_method,omitempty" enum:"none,client_secret_basic,client_secret_post,private_key_jwt" doc:"Default: none for spa and native, otherwise client_secret_basic."`
		Scopes                 []string       `json:"scopes,omitempty" maxItems:"100" doc:"The scopes that it may request. Default: gatehouse:manage for a machine whose creator may give that (application.trust), and none for another machine; openid, profile, email, groups, roles and offline_access for others. The management API requires gatehouse:manage, and the decision APIs gatehouse:decide."`
		AccessToken            string         `json:"access_token,omitempty" enum:"jwt,opaque" doc:"jwt (default): a service checks the signature itself. opaque: a service asks by introspection, and revocation is immediate."`
		IDTokenAlg             string         `json:"id_token_alg,omitempty" enum:"ES256,RS256,EdDSA" doc:"Default RS256, which every client knows. The tenant's keys for EdDSA are published when the first application names it, and sign ten minutes later. Until then a new application gets no tokens (503), and a changed one ID tokens of its earlier algorithm."`
		JWKS                   map[string]any `json:"jwks,omitempty" doc:"Public keys (RFC 7517), for private_key_jwt."`
		JWKSURI                string         `json:"jwks_uri,omitempty" maxLength:"2000" doc:"Where the server reads the public keys instead of jwks: a public https address. They are read again after ten minutes, and for an unknown kid at most once a minute."`
		BackchannelLogoutURI   string         `json:"backchannel_logout_uri,omitempty" maxLength:"2000" doc:"A public https address of the application. The server posts a logout token with sub and sid to it when a session ends in which a person signed in to the application (OpenID Connect Back-Channel Logout 1.0)."`
		FrontchannelLogoutURI  string         `json:"frontchannel_logout_uri,omitempty" maxLength:"2000" doc:"A page of the application that ends its own session. The browser loads it in a hidden frame when the person signs out in that browser (OpenID Connect Front-Channel Logout 1.0). It has the scheme, host and port of one of redirect_uris." example:"https://billing.example.com/logout-frame"`
		FrontchannelSession    bool           `json:"frontchannel_logout_session_required,omitempty" doc:"Add iss and sid to frontchannel_logout_uri, so that the page ends that session only. Default false."`
		TokenEndpointAudience  bool           `json:"token_endpoint_audience,omitempty" doc:"For private_key_jwt: the aud of a client assertion may be the token endpoint, for libraries that send nothing else. Default false: the issuer alone (RFC 7523bis)."`
		AllowUnboundCode       bool           `json:"allow_unbound_code,omitempty" doc:"For confidential applications: an authorization request may send neither PKCE nor a nonce. A stolen code can then be planted in the sign-in of another browser. Prefer to turn on PKCE in the application. Default false."`
		FirstParty             bool           `json:"first_party,omitempty" doc:"The tenant's own application: users are not asked for consent."`
		DeviceAuthorization    bool           `json:"device_authorization,omitempty" doc:"People may sign in to it on a device without a browser, by a code (RFC 8628). For televisions and command lines. An attacker who sends a person a code asks for access this way, so turn it on only for an application that needs it. Default false."`
		Rotation               *bool          `json:"rotation,omitempty" doc:"Replace a refresh token at each use. Default true. Only confidential applications may set false."`
		PrincipalMode          string         `json:"principal_mode,omitempty" enum:"asserted,directory" doc:"The source of the principal in the decision requests of a machine application: the request (asserted, default) or the directory."`
		InspectsTenantTokens   *bool          `json:"inspects_tenant_tokens,omitempty" doc:"It may introspect every access token for the tenant itself, besides its own. Default true for a machine application. Only those may set true. It becomes false when the application becomes a server of an API, and stays so until you change it."`
		AccessTokenSeconds     int64          `json:"access_token_seconds,omitempty" minimum:"60" maximum:"86400" doc:"Default 600."`
		IDTokenSeconds         int64          `json:"id_token_seconds,omitempty" minimum:"60" maximum:"86400" doc:"Default 600."`
		RefreshIdleSeconds     int64          `json:"refresh_idle_seconds,omitempty" minimum:"60" maximum:"31536000" doc:"Seconds since the last use. Default 2592000."`
		RefreshMaxSeconds      int64          `json:"refresh_max_seconds,omitempty" minimum:"60" maximum:"63072000" doc:"Seconds since the sign-in. Default 7776000."`
		ClaimsBody
		Mappings            []Mapping `json:"mappings,omitempty" maxItems:"32" doc:"Claims besides those of scopes, as CEL expressions. That needs the rights of an application that asks the directory."`
		SubjectType         string    `json:"subject_type,omitempty" enum:"public,pairwise" doc:"public (default): sub is the user's id. pairwise: sub is another text for each sector, so applications cannot compare their users (OpenID Connect Core §8.1)."`
		SectorIdentifier    string    `json:"sector_identifier,omitempty" maxLength:"253" doc:"For pairwise: the host for which the sub of a user is the same. Default: the host of sector_identifier_uri, or that of the redirect URIs, if they have one. It is kept when they change. Another host needs the action application.trust." example:"example.com"`
		SectorIdentifierURI string    `json:"sector_identifier_uri,omitempty" maxLength:"2000" doc:"For pairwise with redirect URIs on several hosts: a public https address whose JSON array lists all of them (OpenID Connect Core §8.1). Its host is the sector. The server reads it now and whenever redirect_uris changes." example:"https://example.com/sector.json"`
		DefaultAPI          string    `json:"default_api,omitempty" maxLength:"255" doc:"The identifier of an API: it gets tokens for this one if its request names none by resource or audience. For clients that cannot send either. It must be allowed to ask for the API. Default: tokens for the tenant itself." example:"https://invoices.example.com"`
	}
}

type patchInput struct {
	api.ByID
	Body struct {
		Name                   *string         `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Status                 *string         `json:"status,omitempty" enum:"active,disabled" doc:"A disabled application gets no tokens, and its tokens are no longer accepted here."`
		RedirectURIs           *[]string       `json:"redirect_uris,omitempty" maxItems:"50"`
		PostLogoutRedirectURIs *[]string       `json:"post_logout_redirect_uris,omitempty" maxItems:"50"`
		AuthMethod             *string         `json:"auth_method,omitempty" enum:"none,client_secret_basic,client_secret_post,private_key_jwt" doc:"A change to a method with a secret generates one and returns it."`
		Scopes                 *[]string       `json:"scopes,omitempty" maxItems:"100"`
		AccessToken            *string         `json:"access_token,omitempty" enum:"jwt,opaque"`
		IDTokenAlg             *string         `json:"id_token_alg,omitempty" enum:"ES256,RS256,EdDSA" doc:"The earlier algorithm signs until clients can have the key of the new one: at most ten minutes."`
		JWKS                   *map[string]any `json:"jwks,omitempty"`
		JWKSURI                *string         `json:"jwks_uri,omitempty" maxLength:"2000" doc:"Set jwks to null with it."`
		BackchannelLogoutURI   *string         `json:"backchannel_logout_uri,omitempty" maxLength:"2000"`
		FrontchannelLogoutURI  *string         `json:"frontchannel_logout_uri,omitempty" maxLength:"2000"`
		FrontchannelSession    *bool           `json:"frontchannel_logout_session_required,omitempty"`
		TokenEndpointAudience  *bool           `json:"token_endpoint_audience,omitempty"`
		AllowUnboundCode       *bool           `json:"allow_unbound_code,omitempty"`
		FirstParty             *bool           `json:"first_party,omitempty"`
		DeviceAuthorization    *bool           `json:"device_authorization,omitempty"`
		Rotation               *bool           `json:"rotation,omitempty"`
		PrincipalMode          *string         `json:"principal_mode,omitempty" enum:"asserted,directory"`
		InspectsTenantTokens   *bool           `json:"inspects_tenant_tokens,omitempty"`
		AccessTokenSeconds     int64           `json:"access_token_seconds,omitempty" minimum:"60" maximum:"86400"`
		IDTokenSeconds         int64           `json:"id_token_seconds,omitempty" minimum:"60" maximum:"86400"`
		RefreshIdleSeconds     int64           `json:"refresh_idle_seconds,omitempty" minimum:"60" maximum:"31536000"`
		RefreshMaxSeconds      int64           `json:"refresh_max_seconds,omitempty" minimum:"60" maximum:"63072000"`
		ClaimsBody
		Mappings            *[]Mapping `json:"mappings,omitempty" maxItems:"32" doc:"Replaces all of them."`
		SubjectType         *string    `json:"subject_type,omitempty" enum:"public,pairwise" doc:"A change gives every user another sub."`
		SectorIdentifier    *string    `json:"sector_identifier,omitempty" maxLength:"253" doc:"A change gives every user of a pairwise application another sub. A host that is not the one of the redirect URIs needs the action application.trust."`
		SectorIdentifierURI *string    `json:"sector_identifier_uri,omitempty" maxLength:"2000" doc:"Its host becomes the sector. To remove it keeps the sector."`
		DefaultAPI          *string    `json:"default_api,omitempty" maxLength:"255" doc:"Grants that it has already stay as they are."`
	}
}

type rotateInput struct {
	api.ByID
	Body struct {
		KeepSeconds int64 `json:"keep_seconds,omitempty" minimum:"0" maximum:"604800" doc:"How long the previous secret is still accepted, in seconds. Default 0: not at all."`
	}
}

// Deps are what the operations on applications need of the packages after this one.
type Deps struct {
	Disabled func(ctx context.Context, tx *db.Tx, application id.ID) error // ends what it holds
	Online   func(ctx context.Context, tx *db.Tx, application id.ID) error // ends what outlives a session
	Publish  func(ctx context.Context, tx *db.Tx, idTokenAlg string) error // creates the keys that are missing
	Compile  func(of []Mapping) error                                      // names the mapping that is wrong
	Sectors  *Sectors
	// CheckDefault fails with a fault that names default_api if the application may not ask for it.
	CheckDefault func(ctx context.Context, tx *db.Tx, a *Application) error
	// ByID returns an application as the replica knows it; Directory.ByID is one.
	ByID func(ctx context.Context, c caller.Caller, application id.ID) (*Application, error)
}

// Operations are the management operations on applications.
func Operations(deps Deps) []api.Operation {
	op := api.Tag("Applications").Op
	created := op("POST", "/applications", "create-application", "application.create", "Create an application")
	created.Status = 201
	const acts = " An application that is first_party, has a scope of gatehouse: or asks the directory acts for " +
		"others. That needs the action application.trust, and for the directory user.read, group.read and role.read. " +
		"So does one with mappings, because they include what no scope asks a person to allow. " +
		"A pairwise application needs application.trust too, if its sector does not follow from its redirect URIs."
	created.Description = "The answer shows the client_secret, if the application has one. It is shown only this " +
		"once." + acts
	listed := op("GET", "/applications", "list-applications", "application.read", "List applications",
		"Only the applications that you may see.")
	listed.Filtered = true
	return []api.Operation{
		api.Read(listed,
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.Page) (page.List[View], error) {
				r, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := list(ctx, tx, req.Filter, r)
				return page.Map(l, hidden), err
			}),
		api.Read(op("GET", "/applications/{id}", "get-application", "application.read", "Get an application"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				a, err := Get(ctx, tx, in.ID)
				return hidden(a), err
			}),
		api.WriteAfter(created, func(ctx context.Context, req api.Request, in *createInput) (New, error) {
			n := in.application()
			n.manage(req.Rights)
			wanted := n.application()
			if err := mayTrust(req.Rights, &wanted); err != nil {
				return n, err
			}
			if err := deps.Compile(n.Mappings); err != nil {
				return n, err
			}
			var err error
			n.Sector, err = deps.Sectors.ofNew(ctx, req.Caller, n)
			return n, err
		}, func(ctx context.Context, tx *db.Tx, _ api.Request, _ *createInput, n New) (View, error) {
			a, shown, err := Create(ctx, tx, n)
			if err == nil {
				err = deps.CheckDefault(ctx, tx, &a)
			}
			if err == nil {
				err = deps.Publish(ctx, tx, a.IDTokenAlg)
			}
			return view(a, shown), err
		}),
		api.ChangeAfter(op("PATCH", "/applications/{id}", "update-application", "application.update",
			"Update an application", "Any change but disabling needs more if it acts for others before or after."+acts),
			func(ctx context.Context, req api.Request, in *patchInput) (Sector, error) {
				if err := deps.Compile(valueOf(in.Body.Mappings)); err != nil {
					return Sector{}, err
				}
				return deps.sectorOf(ctx, req, in)
			},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *patchInput) (View, error) {
				a, err := hold(ctx, tx, in.ID)
				return hidden(a), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput, sector Sector) (View, error) {
				before, err := Get(ctx, tx, in.ID)
				if err != nil {
					return View{}, err
				}
				patch := in.patch()
				patch.Sector = sector
				a, shown, err := Update(ctx, tx, role.Of(req.Rights), in.ID, patch)
				if err == nil && (a.DefaultAPI != before.DefaultAPI || !slices.Equal(a.Scopes, before.Scopes)) {
					err = deps.CheckDefault(ctx, tx, &a)
				}
				if err == nil && a.Status == Disabled {
					err = deps.Disabled(ctx, tx, a.ID)
				}
				if err == nil && before.Outlives(before.Scopes) && !a.Outlives(a.Scopes) {
					err = deps.Online(ctx, tx, a.ID)
				}
				if err == nil {
					err = deps.Publish(ctx, tx, a.IDTokenAlg)
				}
				v := view(a, shown)
				v.Warnings = append(v.Warnings, changedSubjects(&before, &a)...)
				return v, err
			}),
		api.Change(op("POST", "/applications/{id}/secret", "rotate-application-secret", "application.update",
			"Rotate an application's secret", acts[1:]),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *rotateInput) (View, error) {
				a, err := hold(ctx, tx, in.ID)
				return hidden(a), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *rotateInput) (View, error) {
				keep := time.Duration(in.Body.KeepSeconds) * time.Second
				a, shown, err := rotateSecret(ctx, tx, role.Of(req.Rights), in.ID, keep)
				return view(a, shown), err
			}),
		api.Change(op("DELETE", "/applications/{id}", "delete-application", "application.delete",
			"Delete an application",
			"Ends everything that the application holds."+acts),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				a, err := hold(ctx, tx, in.ID)
				return hidden(a), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				return api.None{}, Delete(ctx, tx, role.Of(req.Rights), in.ID)
			}),
	}
}

func (in *createInput) application() New {
	b := &in.Body
	return New{
		ClientID: b.ClientID, Name: b.Name, Type: Type(b.Type), AuthMethod: AuthMethod(b.AuthMethod),
		FirstParty: b.FirstParty, DeviceAuthorization: b.DeviceAuthorization,
		RedirectURIs: b.RedirectURIs, PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, Scopes: b.Scopes,
		AccessToken: AccessToken(b.AccessToken), IDTokenAlg: b.IDTokenAlg, JWKS: keySet(b.JWKS), JWKSURI: b.JWKSURI,
		BackchannelLogoutURI: b.BackchannelLogoutURI,
		FrontchannelLogout:   FrontchannelLogout{b.FrontchannelLogoutURI, b.FrontchannelSession},
		Claims:               b.patch(), Mappings: b.Mappings,
		SubjectType: SubjectType(b.SubjectType), SectorIdentifier: b.SectorIdentifier,
		SectorIdentifierURI: b.SectorIdentifierURI, DefaultAPI: b.DefaultAPI,
		TokenEndpointAudience: b.TokenEndpointAudience, AllowUnboundCode: b.AllowUnboundCode,
		NoRotation: b.Rotation != nil && !*b.Rotation, PrincipalMode: PrincipalMode(b.PrincipalMode),
		InspectsTenant: b.InspectsTenantTokens,
		Lifetimes:      lifetimes(b.AccessTokenSeconds, b.IDTokenSeconds, b.RefreshIdleSeconds, b.RefreshMaxSeconds),
	}
}

func (in *patchInput) patch() Patch {
	b := &in.Body
	p := Patch{
		Name: b.Name, Status: (*Status)(b.Status), AuthMethod: (*AuthMethod)(b.AuthMethod), FirstParty: b.FirstParty,
		DeviceAuthorization: b.DeviceAuthorization,
		RedirectURIs:        b.RedirectURIs, PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, Scopes: b.Scopes,
		AccessToken: (*AccessToken)(b.AccessToken), IDTokenAlg: b.IDTokenAlg, Rotation: b.Rotation, JWKSURI: b.JWKSURI,
		BackchannelLogoutURI:  b.BackchannelLogoutURI,
		FrontchannelLogoutURI: b.FrontchannelLogoutURI, FrontchannelSession: b.FrontchannelSession,
		Claims: b.patch(), Mappings: b.Mappings,
		SubjectType: (*SubjectType)(b.SubjectType), SectorIdentifier: b.SectorIdentifier,
		SectorIdentifierURI: b.SectorIdentifierURI, DefaultAPI: b.DefaultAPI,
		TokenEndpointAudience: b.TokenEndpointAudience, AllowUnboundCode: b.AllowUnboundCode,
		PrincipalMode: (*PrincipalMode)(b.PrincipalMode), InspectsTenant: b.InspectsTenantTokens,
	}
	if b.JWKS != nil {
		set := keySet(*b.JWKS)
		p.JWKS = &set
	}
	l := lifetimes(b.AccessTokenSeconds, b.IDTokenSeconds, b.RefreshIdleSeconds, b.RefreshMaxSeconds)
	if l != (Lifetimes{}) {
		p.Lifetimes = &l
	}
	return p
}

// lifetimes returns Lifetimes of so many seconds each.
func lifetimes(access, idToken, idle, maximum int64) Lifetimes {
	return Lifetimes{
		AccessToken: time.Duration(access) * time.Second, IDToken: time.Duration(idToken) * time.Second,
		RefreshIdle: time.Duration(idle) * time.Second, RefreshMax: time.Duration(maximum) * time.Second,
	}
}

// valueOf returns what p points to, or the zero value.
func valueOf[T any](p *T) T {
	var v T
	set(&v, p)
	return v
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// keySet returns the text of a JWKS, or nil for an empty one.
func keySet(set map[string]any) json.RawMessage {
	if len(set) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(set); err != nil { // it came from JSON
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}
