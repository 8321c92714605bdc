// Package secret keeps secrets from leaking: into logs, into the database, from
// one tenant to another.
//
// It owns String (a secret in memory that does not print), Token (the form of
// every opaque secret that Gatehouse gives out) and KeyRing (sealing what must be
// stored and read back, deriving what must not be stored at all).
//
// Tokens have 256 random bits, so they are stored as one plain SHA-256: there is
// nothing to guess that a slow hash would protect. Secrets that people choose do
// not belong here; iam/credential hashes passwords.
package secret
