package admin

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/policy"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// answer returns the HTTP status of a fault, and its headers. A token that is missing, bad or lacks
// the scope gets the challenge of RFC 6750 §3.
func answer(ctx context.Context, f *fault.Fault) (int, http.Header) {
	status := web.Status(f.Kind)
	h := http.Header{}
	switch f.Kind {
	case fault.Unauthenticated, fault.Denied:
		at := access.Resource{Site: web.SiteIn(ctx), Own: resourceserver.Management}
		if c := at.Challenge(f); c != "" {
			h.Set("WWW-Authenticate", c)
		}
	case fault.Limited, fault.Unavailable:
		h.Set("Retry-After", "1")
		if f.Quota != nil {
			h.Set("Retry-After", strconv.Itoa(int(f.Quota.Wait/time.Second)))
		}
	case fault.Invalid:
		if f.Code == policy.ErrInvalid.Code { // the request is right, the policies in it are not
			status = http.StatusUnprocessableEntity
		}
		status = cmp.Or(api.StatusOf(f), status)
	case fault.Conflict:
		if f.Code == api.ErrRunning.Code {
			h.Set("Retry-After", "1")
		}
		status = cmp.Or(api.StatusOf(f), status)
	case fault.Internal, fault.NotFound:
	}
	return status, h
}
