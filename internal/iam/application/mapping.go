package application

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Mapping is one more claim about the users of an application. iam/claim evaluates it.
type Mapping struct {
	Claim      string   `json:"claim" minLength:"1" maxLength:"200" doc:"The claim's name, such as role or https://hasura.io/jwt/claims. A claim of a scope, such as groups, is replaced, whatever the scopes are." example:"role"`
	Expression string   `json:"expression" minLength:"1" maxLength:"4096" doc:"A CEL expression over user, groups, group_ids, roles and application. Its value may be anything that JSON has, of at most 8 KB." example:"\"grafana-admins\" in groups ? \"Admin\" : \"Viewer\""`
	In         []string `json:"in,omitempty" enum:"id_token,userinfo,access_token" maxItems:"3" doc:"Where the claim is included. Introspection includes what the access token has. Default: id_token and userinfo."`
}

// The places of a mapping.
const (
	InIDToken     = "id_token"
	InUserinfo    = "userinfo"
	InAccessToken = "access_token"
)

// Limits on the mappings of an application.
const (
	maxMappings   = 32
	maxClaimName  = 200     // bytes
	maxExpression = 4 << 10 // bytes
)

// reservedClaims are the claims that say what a token or an answer is, besides those about a user.
// Nothing about a user has their names. RFC 7519, 7662, 7800, 8693, 9068, OpenID Connect Core and
// its logout specifications define most of them.
var reservedClaims = []string{
	"iss", "sub", "aud", "exp", "iat", "nbf", "jti",
	"auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash", "s_hash", "sid", "events", "toe", "sub_jwk",
	"client_id", "scope", "cnf", "act", "may_act", "active", "username", "token_type", "authorization_details",
	"_claim_names", "_claim_sources",
	"token_use", "app", "gid", // ours, of access tokens
}

// ReservedClaim reports whether a claim belongs to a token or an answer, and not to a user. Names
// that differ by case are one: programs written in Go read claims that way.
func ReservedClaim(name string) bool { return folded(reservedClaims, name) }

// accountClaims are those by which applications link accounts. A mapping could claim to have
// verified an address.
var accountClaims = []string{"email", "email_verified"}

// MayMap reports whether a mapping may have a claim of this name. It has visible ASCII characters
// only: others look like, or are read as, those of another name.
func MayMap(name string) bool {
	return name != "" && len(name) <= maxClaimName && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f
	}) && !ReservedClaim(name) && !folded(accountClaims, name)
}

// folded reports whether names has one that differs from name by case at most.
func folded(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// WithMappings returns the application as it would be with other mappings. It fails with a fault
// that names every wrong field.
func (a *Application) WithMappings(m []Mapping) (*Application, error) {
	changed := *a
	changed.Mappings = slices.Clone(m)
	var wrong fault.Fields
	changed.checkMappings(&wrong)
	return &changed, wrong.Err("application.invalid")
}

// checkMappings adds what is wrong with the mappings. It does not compile their expressions.
func (a *Application) checkMappings(wrong *fault.Fields) {
	if a.Mappings == nil {
		a.Mappings = []Mapping{}
	}
	switch {
	case len(a.Mappings) > maxMappings:
		wrong.Add("mappings", "There may be at most %d.", maxMappings)
		return
	case a.Type == Machine && len(a.Mappings) > 0:
		wrong.Add("mappings", "A machine application has none, because users do not sign in to it.")
		return
	}
	for i, m := range a.Mappings {
		at := func(field string) string { return fmt.Sprintf("mappings[%d].%s", i, field) }
		switch name := m.Claim; {
		case ReservedClaim(name):
			wrong.Add(at("claim"), "%s says something about the token. No mapping can replace it.", name)
		case folded(accountClaims, name):
			wrong.Add(at("claim"), "Applications find their accounts by a verified address, so email and "+
				"email_verified are always the user's own. Use another name.")
		case !MayMap(name):
			wrong.Add(at("claim"), "A claim has a name of 1 to %d visible ASCII characters, without spaces.",
				maxClaimName)
		case slices.ContainsFunc(a.Mappings[:i], func(m Mapping) bool { return strings.EqualFold(m.Claim, name) }):
			wrong.Add(at("claim"), "Another mapping has this claim already. Case makes no difference.")
		}
		if m.Expression == "" || len(m.Expression) > maxExpression || !utf8.ValidString(m.Expression) {
			wrong.Add(at("expression"), "An expression has 1 to %d bytes.", maxExpression)
		}
		if len(m.In) == 0 {
			a.Mappings[i].In = []string{InIDToken, InUserinfo}
		}
		for j, in := range m.In {
			if in != InIDToken && in != InUserinfo && in != InAccessToken {
				wrong.Add(fmt.Sprintf("%s[%d]", at("in"), j), "Use id_token, userinfo or access_token.")
			} else if slices.Contains(m.In[:j], in) {
				wrong.Add(fmt.Sprintf("%s[%d]", at("in"), j), "This is already in the list.")
			}
		}
	}
}
