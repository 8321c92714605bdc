// Package principal resolves the principal of a decision in the directory. A caller that asks "may
// this user do that" names the user only. This package adds roles, groups, attributes and
// assurance.
//
// # What a policy sees
//
// P.id is the id of the user or application. P.roles are its roles and those of its groups that
// have not ended, sorted. The last one is "gatehouse:user" or "gatehouse:application", which every
// principal has and no tenant can define. P.policyVersion and P.scope are the request's. P.attr
// always has all of these names, if need be with empty values, so that no condition fails because
// one is missing:
//
//	kind            "user" or "application"
//	email           of a user, as written
//	email_verified  of a user: whether it has been shown that mail arrives there
//	username        of a user
//	name            of an application
//	given_name      of a user
//	family_name     of a user
//	locale          of a user (BCP 47)
//	client_id       of an application
//	groups          the names of the user's groups, sorted
//	group           the groups' own attributes by name: P.attr.group["Finance"].cost_center
//	user            the user's own attributes, as the tenant defined them: P.attr.user.floor
//	amr             how the holder of the token signed in (RFC 8176), for themselves only
//	acr             the class of that sign-in, for themselves only
//	auth_time       when that was, seconds since 1970; 0 when it is not known
//	session_age     seconds since then; 1e9 when it is not known
//	request         what the request said about the principal in its own attributes
//
// The sign-in is known only if the request's token is the principal's own. Otherwise amr is empty,
// acr is "", auth_time is 0 and session_age is 31 years. So a rule that requires a fresh or strong
// sign-in refuses, whether it compares times or ages.
//
// # Invariants
//
//   - Exact: an answer reflects every change that any replica confirmed before the request came. A
//     copy is valid for one version of the tenant's principals. A replica uses a version that it
//     read for less time than confirming a change is delayed (tenant.Versions). A copy of roles
//     ends with the first of them.
//   - A request cannot override the directory.
//   - A principal that is unknown or inactive is an Outcome with its reason, never an error. It
//     gets no roles and no attributes.
//   - A user's token is valid for decisions about that user only.
//
// It decides nothing (iam/engine does), and it never reads a credential or a session.
package principal
