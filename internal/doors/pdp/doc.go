// Package pdp answers decision requests: may this principal do that action on that resource?
//
// It speaks the protocols that others defined:
//
//   - The Cerbos API (v0.55) over gRPC, and over HTTP below a tenant's base. Requests, answers and
//     refusals are those of a Cerbos server. A Cerbos SDK works with a new address and a token.
//   - AuthZEN Authorization API 1.0 over HTTP and gRPC, mapped to the Cerbos API as a Cerbos server
//     maps it. HTTP also serves those of its searches that have a complete answer.
//
// The caller shows an access token of the tenant with the scope gatehouse:decide. A machine
// application shows its own, about any principal. Another application shows a user's, about that
// user. Over gRPC the token alone selects the tenant. Nothing in a body does.
//
// Invariants:
//   - No body, however broken, causes a server error.
//   - A user's token decides about its user only, and never asserts that user's roles.
//   - A search that would omit allowed results is refused.
//   - Every answer has its own id and is recorded under it.
//
// It never decides itself, resolves no principal, and holds no rule about tokens.
package pdp
