package principal

import (
	"time"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Roles that everybody has; a tenant cannot define them, because its own have no colon.
const (
	RoleUser        = "gatehouse:user"
	roleApplication = "gatehouse:application"
)

// Ask is whom a decision is about, and who wants to know.
type Ask struct {
	Mode application.PrincipalMode // of the application whose token asks
	// Asserted is the principal of the request; nil when it has none, which is enough for a
	// question about the token's holder. It must not be changed afterwards.
	Asserted *enginev1.Principal

	// What is known of the token that asks.
	User        id.ID // zero for an application's own token
	Application id.ID
	AMR         []string
	ACR         string
	AuthTime    time.Time // of the sign-in; zero when there was none
}

// Outcome says what became of a principal: Found, or why it gets nothing.
type Outcome string

// The outcomes. All but Found deny every action.
const (
	Found       Outcome = "found"
	Unknown     Outcome = "unknown"
	Invited     Outcome = "invited"
	Locked      Outcome = "locked"
	Deactivated Outcome = "deactivated"
	Disabled    Outcome = "disabled"
	Suspended   Outcome = "suspended"
	Another     Outcome = "another"
)

// Denied reports whether the principal gets nothing.
func (o Outcome) Denied() bool { return o != Found }

// Reason is a sentence for the record of the decision, "" for Found.
func (o Outcome) Reason() string {
	switch o {
	case Found:
		return ""
	case Invited:
		return "The principal has been invited and has not signed in yet."
	case Locked:
		return "The principal is locked."
	case Deactivated:
		return "The principal is deactivated."
	case Disabled:
		return "The principal is an application that is disabled."
	case Suspended:
		return "The tenant is suspended."
	case Another:
		return "The access token is a user's and speaks of that user only; the request names another principal."
	}
	return "There is no user and no application with the principal's id."
}

// Source says where the value of a principal's attribute comes from: "token", "request" or
// "directory". attr is the name below P.attr.
func Source(attr string) string {
	switch attr {
	case "amr", "acr", "auth_time", "session_age":
		return "token"
	case "request":
		return "request"
	}
	return "directory"
}
