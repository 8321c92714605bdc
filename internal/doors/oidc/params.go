package oidc

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits on the parameters of one request.
const (
	maxParams    = 64
	maxName      = 64       // bytes
	maxValue     = 4 << 10  // bytes
	maxLongValue = 16 << 10 // bytes, for longParams
)

// longParams are the parameters that may have up to maxLongValue bytes.
var longParams = map[string]bool{
	"claims": true, "id_token_hint": true, "client_assertion": true, "token": true, "request": true,
}

// repeatable are the parameters that may come more than once (RFC 8707 §2, RFC 8693 §2.1).
var repeatable = map[string]bool{"resource": true, "audience": true}

// params are the parameters of one request. A parameter without a value is treated as not sent
// (RFC 6749 §3.1).
type params struct {
	values map[string]string
	// repeated is the name of a parameter that was sent more than once, or "". It is not in values.
	repeated string
	lists    map[string][]string // the values of the repeatable parameters, in their order
}

// get returns the value of name, or "" if it was not sent.
func (p params) get(name string) string { return p.values[name] }

// has reports whether name was sent with a value.
func (p params) has(name string) bool { return p.values[name] != "" }

var (
	errMalformed = errors.New("the parameters cannot be decoded: " +
		"they must be UTF-8, percent-encoded, without control characters")
	errTooMany = errors.New("there are too many parameters, or one of them is too long")
)

// parseQuery reads the raw query of a request.
func parseQuery(raw string) (params, error) {
	if strings.Count(raw, "&") >= maxParams {
		return params{}, errTooMany
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return params{}, errMalformed
	}
	return paramsOf(v)
}

// paramsOf returns decoded parameters.
func paramsOf(v url.Values) (params, error) {
	p := params{values: make(map[string]string, len(v)), lists: map[string][]string{}}
	n := 0
	for name, values := range v {
		n += len(values)
		if n > maxParams || len(name) > maxName {
			return params{}, errTooMany
		}
		if !printable(name) {
			return params{}, errMalformed
		}
		limit := maxValue
		if longParams[name] {
			limit = maxLongValue
		}
		for _, s := range values {
			if len(s) > limit {
				return params{}, errTooMany
			}
			if !printable(s) {
				return params{}, errMalformed
			}
		}
		switch {
		case repeatable[name]:
			for _, s := range values {
				if s != "" && !slices.Contains(p.lists[name], s) {
					p.lists[name] = append(p.lists[name], s)
				}
			}
		case len(values) > 1:
			// Map order is random: name the same one every time.
			if p.repeated == "" || name < p.repeated {
				p.repeated = name
			}
		case values[0] != "":
			p.values[name] = values[0]
		}
	}
	return p, nil
}

// printable reports whether s is UTF-8 that can be stored, logged and sent in a header. It accepts
// line breaks and tabs, because clients format the claims parameter.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// words splits a space-delimited parameter (scope, prompt, acr_values, ui_locales) and drops
// repetitions. It fails for more than limit words.
func words(s string, limit int) ([]string, error) {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
	if len(fields) > limit {
		return nil, errTooMany
	}
	out := make([]string, 0, len(fields))
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out, nil
}
