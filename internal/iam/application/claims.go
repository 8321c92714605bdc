package application

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Claims are the settings of an application for the claims about its users. The column claims
// stores them as JSON. An application of an earlier release has the zero value.
type Claims struct {
	// InIDToken puts the claims of the scopes profile and email into the ID token too, for
	// applications that do not ask userinfo (OpenID Connect Core §5.4).
	InIDToken bool `json:"id_token,omitempty"`
	// GroupIDs names groups by their ids instead of their names, which can change.
	GroupIDs bool `json:"group_ids,omitempty"`
	// Groups and Roles are patterns: the application is told only what matches one. An empty list
	// matches everything.
	Groups []string `json:"groups,omitempty"`
	Roles  []string `json:"roles,omitempty"`
}

// ClaimsPatch is a change to Claims. Fields that are nil stay unchanged.
type ClaimsPatch struct {
	InIDToken     *bool
	GroupClaim    *string // "name" or "id"
	Groups, Roles *[]string
}

func (p ClaimsPatch) apply(c *Claims) {
	set(&c.InIDToken, p.InIDToken)
	if p.GroupClaim != nil {
		c.GroupIDs = *p.GroupClaim == groupID
	}
	set(&c.Groups, p.Groups)
	set(&c.Roles, p.Roles)
}

// The values of group_claim.
const (
	groupName = "name"
	groupID   = "id"
)

// Limits on the patterns of an application.
const (
	maxPatterns = 50
	maxPattern  = 128 // code points, as a group's name has
)

// Matches reports whether patterns include a name. A pattern is a name, or the beginning of names
// and an asterisk. Without patterns everything is included.
func Matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		start, open := strings.CutSuffix(p, "*")
		return p == name || open && strings.HasPrefix(name, start)
	})
}

// checkClaims adds what is wrong with the settings for claims.
func (a *Application) checkClaims(wrong *fault.Fields) {
	for _, l := range []struct {
		field    string
		patterns []string
	}{{"group_filter", a.Claims.Groups}, {"role_filter", a.Claims.Roles}} {
		if len(l.patterns) > maxPatterns {
			wrong.Add(l.field, "There may be at most %d.", maxPatterns)
			continue
		}
		for i, p := range l.patterns {
			if p == "" || !utf8.ValidString(p) || utf8.RuneCountInString(p) > maxPattern ||
				strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				wrong.Add(fmt.Sprintf("%s[%d]", l.field, i), "Use a name, or its beginning and an asterisk such as "+
					"billing-*, of at most %d characters.", maxPattern)
			}
		}
	}
}

// ClaimsBody are the settings for claims in a request.
type ClaimsBody struct {
	IDTokenClaims *bool     `json:"id_token_claims,omitempty" doc:"Put the claims of the scopes profile and email into the ID token, for applications that do not ask userinfo. A new application has true."`
	GroupClaim    *string   `json:"group_claim,omitempty" enum:"name,id" doc:"How the claim groups names a group. A new application has name. An id stays when the group is renamed."`
	GroupFilter   *[]string `json:"group_filter,omitempty" maxItems:"50" doc:"The claim groups includes only the groups with one of these names. An asterisk at the end stands for any rest. Empty: all groups." example:"[\"billing-*\"]"`
	RoleFilter    *[]string `json:"role_filter,omitempty" maxItems:"50" doc:"Like group_filter, for the claim roles."`
}

func (b ClaimsBody) patch() ClaimsPatch {
	return ClaimsPatch{InIDToken: b.IDTokenClaims, GroupClaim: b.GroupClaim, Groups: b.GroupFilter, Roles: b.RoleFilter}
}

// ClaimsView are the settings for claims as the API shows them.
type ClaimsView struct {
	IDTokenClaims bool     `json:"id_token_claims"`
	GroupClaim    string   `json:"group_claim" enum:"name,id"`
	GroupFilter   []string `json:"group_filter"`
	RoleFilter    []string `json:"role_filter"`
}

func (c Claims) view() ClaimsView {
	v := ClaimsView{c.InIDToken, groupName, c.Groups, c.Roles}
	if c.GroupIDs {
		v.GroupClaim = groupID
	}
	if v.GroupFilter == nil {
		v.GroupFilter = []string{}
	}
	if v.RoleFilter == nil {
		v.RoleFilter = []string{}
	}
	return v
}
