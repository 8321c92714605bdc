// Package credential owns what a person proves an identity with: passwords,
// authenticator apps (TOTP, RFC 6238), recovery codes and one-time mailed links.
//
// Invariants:
//   - A password is kept only as a PHC string; new ones are argon2id (RFC 9106).
//     Imported bcrypt, scrypt and PBKDF2 strings are verified and replaced at the
//     next sign-in. No imported string may cost more than the limits in phc.go.
//   - Hashing never happens inside a transaction and never without a place in the
//     Hasher, so that memory stays bounded under attack.
//   - A TOTP step, a recovery code and a mailed link are each used once, by one
//     conditional statement whose row count decides.
//   - TOTP secrets are sealed under the key ring; codes and links are stored hashed.
//
// It never counts failures (iam/attempt does) and never decides what a sign-in
// needs next (iam/signin does).
package credential
