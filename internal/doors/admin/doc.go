// Package admin is the management API's door: JSON over HTTP below
// {issuer}/api/v1, described by OpenAPI 3.1.
//
// It authenticates the bearer token, asks the policies in policies/ whether its holder
// may do the operation and what of a list they may see, and mounts the operations that
// the features declare. Every answer of the policies becomes a decision record of the
// tenant that is acted on, a read's as well. A refusal names the action and is in the
// audit log too; of a flood of refusals one a minute is written. A token of the platform
// tenant is accepted under another tenant's base: the operation runs on that tenant's
// data, and its records and audit events name the operator and the platform as the
// actor's home.
//
// It holds no rule about users, applications or any other noun, and no operation
// of its own.
package admin
