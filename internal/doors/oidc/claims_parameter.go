package oidc

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// claimsRequest is the claims parameter (OpenID Connect Core §5.5): what is wanted in
// the ID token and what from userinfo, apart from one another.
type claimsRequest struct {
	IDToken  map[string]claimWish `json:"id_token,omitempty"`
	Userinfo map[string]claimWish `json:"userinfo,omitempty"`
}

// claimWish says how one claim is wanted; the zero value is what null stands for.
type claimWish struct {
	Essential bool  `json:"essential,omitempty"`
	Value     any   `json:"value,omitempty"`
	Values    []any `json:"values,omitempty"`
}

// maxClaims bounds the claims asked for in each half, and the values of each.
const maxClaims = 64

var errClaims = errors.New("claims must be a JSON object with the members id_token and userinfo, " +
	"each an object of claim names with null or {essential, value, values} (OpenID Connect Core, section 5.5)")

// parseClaims reads the claims parameter. Members that are not understood are
// ignored, as the specification asks for.
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

// strings returns the text values that w asks for: value, else values.
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

// scopeOfClaim says which scope a claim about the person belongs to.
var scopeOfClaim = func() map[string]string {
	m := map[string]string{}
	for scope, names := range scopeClaims {
		for _, name := range names {
			m[name] = scope
		}
	}
	return m
}()

// within returns c without the claims about the person whose scope is not allowed: the
// parameter is another way to ask for what scopes stand for (Core §5.5), no way round them.
func (c claimsRequest) within(allowed []string) claimsRequest {
	for _, half := range []map[string]claimWish{c.IDToken, c.Userinfo} {
		maps.DeleteFunc(half, func(name string, _ claimWish) bool {
			scope, about := scopeOfClaim[name]
			return about && !slices.Contains(allowed, scope)
		})
	}
	return c
}

// scopes returns the scopes that the claims about the person belong to, sorted: who
// asks for a claim needs the same consent as who asks for its scope.
func (c claimsRequest) scopes() []string {
	var out []string
	for _, half := range []map[string]claimWish{c.IDToken, c.Userinfo} {
		for name := range half {
			if scope := scopeOfClaim[name]; scope != "" && !slices.Contains(out, scope) {
				out = append(out, scope)
			}
		}
	}
	slices.Sort(out)
	return out
}

// subject returns the sub that the claims parameter insists on (Core §5.5.1), or "".
// ok is false when its two halves insist on different ones, or on one that is no text:
// nobody can satisfy that.
func (c claimsRequest) subject() (sub string, ok bool) {
	for _, half := range []map[string]claimWish{c.IDToken, c.Userinfo} {
		w, asked := half["sub"]
		if !asked || w.Value == nil {
			continue
		}
		s, text := w.Value.(string)
		if !text || s == "" || sub != "" && s != sub {
			return "", false
		}
		sub = s
	}
	return sub, true
}
