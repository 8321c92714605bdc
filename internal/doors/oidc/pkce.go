package oidc

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// challengeLen is the length of an S256 challenge: base64url of 32 bytes.
const challengeLen = 43

// validChallenge reports whether s has the form of an S256 code challenge (RFC 7636 §4.2).
func validChallenge(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(s) == challengeLen && len(b) == sha256.Size
}

// verifyChallenge reports whether challenge is the S256 challenge of verifier (RFC 7636 §4.6).
// "plain" is not supported: it does not protect against an attacker who sees the request (RFC 9700
// §2.1.1).
func verifyChallenge(challenge, verifier string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	for _, c := range []byte(verifier) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}
