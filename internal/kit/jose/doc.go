// Package jose signs and verifies JSON Web Tokens. It is the only package that
// imports go-jose.
//
// Invariants, after RFC 8725:
//   - The algorithm comes from the key, never from the header; the header must
//     only agree with it (§3.1). "none" and all symmetric algorithms do not exist here.
//   - The type header is always checked, so a token of one kind cannot be used as
//     another (§3.11).
//   - A key is found by kid in the set that the caller hands over, and nowhere
//     else: jku, jwk and x5c headers are ignored (§3.5).
//
// It never knows who issued a token, or what its claims mean beyond their times.
package jose
