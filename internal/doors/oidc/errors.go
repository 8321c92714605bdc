package oidc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Error codes of RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, and
// OpenID Connect Core §3.1.2.6.
const (
	codeInvalidRequest      = "invalid_request"
	codeInvalidClient       = "invalid_client"
	codeInvalidGrant        = "invalid_grant"
	codeInvalidScope        = "invalid_scope"
	codeInvalidToken        = "invalid_token"
	codeStepUp              = "insufficient_user_authentication" // RFC 9470 §3
	codeInsufficientScope   = "insufficient_scope"
	codeUnauthorizedClient  = "unauthorized_client"
	codeUnsupportedGrant    = "unsupported_grant_type"
	codeUnsupportedResponse = "unsupported_response_type"
	codeAccessDenied        = "access_denied"
	codeServerError         = "server_error"
	codeUnavailable         = "temporarily_unavailable"
	codeLoginRequired       = "login_required"
	codeConsentRequired     = "consent_required"
	codeInteractionRequired = "interaction_required"
	codeRequestUnsupported  = "request_not_supported"
	codeRequestURI          = "request_uri_not_supported"
	codeRegistration        = "registration_not_supported"
	codeInvalidTarget       = "invalid_target" // RFC 8707 §2
	codeUnmetAuthentication = "unmet_authentication_requirements"
)

// serverTrouble is the description of server_error.
const serverTrouble = "Something went wrong on our side. Try again. " +
	"If it happens again, give the request id to your administrator."

// pageError is shown to the user on a page of ours. The client or the redirect URI is not valid, so
// nothing may be sent there.
type pageError struct {
	status int
	code   string
	reason string
}

func (e *pageError) Error() string { return e.code + ": " + e.reason }

func onPage(code, reason string, args ...any) error {
	return &pageError{http.StatusBadRequest, code, fmt.Sprintf(reason, args...)}
}

// redirectError is sent to a validated redirect URI (RFC 6749 §4.1.2.1).
type redirectError struct {
	to          target
	code        string
	description string
	client      string // the client_id, if the request that failed does not name it
}

func (e *redirectError) Error() string { return e.code + ": " + e.description }

// fail returns an error that is sent to t.
func (t target) fail(code, description string, args ...any) error {
	return &redirectError{to: t, code: code, description: plainText(fmt.Sprintf(description, args...))}
}

// apiError is answered directly, as JSON (RFC 6749 §5.2).
type apiError struct {
	status      int
	code        string
	description string
	challenge   string // the WWW-Authenticate header, or ""

	cause    string // why it was refused, for the log and the audit log, if that is more than the answer
	client   bool   // the client's authentication failed, whatever the code
	clientID string // of the application that a token was issued to, or ""
}

func (e *apiError) Error() string { return e.code + ": " + e.description }

func badRequest(code, description string) *apiError {
	return &apiError{status: http.StatusBadRequest, code: code, description: description}
}

func invalidRequest(description string, args ...any) error {
	return badRequest(codeInvalidRequest, fmt.Sprintf(description, args...))
}

func invalidGrant(description string) *apiError {
	return badRequest(codeInvalidGrant, description)
}

func invalidScope(description string, args ...any) error {
	return badRequest(codeInvalidScope, fmt.Sprintf(description, args...))
}

func tooManyScopes() error { return invalidScope("scope has more than %d entries.", maxScopes) }

// invalidClient is a failed client authentication. A client that tried Basic gets a challenge for
// it (RFC 6749 §5.2).
func invalidClient(description string, basic bool) *apiError {
	e := &apiError{status: http.StatusUnauthorized, code: codeInvalidClient, description: description}
	if basic {
		e.challenge = `Basic realm="oauth2", charset="UTF-8"`
	}
	return e
}

// directCode maps a kind of fault to the status and the error code of the JSON endpoints. The
// switch is exhaustive over fault.Kinds.
func directCode(k fault.Kind) (int, string) {
	switch k {
	case fault.Invalid, fault.NotFound, fault.Conflict:
		return http.StatusBadRequest, codeInvalidRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized, codeInvalidClient
	case fault.Denied:
		return http.StatusForbidden, codeAccessDenied
	case fault.Limited:
		return http.StatusTooManyRequests, codeUnavailable
	case fault.Unavailable:
		return http.StatusServiceUnavailable, codeUnavailable
	case fault.Internal:
		return http.StatusInternalServerError, codeServerError
	}
	return http.StatusInternalServerError, codeServerError
}

// refuse answers a request that was refused before an endpoint saw it (RFC 6749 §5.2).
func refuse(w http.ResponseWriter, r *http.Request, f web.Refusal) {
	body := errorBody{refusalCode(f.Status), plainText(f.Reason), web.RequestIDOf(r.Context())}
	writeJSON(w, f.Status, jsonBody(body))
}

// refusalCode returns the closest error code of RFC 6749 §4.1.2.1 and §5.2. A suspended tenant
// (403) is temporarily unavailable to its clients.
func refusalCode(status int) string {
	switch {
	case status >= 500 && status != http.StatusServiceUnavailable:
		return codeServerError
	case status == http.StatusForbidden, status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return codeUnavailable
	}
	return codeInvalidRequest
}

// plainText replaces what error_description may not have: it is printable ASCII without quotes and
// backslashes (RFC 6749 §4.1.2.1, §5.2). s may quote the request.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ', r > '~', r == '\\':
			return '?'
		}
		return r
	}, s)
}

type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
	RequestID   string `json:"request_id,omitempty"`
}

// jsonBody returns v as JSON. v is of a type of this package that can always be encoded.
func jsonBody(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("oidc: " + err.Error())
	}
	return append(b, '\n')
}
