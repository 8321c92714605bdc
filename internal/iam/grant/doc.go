// Package grant owns what applications hold: consents, grants, authorization
// codes, refresh-token families and access tokens.
//
// A grant is one authorization of one application by one user. Its code, its
// family of refresh tokens and its access tokens hang on it, and revoking it ends
// them all. It counts only while its user is active and, unless it is offline,
// its session lives.
//
// State changes are intents of one transaction each, never a read and a write
// apart: ConsumeCode, RotateRefresh, UseJTI, Revoke. What a stranger can do with
// a stolen or replayed token is an outcome, not an error, because the revocation
// and the audit event that answer it must be committed.
//
// Tokens are stored as hashes. The successor of a refresh token is derived from
// it under the key ring, so that two tabs that refresh at once get the same one
// without our keeping it.
//
// It never speaks OAuth: parameters, responses and errors are doors/oidc's.
package grant
