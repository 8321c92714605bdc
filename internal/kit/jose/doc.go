// Package jose signs and verifies JSON Web Tokens. It is the only package that imports go-jose.
//
// Invariants, after RFC 8725:
//   - The key selects the algorithm, and the header must agree (§3.1). "none" and all symmetric
//     algorithms do not exist here.
//   - The type header is always checked, so that a token of one kind is not accepted as another
//     (§3.11).
//   - A key is found by its kid in the set that the caller passes, and nowhere else. The headers
//     jku, jwk and x5c are ignored (§3.5).
//
// It never knows the issuer of a token, or the meaning of its claims beyond their times.
package jose
