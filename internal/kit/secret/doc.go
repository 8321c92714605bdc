// Package secret keeps secrets out of logs, out of the database, and out of other tenants.
//
// It owns String (a secret in memory that does not print), Token (the form of every opaque secret
// that Gatehouse issues) and KeyRing. A KeyRing seals secrets that must be stored and read again,
// and derives secrets that must not be stored.
//
// Tokens have 256 random bits, so their plain SHA-256 is stored. A slow hash would protect nothing:
// such a secret cannot be guessed. Passwords do not belong here; iam/credential hashes them.
package secret
