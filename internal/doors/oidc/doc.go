// Package oidc is the OAuth 2.1 and OpenID Connect door: discovery, authorize,
// token, userinfo, introspection, revocation, key set and logout, one file each.
//
// Most of it is pure: parameters become a validated request, and a validated
// request becomes either an interaction (iam/signin, whose pages are another door)
// or a response. What must survive, be used once or be revoked is an intent of
// iam/grant.
//
// Invariants:
//   - Nothing is redirected before the client and its redirect URI are known to be
//     good; from then on everything is, errors too, with state and iss. The types
//     make it so: a redirectError holds a target, and only checkTarget makes one.
//   - A parameter that comes twice is an error (RFC 6749 §3.1), never the first or
//     the last of the two.
//   - The issuer is the site's base, byte for byte, wherever it appears.
//
// It never checks a password, draws a page or stores anything itself.
package oidc
