// Package resourceserver owns the APIs of a tenant: the services that accept its access tokens
// (resource servers, RFC 6749 §1.1). In pages, guides and the management API the word is "API".
//
// Invariants:
//   - An identifier is an absolute URI without a fragment (RFC 8707 §2). It is unique within its
//     tenant, never changes, and is not an address of Gatehouse itself. It is the audience of the
//     API's tokens.
//   - The scopes of an API are its own. Only built-in ones have a scope that Gatehouse itself
//     reads, so no token of a registered API does anything at the management or the decision API.
//   - An API changes nothing for a request that does not name it. But an application that becomes
//     a server of an API no longer inspects tokens for the tenant, which takes the rights of a
//     change of that application.
//   - An application may ask for an API if one of its scopes is the API's, or if the API lists it.
//
// The management API, the decision API and userinfo are built in: the same three in every tenant,
// in a table of this package. Their identifiers are addresses below the tenant's base. A token for
// the base itself is good at all of them.
//
// It never issues a token: see doors/oidc.
package resourceserver
