package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Values of the typ header.
const (
	TypeAccessToken = "at+jwt" // RFC 9068 §2.1
	TypeLogout      = "logout+jwt"
	TypeJWT         = "JWT" // ID tokens
)

// Signer signs tokens of one type with one key. It is safe for concurrent use.
type Signer struct {
	key    *PrivateKey
	prefix string // base64url(header) and the dot: the same for every token
}

// NewSigner returns a signer for tokens of type typ.
func NewSigner(key *PrivateKey, typ string) (*Signer, error) {
	h, err := json.Marshal(struct {
		Alg Algorithm `json:"alg"`
		Kid string    `json:"kid"`
		Typ string    `json:"typ"`
	}{key.algorithm(), key.ID(), typ})
	if err != nil {
		return nil, fmt.Errorf("jose: %w", err)
	}
	return &Signer{key: key, prefix: base64.RawURLEncoding.EncodeToString(h) + "."}, nil
}

// Algorithm returns the algorithm that the signer signs with.
func (s *Signer) Algorithm() Algorithm { return s.key.algorithm() }

// Sign returns claims as a signed JWT in the compact serialization (RFC 7515 §7.1).
func (s *Signer) Sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("jose: claims: %w", err)
	}
	enc := base64.RawURLEncoding
	b := make([]byte, 0, len(s.prefix)+enc.EncodedLen(len(payload))+1+enc.EncodedLen(maxRSABits/8))
	b = append(b, s.prefix...)
	b = enc.AppendEncode(b, payload)
	sig, err := s.sign(b)
	if err != nil {
		return "", fmt.Errorf("jose: %w", err)
	}
	b = append(b, '.')
	b = enc.AppendEncode(b, sig)
	return string(b), nil
}

func (s *Signer) sign(input []byte) ([]byte, error) {
	switch s.key.algorithm() {
	case ES256:
		// A JWS has r and s as two 32-byte numbers, not ASN.1 (RFC 7518 §3.4).
		digest := sha256.Sum256(input)
		r, t, err := ecdsa.Sign(rand.Reader, s.key.signer.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			return nil, err
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		t.FillBytes(sig[32:])
		return sig, nil
	case RS256:
		digest := sha256.Sum256(input)
		return s.key.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	case EdDSA:
		return s.key.signer.Sign(rand.Reader, input, crypto.Hash(0))
	default:
		return nil, fmt.Errorf("%s does not sign", s.key.algorithm())
	}
}
