// Package credential owns the proofs of a user's identity: passwords, authenticator apps (TOTP, RFC
// 6238), recovery codes and mailed links that work once.
//
// Invariants:
//   - A password is stored only as its hash. New ones are argon2id PHC strings (RFC 9106). Those of
//     other systems are verified, and replaced at the next sign-in. No imported hash may cost more
//     than the limits in phc.go, and its time does not tell that the account exists (Hasher.Even).
//   - Hashing never runs inside a transaction, nor without a place in the Hasher. So memory stays
//     bounded under attack.
//   - A TOTP step, a recovery code and a mailed link each work once. One conditional statement
//     decides by its row count.
//   - TOTP secrets are sealed under the key ring. Codes and links are stored hashed.
//
// It never counts failures (iam/attempt does) and never decides the next step of a sign-in
// (iam/signin does).
package credential
