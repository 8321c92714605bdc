// Package grant owns what applications hold: consents, grants, authorization codes, requests of
// devices, refresh-token families and access tokens.
//
// A grant is one authorization of one application by one user. Its code, its family of refresh
// tokens and its access tokens belong to it, and revoking it ends them all. It is valid only while
// its user is active and, unless it is offline, its session lives.
//
// Each state change is one function on one transaction: ConsumeCode, RedeemDevice, RotateRefresh,
// UseJTI. What an attacker does with a stolen or replayed token is an outcome, not an error. The
// revocation and the audit event that answer it must be committed.
//
// Tokens are stored as hashes. A family of refresh tokens is one row, which a rotation updates. A
// refresh token names its family and its place there, and the key ring derives it from that. So two
// tabs that refresh at once get the same successor. A token from long ago is recognised, although
// only the hash of the newest is stored.
//
// It never speaks OAuth: parameters, responses and error codes are those of doors/oidc.
package grant
