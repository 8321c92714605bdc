// Package application owns the OAuth clients of a tenant: programs that people use (web, spa,
// native) and machines.
//
// Invariants:
//   - A client_id is unique within its tenant and never changes. Its creator may choose it. It has
//     no colon, so it never equals an issuer or the identifier of an API. It is free again after a
//     deletion: what an application holds names the application's id.
//   - A secret is shown once, when it is created. We store the SHA-256 of its 256 random bits.
//   - Redirect URIs are absolute and have no fragment. They use https, except for localhost,
//     loopback IP addresses and the private-use schemes of native applications. They are compared
//     byte by byte. Only the port of localhost and of a loopback IP address may vary (RFC 8252
//     §7.3).
//   - spa and native applications are public: they have no secret and must use PKCE. Machine
//     applications are confidential and have no redirect URIs.
//
// It never issues a token, and never knows what an application holds: see iam/grant.
package application
