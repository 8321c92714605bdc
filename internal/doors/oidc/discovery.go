package oidc

import (
	"context"
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/signin"
	"github.com/gatehouse-iam/gatehouse/internal/kit/jose"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// metadata describes the provider (OpenID Connect Discovery §3, RFC 8414 §2, RFC 8628 §4,
// RFC 9207 §3, RP-Initiated Logout §2.1, Front-Channel and Back-Channel Logout §2, Session
// Management §3.3).
type metadata struct {
	Issuer                string                   `json:"issuer"`
	Authorization         string                   `json:"authorization_endpoint"`
	Token                 string                   `json:"token_endpoint"`
	Userinfo              string                   `json:"userinfo_endpoint"`
	JWKS                  string                   `json:"jwks_uri"`
	Introspection         string                   `json:"introspection_endpoint"`
	Revocation            string                   `json:"revocation_endpoint"`
	DeviceAuthorization   string                   `json:"device_authorization_endpoint"`
	EndSession            string                   `json:"end_session_endpoint"`
	CheckSession          string                   `json:"check_session_iframe"`
	Scopes                []string                 `json:"scopes_supported"`
	ResponseTypes         []string                 `json:"response_types_supported"`
	ResponseModes         []string                 `json:"response_modes_supported"`
	GrantTypes            []string                 `json:"grant_types_supported"`
	ACRValues             []string                 `json:"acr_values_supported"`
	SubjectTypes          []string                 `json:"subject_types_supported"`
	IDTokenAlgs           []jose.Algorithm         `json:"id_token_signing_alg_values_supported"`
	TokenAuth             []application.AuthMethod `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs         []jose.Algorithm         `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuth     []application.AuthMethod `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgs []jose.Algorithm         `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationAuth        []application.AuthMethod `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs    []jose.Algorithm         `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	ClaimTypes            []string                 `json:"claim_types_supported"`
	Claims                []string                 `json:"claims_supported"`
	ClaimsParameter       bool                     `json:"claims_parameter_supported"`
	RequestParameter      bool                     `json:"request_parameter_supported"`
	RequestURIParameter   bool                     `json:"request_uri_parameter_supported"`
	PromptValues          []string                 `json:"prompt_values_supported"`
	ChallengeMethods      []string                 `json:"code_challenge_methods_supported"`
	IssParameter          bool                     `json:"authorization_response_iss_parameter_supported"`
	UILocales             []string                 `json:"ui_locales_supported"`
	BackchannelLogout     bool                     `json:"backchannel_logout_supported"`
	BackchannelSession    bool                     `json:"backchannel_logout_session_supported"`
	FrontchannelLogout    bool                     `json:"frontchannel_logout_supported"`
	FrontchannelSession   bool                     `json:"frontchannel_logout_session_supported"`
	ProtectedResources    []string                 `json:"protected_resources"` // RFC 9728 §4
}

// protectedResources returns our own APIs.
func protectedResources(issuer string) []string {
	var out []string
	for _, a := range resourceserver.BuiltIn(issuer) {
		out = append(out, a.Identifier)
	}
	return out
}

// describe returns the metadata of an issuer.
func describe(issuer string) metadata {
	confidential := []application.AuthMethod{application.AuthBasic, application.AuthPost, application.AuthJWT}
	all := append([]application.AuthMethod{application.AuthNone}, confidential...)
	own := []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"}
	return metadata{
		Issuer:              issuer,
		Authorization:       issuer + "/oauth2/authorize",
		Token:               issuer + tokenPath,
		Userinfo:            issuer + userinfoPath,
		JWKS:                issuer + "/oauth2/jwks",
		Introspection:       issuer + introspectPath,
		Revocation:          issuer + revokePath,
		EndSession:          issuer + logoutPath,
		DeviceAuthorization: issuer + devicePath,
		CheckSession:        issuer + checkSessionPath,
		Scopes: []string{scopeOpenID, claim.ScopeProfile, claim.ScopeEmail, claim.ScopeGroups,
			claim.ScopeRoles, scopeOffline},
		ResponseTypes:     []string{"code"},
		ResponseModes:     []string{modeQuery, modeFormPost},
		GrantTypes:        grantTypeNames(),
		ACRValues:         signin.Levels,
		SubjectTypes:      []string{string(application.Public), string(application.Pairwise)},
		IDTokenAlgs:       jose.Signing,
		TokenAuth:         all,
		TokenAuthAlgs:     jose.Verifying,
		IntrospectionAuth: confidential, IntrospectionAuthAlgs: jose.Verifying,
		RevocationAuth: all, RevocationAuthAlgs: jose.Verifying,
		ClaimTypes:        []string{"normal", "distributed"},
		Claims:            append(own, claim.Names...),
		ClaimsParameter:   true,
		PromptValues:      []string{"none", "login", "consent", "select_account"},
		ChallengeMethods:  []string{"S256"},
		IssParameter:      true,
		BackchannelLogout: true, BackchannelSession: true,
		FrontchannelLogout: true, FrontchannelSession: true,
		UILocales:          []string{"en", "de"},
		ProtectedResources: protectedResources(issuer),
	}
}

// discovery answers both well-known addresses with the same bytes.
func (d *Door) discovery(w http.ResponseWriter, r *http.Request) error {
	issuer := web.SiteOf(r).Base
	body, err := d.metadata.Get(r.Context(), web.CallerOf(r).Tenant, issuer, func(context.Context) ([]byte, error) {
		return jsonBody(describe(issuer)), nil
	})
	if err != nil {
		return err
	}
	writePublic(w, body)
	return nil
}

// jwks answers the tenant's published keys (RFC 7517 §5).
func (d *Door) jwks(w http.ResponseWriter, r *http.Request) error {
	body, err := d.Keys.JWKS(r.Context(), web.CallerOf(r))
	if err != nil {
		return err
	}
	writePublic(w, body)
	return nil
}

// writePublic answers with a body that is the same for every client. Clients may cache it for less
// time than a next key is published before it signs.
func writePublic(w http.ResponseWriter, body []byte) {
	w.Header()["Cache-Control"] = cacheable
	web.WriteJSON(w, http.StatusOK, body)
}
