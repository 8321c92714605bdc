package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Problem is the answer of a failed operation, as application/problem+json (RFC 9457).
type Problem struct {
	Type      string       `json:"type" doc:"Always about:blank: code says which problem it is."`
	Title     string       `json:"title" doc:"The status in words."`
	Status    int          `json:"status" doc:"The HTTP status."`
	Code      string       `json:"code" doc:"Which problem it is. Stable: programs may depend on it." example:"user.email_taken"`
	Detail    string       `json:"detail" doc:"What happened and what to do, for people."`
	Errors    []FieldError `json:"errors,omitempty" doc:"What is wrong with which field."`
	RequestID string       `json:"request_id,omitempty" doc:"Ties this answer to the server's log and audit events."`

	Limit *LimitReached `json:"limit,omitempty" doc:"With limit.reached: which limit."`

	header http.Header
}

// LimitReached is the limit of a tenant that refused a call.
type LimitReached struct {
	Name     string    `json:"name" example:"users"`
	Limit    int64     `json:"limit"`
	ResetsAt time.Time `json:"resets_at,omitzero" doc:"Absent if it does not reset."`
}

// FieldError describes one wrong field.
type FieldError struct {
	Name   string `json:"name" doc:"The field or parameter, as the request wrote it." example:"redirect_uris[0]"`
	Reason string `json:"reason" doc:"What is wrong and what is accepted."`

	File    string `json:"file,omitempty" doc:"The file that is wrong, if the problem is in a file."`
	Line    int    `json:"line,omitempty" doc:"Where in the file, from 1."`
	Column  int    `json:"column,omitempty" doc:"Where in the line, from 1."`
	Message string `json:"message,omitempty" doc:"What is wrong with the file; the same as reason."`
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problem returns the problem document of err and notes its cause for the log.
func (m *Mount) problem(ctx context.Context, err error) *Problem {
	f := fault.As(err)
	if f.Kind.Logged() {
		web.NoteError(ctx, err)
	}
	status, header := m.Answer(ctx, f)
	p := newProblem(ctx, status, f.Code, f.Reason)
	p.header = header
	if q := f.Quota; q != nil {
		p.Limit = &LimitReached{Name: q.Name, Limit: q.Most, ResetsAt: q.Resets}
	}
	for _, fd := range f.Fields {
		e := FieldError{Name: fd.Name, Reason: fd.Reason}
		if fd.File {
			e.File, e.Line, e.Column, e.Message = fd.Name, fd.Line, fd.Column, fd.Reason
		}
		p.Errors = append(p.Errors, e)
	}
	return p
}

// StatusOf returns the HTTP status of a fault of this package that has another one than its kind,
// or 0.
func StatusOf(f *fault.Fault) int {
	switch f.Code {
	case ErrPrecondition.Code, errUnconditional.Code: // RFC 9110 §13.1
		return http.StatusPreconditionFailed
	case errKeyReused.Code: // draft-ietf-httpapi-idempotency-key-header §2.7
		return http.StatusUnprocessableEntity
	}
	return 0
}

func newProblem(ctx context.Context, status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail,
		RequestID: web.RequestIDOf(ctx)}
}

// write answers with p, for refusals before huma has begun.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	b, _ := json.Marshal(p) // texts and numbers only
	web.WriteProblemJSON(w, p.Status, append(b, '\n'))
}

