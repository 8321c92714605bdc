// Package principal makes the principal of a decision from the directory: whoever asks
// "may this user do that" says who the user is and nothing more; roles, groups,
// attributes and assurance are added here.
//
// # What a policy sees
//
// P.id is the id of the user or application. P.roles are the roles granted to it or to
// one of its groups that have not ended, sorted, and last "gatehouse:user" or
// "gatehouse:application", which everybody has and nobody can define. P.policyVersion and
// P.scope are the request's. P.attr has all of these names, always, empty where there is
// nothing to say, so that no condition fails for want of one:
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
// The sign-in is known only when the token that asks is the principal's own. Where it is
// not, amr is empty, acr is "", auth_time is long ago and session_age is 31 years, so a
// rule that asks for a fresh or strong sign-in refuses, whichever way round it is written.
//
// # Invariants
//
//   - Exact: a change that was answered anywhere before the question arrived counts in the
//     answer, on every replica. Copies are kept for one version of the tenant's principals,
//     whose reading is good for less time than the answer of a change is kept back
//     (tenant.Versions). A copy of roles ends with the first of them to end.
//   - What the directory says cannot be overruled by the request.
//   - Whoever is unknown, or does not count at the moment, is an Outcome with its reason,
//     never an error, and gets nothing.
//   - A user's token speaks of that user only.
//
// It decides nothing (iam/policy does), and it never reads a credential or a session.
package principal
