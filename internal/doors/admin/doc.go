// Package admin is the management API's door: JSON over HTTP below
// {issuer}/api/v1, described by OpenAPI 3.1.
//
// It authenticates the bearer token, finds what its holder may do, and mounts the
// operations that the features declare. A token of the platform tenant is accepted
// under another tenant's base: the operation runs on that tenant's data, and its
// audit events name the operator and the platform as the actor's home.
//
// It holds no rule about users, applications or any other noun, and no operation
// of its own.
package admin
