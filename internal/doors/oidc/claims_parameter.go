package oidc

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
)

// claimsRequest is the claims parameter (OpenID Connect Core §5.5): the claims that the client
// wants in the ID token, and those from userinfo.
type claimsRequest struct {
	IDToken  map[string]claimWish `json:"id_token,omitempty"`
	Userinfo map[string]claimWish `json:"userinfo,omitempty"`
}

// claimWish is how the client wants one claim. Its zero value stands for null.
type claimWish struct {
	Essential bool  `json:"essential,omitempty"`
	Value     any   `json:"value,omitempty"`
	Values    []any `json:"values,omitempty"`
}

// maxClaims bounds the claims of each half, and the values of each claim.
const maxClaims = 64

var errClaims = errors.New("claims must be a JSON object with the members id_token and userinfo, " +
	"each an object of claim names with null or {essential, value, values} (OpenID Connect Core, section 5.5)")

// parseClaims reads the claims parameter. It ignores unknown members, as the specification
// requires.
func parseClaims(s string) (claimsRequest, error) {
	if s == "" {
		return claimsRequest{}, nil
	}
	var raw *struct {
		IDToken  map[string]*claimWish `json:"id_token"`
		Userinfo map[string]*claimWish `json:"userinfo"`
	}
	if err := json.Unmarshal([]byte(s), &raw); err != nil || raw == nil {
		return claimsRequest{}, errClaims
	}
	id, ok1 := wishes(raw.IDToken)
	info, ok2 := wishes(raw.Userinfo)
	if !ok1 || !ok2 {
		return claimsRequest{}, errClaims
	}
	return claimsRequest{IDToken: id, Userinfo: info}, nil
}

func wishes(in map[string]*claimWish) (map[string]claimWish, bool) {
	if len(in) == 0 {
		return nil, true
	}
	if len(in) > maxClaims {
		return nil, false
	}
	out := make(map[string]claimWish, len(in))
	for name, w := range in {
		if name == "" || len(name) > maxName || !printable(name) {
			return nil, false
		}
		if w == nil {
			w = &claimWish{}
		}
		if len(w.Values) > maxClaims {
			return nil, false
		}
		out[name] = *w
	}
	return out, true
}

// strings returns the strings in value, or without a value those in values.
func (w claimWish) strings() []string {
	all := w.Values
	if w.Value != nil {
		all = []any{w.Value}
	}
	var out []string
	for _, v := range all {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// within returns c without the claims about the user whose scope is not allowed. The parameter is
// another way to request what scopes stand for (Core §5.5), and does not bypass them.
func (c claimsRequest) within(allowed []string) claimsRequest {
	for _, half := range []map[string]claimWish{c.IDToken, c.Userinfo} {
		maps.DeleteFunc(half, func(name string, _ claimWish) bool {
			scope := claim.ScopeOf(name)
			return scope != "" && !slices.Contains(allowed, scope)
		})
	}
	return c
}

// names returns the names of the requested claims.
func (c claimsRequest) names() map[claim.Place][]string {
	return map[claim.Place][]string{
		claim.IDToken:  slices.Collect(maps.Keys(c.IDToken)),
		claim.Userinfo: slices.Collect(maps.Keys(c.Userinfo)),
	}
}

// scopes returns the scopes of the requested claims about the user, sorted. A claim needs the same
// consent as its scope.
func (c claimsRequest) scopes() []string {
	var out []string
	for _, half := range []map[string]claimWish{c.IDToken, c.Userinfo} {
		for name := range half {
			if scope := claim.ScopeOf(name); scope != "" && !slices.Contains(out, scope) {
				out = append(out, scope)
			}
		}
	}
	slices.Sort(out)
	return out
}

// subject returns the sub that the claims parameter requires (Core §5.5.1), or "". It returns false
// if the two halves require different ones, or a value that is not a string: no user can have that.
func (c claimsRequest) subject() (string, bool) {
	sub := ""
	for _, half := range []map[string]claimWish{c.IDToken, c.Userinfo} {
		w, asked := half["sub"]
		if !asked || w.Value == nil {
			continue
		}
		s, isString := w.Value.(string)
		if !isString || s == "" || sub != "" && s != sub {
			return "", false
		}
		sub = s
	}
	return sub, true
}