// fromHuma rewords a refusal of huma: of a body that cannot be decoded or breaks the schema.
func fromHuma(ctx context.Context, status int, msg string, errs []error) *Problem {
	p := newProblem(ctx, status, "request.malformed", "")
	switch status {
	case http.StatusUnprocessableEntity:
		p = newProblem(ctx, http.StatusBadRequest, "request.invalid", "")
	case http.StatusRequestEntityTooLarge:
		p.Code, p.Detail = "request.too_large", "The request is larger than we accept."
	case http.StatusRequestTimeout:
		p.Code, p.Detail = "request.timeout", "The request did not arrive in time. Send it again."
	case http.StatusUnsupportedMediaType:
		p.Code, p.Detail = "request.content_type", "The request must be JSON: Content-Type application/json."
	case http.StatusBadRequest:
		if len(errs) == 0 {
			p.Detail = "The request needs a body."
		}
	default:
		// huma answers 500 when the body breaks off; whatever else it may be was
		// noted, and is the request's fault only if the request was being read.
		web.NoteError(ctx, errorsOf(msg, errs))
		if msg == "cannot read request body" {
			p = newProblem(ctx, http.StatusBadRequest, "request.malformed",
				"The request's body could not be read to its end.")
		} else {
			f := fault.As(errorsOf(msg, errs))
			p.Code, p.Detail = f.Code, f.Reason
		}
		return p
	}
	if p.Detail != "" {
		return p
	}
	var unknown []FieldError // huma reports them in the random order of a map
	for _, err := range errs {
		if err == nil {
			continue
		}
		d := &huma.ErrorDetail{Message: err.Error()}
		if v, ok := err.(huma.ErrorDetailer); ok {
			d = v.ErrorDetail()
		}
		fe := fieldError(d)
		// The JSON is right, its value is not.
		for _, wrong := range []string{inexactMember, nullMember, unfitMember} {
			if strings.HasPrefix(d.Message, wrong) {
				p.Code = "request.invalid"
			}
		}
		if fe.Name == "" {
			p.Detail = fe.Reason
			continue
		}
		if d.Message == unknownMember {
			unknown = append(unknown, fe)
			continue
		}
		p.Errors = append(p.Errors, fe)
	}
	slices.SortFunc(unknown, func(a, b FieldError) int { return strings.Compare(a.Name, b.Name) })
	p.Errors = append(p.Errors, unknown...)
	if p.Detail == "" && len(p.Errors) > 0 {
		p.Detail = p.Errors[0].Name + ": " + p.Errors[0].Reason
	}
	if p.Detail == "" {
		p.Detail = "The request could not be read."
	}
	return p
}

func errorsOf(msg string, errs []error) error {
	for _, e := range errs {
		if e != nil {
			msg += ": " + e.Error()
		}
	}
	return sentence(msg)
}

// sentence is an error whose text people see as it is.
type sentence string

func (s sentence) Error() string { return string(s) }

// unknownMember is the text of huma's error for a member that the schema does not have.
const unknownMember = "unexpected property"

// repeatedMember begins the text of the error for a repeated member. Its path follows, because huma
// passes on nothing but the text of an error.
const repeatedMember = "repeated member "

// inexactMember begins the text of the error for a number that would change.
const inexactMember = "inexact number "

// unfitMember begins the text of the error for a value that the member cannot hold.
const unfitMember = "unfit member "

