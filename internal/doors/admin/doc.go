// Package admin is the door of the management API: JSON over HTTP below {issuer}/api/v1, described
// by OpenAPI 3.1.
//
// It admits the bearer token, asks the policies in policies/ whether its holder may do the
// operation, and mounts the operations that the features declare. For a list, the policies also say
// which rows the holder sees.
//
// Every answer of the policies becomes a decision record of the tenant that the request addressed,
// for reads too. A refusal names the action and is in the audit log as well. Of a flood of refusals
// one a minute is recorded.
//
// An operator's token of the platform tenant is accepted at every tenant's base. The operation runs
// on that tenant's data. Its records and audit events name the operator, and the platform as the
// operator's home.
//
// It holds no rule about users, applications or any other noun. Its one operation of its own
// answers who the caller is, and what the policies allow the caller.
package admin
