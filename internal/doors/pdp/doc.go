// Package pdp is the door of decisions: it answers "may this principal do that" by the
// tenant's policies, in the protocols that others defined.
//
//   - The Cerbos API (v0.55) over gRPC, and over HTTP below a tenant's base: requests,
//     answers and refusals are those of a Cerbos server, so that every Cerbos SDK works
//     when its address is changed and a token is given to it.
//   - AuthZEN Authorization API 1.0 over HTTP and gRPC, mapped to the Cerbos API as a
//     Cerbos server maps it; over HTTP also its searches, where their answer is whole.
//
// Who asks shows an access token of the tenant with the scope gatehouse:decide: a machine
// application its own, about any principal; an application a user's, about that user. Over
// gRPC the token alone says which tenant is meant. Nothing in a request's body does.
//
// Invariants:
//   - No body, however broken, is answered by a server error.
//   - A user's token never speaks of anybody but its user, and never says what roles they have.
//   - A search that would leave out what is allowed is refused.
//   - Every answer has an id of its own and is recorded under it.
//
// It decides nothing (iam/policy does), knows nobody (iam/principal does) and holds no rule
// about tokens (iam/grant does).
package pdp
