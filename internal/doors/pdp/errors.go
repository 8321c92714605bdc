package pdp

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gatehouse-iam/gatehouse/internal/doors/pdp/wire"
	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// codeOf maps every kind of fault to a gRPC code.
func codeOf(k fault.Kind) codes.Code {
	switch k {
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.Unauthenticated:
		return codes.Unauthenticated
	case fault.Denied:
		return codes.PermissionDenied
	case fault.NotFound:
		return codes.NotFound
	case fault.Conflict:
		return codes.FailedPrecondition
	case fault.Limited:
		return codes.ResourceExhausted
	case fault.Unavailable:
		return codes.Unavailable
	case fault.Internal:
		return codes.Internal
	}
	return codes.Internal
}

// httpStatus maps gRPC codes to HTTP statuses, as grpc-gateway does.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.InvalidArgument, codes.FailedPrecondition:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

type statusError interface {
	error
	GRPCStatus() *status.Status
}

// statusOf returns the status that answers err. A status stays as it is. A fault has its kind and
// its sentence. The cause of any other error goes to the log.
func statusOf(ctx context.Context, err error) *status.Status {
	if s, ok := errors.AsType[statusError](err); ok {
		return s.GRPCStatus()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		web.NoteError(ctx, err)
		return status.New(codes.DeadlineExceeded,
			"The answer took too long. Try again, with fewer resources if there are many.")
	}
	f := fault.As(err)
	code := codeOf(f.Kind)
	if f.Kind.Logged() || errors.Is(err, engine.ErrNoPlan) {
		web.NoteError(ctx, err)
	}
	return status.New(code, f.Reason)
}

func callError(ctx context.Context, err error) error { return statusOf(ctx, err).Err() }

// refuse answers with an error, in the form of grpc-gateway: {code, message, details}.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	st := statusOf(r.Context(), err)
	h := w.Header()
	at := access.Resource{Site: web.SiteOf(r), Own: resourceserver.Decision}
	if c := at.Challenge(err); c != "" {
		h.Set("WWW-Authenticate", c)
	}
	if errors.Is(err, access.ErrClient) {
		h.Set("WWW-Authenticate", `Basic realm="decisions", charset="UTF-8"`)
	}
	if code := st.Code(); code == codes.ResourceExhausted || code == codes.Unavailable {
		h.Set("Retry-After", "1")
	}
	body, merr := protojson.Marshal(st.Proto())
	if merr != nil { // a detail that is not UTF-8
		body = wire.Write(status.New(st.Code(), strings.ToValidUTF8(st.Message(), "\uFFFD")).Proto())
	}
	web.WriteJSON(w, httpStatus(st.Code()), body)
}
