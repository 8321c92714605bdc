package admin

import (
	"net/http"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// answer maps every kind of fault to its HTTP status, and adds the challenge of
// RFC 6750 §3 where a token was missing, not good or not enough.
func answer(f *fault.Fault) (int, http.Header) {
	switch f.Kind {
	case fault.Invalid:
		if f.Code == policy.ErrInvalid.Code { // the request is right, the policies in it are not
			return http.StatusUnprocessableEntity, nil
		}
		return http.StatusBadRequest, nil
	case fault.Unauthenticated:
		return http.StatusUnauthorized, http.Header{"Www-Authenticate": {access.Challenge(f, Scope)}}
	case fault.Denied:
		if c := access.Challenge(f, Scope); c != "" {
			return http.StatusForbidden, http.Header{"Www-Authenticate": {c}}
		}
		return http.StatusForbidden, nil
	case fault.NotFound:
		return http.StatusNotFound, nil
	case fault.Conflict:
		return http.StatusConflict, nil
	case fault.Limited:
		return http.StatusTooManyRequests, http.Header{"Retry-After": {"1"}}
	case fault.Unavailable:
		return http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}
	case fault.Internal:
		return http.StatusInternalServerError, nil
	}
	return http.StatusInternalServerError, nil
}