// fieldError rewords one of huma's findings. It leaves out values, which may be secrets.
func fieldError(d *huma.ErrorDetail) FieldError {
	name := d.Location
	for _, in := range []string{"body", "query", "path", "header"} {
		if name == in {
			name = ""
		}
		name = strings.TrimPrefix(name, in+".")
	}
	join := func(child string) string {
		if name == "" {
			return child
		}
		return name + "." + child
	}
	msg := d.Message
	if rest, ok := strings.CutPrefix(msg, "expected required property "); ok {
		child, _, _ := strings.Cut(rest, " to be present")
		return FieldError{Name: join(child), Reason: "This field is required."}
	}
	if path, ok := strings.CutPrefix(msg, repeatedMember); ok {
		return FieldError{Name: path, Reason: "This field may be given only once."}
	}
	if path, ok := strings.CutPrefix(msg, unfitMember); ok {
		return FieldError{Name: path, Reason: "This value does not fit here. The API's description says what does."}
	}
	if path, ok := strings.CutPrefix(msg, nullMember); ok {
		return FieldError{Name: path, Reason: "This cannot be null. Give a value, or leave it out."}
	}
	if path, ok := strings.CutPrefix(msg, inexactMember); ok {
		return FieldError{Name: path, Reason: "This whole number is too large to be kept exactly. Send it as a text."}
	}
	known := map[string]string{
		unknownMember:             "There is no such field here.",
		"unknown query parameter": "There is no such parameter here.",
		"expected string":         "This must be a text.",
		"expected boolean":        "This must be true or false.",
		"expected integer":        "This must be a whole number.",
		"expected number":         "This must be a number.",
		"invalid boolean":         "This must be true or false.",
		"invalid integer":         "This must be a whole number.",
		"invalid float":           "This must be a number.",
		"expected array":          "This must be a list.",
		"expected object":         "This must be an object.",
		"invalid floating value":  "This must be a number.",
		"expected length >= 1":    "This cannot be empty.",

		"expected array items to be unique": "Each value may be given only once.",
	}
	if s, ok := known[msg]; ok {
		return FieldError{Name: name, Reason: s}
	}
	msg, _, _ = strings.Cut(msg, ": ") // what follows repeats the value or is Go's own wording
	switch {
	case strings.HasPrefix(msg, "expected value to be one of"):
		_, list, _ := strings.Cut(d.Message, `"`)
		return FieldError{Name: name, Reason: "This must be one of: " + strings.TrimSuffix(list, `"`) + "."}
	case strings.Contains(msg, "RFC 4122 uuid"), d.Message == "invalid value: "+id.ErrInvalid.Error():
		return FieldError{Name: name,
			Reason: "This must be an id as we gave it: 36 characters such as 018f3a52-7c1e-7b7a-9d5e-0f6a1c2b3d4e."}
	case strings.Contains(msg, "RFC 3339"), strings.HasPrefix(msg, "invalid date/time"):
		return FieldError{Name: name, Reason: "This must be a time such as 2026-01-31T12:00:00Z."}
	case strings.HasPrefix(msg, "expected length <="):
		return FieldError{Name: name,
			Reason: "This is too long: at most " + strings.TrimPrefix(msg, "expected length <= ") + " characters."}
	case strings.HasPrefix(msg, "expected length >="):
		return FieldError{Name: name,
			Reason: "This is too short: at least " + strings.TrimPrefix(msg, "expected length >= ") + " characters."}
	case strings.HasPrefix(msg, "expected array length <="):
		return FieldError{Name: name,
			Reason: "There are too many: at most " + strings.TrimPrefix(msg, "expected array length <= ") + "."}
	case strings.HasPrefix(msg, "expected array length >="):
		return FieldError{Name: name,
			Reason: "There are too few: at least " + strings.TrimPrefix(msg, "expected array length >= ") + "."}
	case strings.HasPrefix(msg, "expected number <="):
		return FieldError{Name: name,
			Reason: "This must be at most " + strings.TrimPrefix(msg, "expected number <= ") + "."}
	case strings.HasPrefix(msg, "expected number >="):
		return FieldError{Name: name,
			Reason: "This must be at least " + strings.TrimPrefix(msg, "expected number >= ") + "."}
	case strings.HasPrefix(msg, "required "): // "required query parameter is missing"
		return FieldError{Name: name, Reason: "This parameter is required."}
	case strings.HasPrefix(msg, "expected string to be ") && !strings.HasPrefix(msg, "expected string to be RFC "):
		return FieldError{Name: name, // the description of a pattern
			Reason: "This must be " + strings.TrimPrefix(d.Message, "expected string to be ") + "."}
	case strings.HasPrefix(msg, "expected string to match pattern "):
		return FieldError{Name: name, Reason: "This must have the form " +
			strings.TrimPrefix(d.Message, "expected string to match pattern ") + ", a regular expression."}
	case msg == "", strings.HasPrefix(msg, "expected "), strings.HasPrefix(msg, "invalid "):
		return FieldError{Name: name, Reason: "This is not valid here. The API's description says what is."}
	}
	return FieldError{Name: name, Reason: strings.ToUpper(msg[:1]) + strings.TrimSuffix(msg[1:], ".") + "."}
}
