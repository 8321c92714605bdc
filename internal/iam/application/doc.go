// Package application owns what relies on a tenant: OAuth clients of people (web, spa,
// native) and of machines.
//
// Invariants:
//   - client_id is unique within its tenant and never changes.
//   - A secret is shown once, when it is made, and stored as a SHA-256 of 256 random bits.
//   - Redirect URIs are absolute and without fragment; https, but for loopback IP addresses
//     and the private-use schemes of native applications. They are compared byte by byte;
//     only the port of a loopback IP address may vary (RFC 8252 §7.3).
//   - spa and native applications are public: they have no secret and must use PKCE.
//     Machine applications are confidential and have no redirect URIs.
//
// It never issues a token, and it never knows what an application holds: see iam/grant.
package application
