// Package oidc speaks OAuth 2.1 and OpenID Connect: discovery, authorize, token, userinfo,
// introspection, revocation, key set and logout, one file each. Each grant type has a file
// (grant_*.go) and a row in grantTypes. The token endpoint and discovery read that table.
//
// Most of it is pure. Parameters become a validated request. A validated request becomes a
// response, or an interaction of iam/signin whose pages are another door. iam/grant does what must
// be stored, used once or revoked.
//
// Invariants:
//   - The browser is not redirected until the client and its redirect URI are valid. From then on
//     every answer is a redirect, errors too, with state and iss. The types enforce it: a
//     redirectError holds a target, and only checkTarget returns one.
//   - A repeated parameter is an error (RFC 6749 §3.1).
//   - The issuer is the site's base, byte for byte, wherever it appears.
//
// It never checks a password, renders a page or stores anything itself.
package oidc
