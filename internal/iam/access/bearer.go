package access

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/iam/session"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Faults of admission. A token that is not good is grant.ErrToken.
var (
	ErrNoToken = fault.New(fault.Unauthenticated, "token.missing",
		"Send an access token in the header: Authorization: Bearer, a space, and the token.")
	ErrScope = LacksScope("")
	ErrTwice = fault.New(fault.Invalid, "token.twice", "The access token was sent in more than one way.")
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

// Resource is a protected resource of ours, as its challenges name it.
type Resource struct {
	Site web.Site
	resourceserver.Own
}

// Metadata is the name of the well-known document of a protected resource (RFC 9728 §3).
const Metadata = "oauth-protected-resource"

// Challenge returns the WWW-Authenticate header for a fault of admission (RFC 6750 §3), or "" for
// any other error. It names the metadata of the resource (RFC 9728 §5.1). If the sign-in was not
// strong or fresh enough, it says what would be (RFC 9470 §3).
func (r Resource) Challenge(err error) string {
	code := ""
	stepUp, isStepUp := errors.AsType[*grant.StepUp](err)
	switch {
	case errors.Is(err, ErrNoToken), errors.Is(err, session.ErrNone): // no error code (RFC 6750 §3.1)
	case isStepUp:
		code = "insufficient_user_authentication"
	case errors.Is(err, grant.ErrToken):
		code = "invalid_token"
	case errors.Is(err, ErrScope):
		code = "insufficient_scope"
	case errors.Is(err, ErrTwice):
		code = "invalid_request"
	default:
		return ""
	}
	var b strings.Builder
	add := func(name, value string) {
		if value == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + name + `="` + quotable(value) + `"`)
	}
	add("realm", r.Site.Base)
	if code != "" {
		add("error", code)
		add("error_description", fault.As(err).Reason)
	}
	add("scope", r.Scope)
	if isStepUp {
		add("acr_values", stepUp.ACR)
		if stepUp.MaxAge > 0 {
			add("max_age", strconv.FormatInt(int64(stepUp.MaxAge/time.Second), 10))
		}
	}
	add("resource_metadata", r.Site.WellKnown(Metadata, r.Path))
	return "Bearer" + b.String()
}

// quotable replaces what no attribute of a challenge may have (RFC 6750 §3).
func quotable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < ' ' || c > '~':
			return '?'
		}
		return c
	}, s)
}
