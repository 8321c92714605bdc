// Package claim computes the claims about a person that an application gets: in the ID token, by
// userinfo, and in the access token, which introspection returns too.
//
// Invariants:
//   - One function, Read, computes the claims for all of these. So they agree.
//   - The claims are those that the scopes of the token stand for. The claims parameter is
//     another way to request that, as long as the application has the scope.
//   - A mapping is a CEL expression of the application. It knows the person, the person's groups
//     and roles, and the application. It is evaluated within the bounds of engine.Budget. If it
//     fails, its claim is missing, and nothing else fails.
//   - Reading costs no round trip: it goes with the transaction that issues the token.
//   - Claims about the token itself (iss, aud, exp and the like) are those of doors/oidc, and no
//     claim of this package replaces them.
package claim
