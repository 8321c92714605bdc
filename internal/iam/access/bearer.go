package access

import (
	"errors"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Faults of admission. A token that is not good is grant.ErrToken.
var (
	ErrNoToken = fault.New(fault.Unauthenticated, "token.missing",
		"Send an access token in the header: Authorization: Bearer, a space, and the token.")
	ErrScope = LacksScope("")
)

// LacksScope returns ErrScope with the scope that is missing.
func LacksScope(scope string) *fault.Fault {
	return fault.New(fault.Denied, "token.scope", "The access token is good, but it does not have the scope %s.", scope)
}

// Bearer returns the bearer token of a request (RFC 6750 §2.1) from the values of its
// Authorization header, of which there must be exactly one. Doors ignore tokens in a query.
func Bearer(authorization []string) (string, bool) {
	if len(authorization) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(authorization[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}

// Challenge returns the WWW-Authenticate header for a fault of admission (RFC 6750 §3), or "" for
// any other error. It names scope unless that is "".
func Challenge(err error, scope string) string {
	var attributes []string
	switch {
	case errors.Is(err, ErrNoToken): // no error code (RFC 6750 §3.1)
	case errors.Is(err, grant.ErrToken):
		attributes = append(attributes, `error="invalid_token"`)
	case errors.Is(err, ErrScope):
		attributes = append(attributes, `error="insufficient_scope"`)
	default:
		return ""
	}
	if scope != "" {
		attributes = append(attributes, `scope="`+scope+`"`)
	}
	return strings.TrimSpace("Bearer " + strings.Join(attributes, ", "))
}
