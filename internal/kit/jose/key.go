package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Algorithm is a JWS signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
type Algorithm string

// The algorithms. We sign with the first three. Clients may also authenticate by PS256, which FAPI
// 2.0 requires.
const (
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	EdDSA Algorithm = "EdDSA"
	PS256 Algorithm = "PS256"
)

// Signing lists the algorithms that we sign with, the default first.
var Signing = []Algorithm{ES256, RS256, EdDSA}

// Verifying lists the algorithms that we accept in signatures.
var Verifying = []Algorithm{ES256, RS256, PS256, EdDSA}

// Bounds on RSA keys. Smaller ones are weak, and larger ones let an attacker burn our CPU.
const (
	rsaBits    = 2048
	maxRSABits = 4096
)

// PrivateKey signs. It is immutable and safe for concurrent use.
type PrivateKey struct {
	signer crypto.Signer
	public PublicKey
}

// PublicKey verifies signatures of one algorithm, or of both RSA ones if an RSA key names none.
type PublicKey struct {
	ID         string // kid; may be empty for a foreign key
	Algorithms []Algorithm
	jwk        jose.JSONWebKey
}

// Generate creates a key for alg. Its id is its thumbprint (RFC 7638). An RSA key takes about
// 100 ms of CPU, others take microseconds.
func Generate(alg Algorithm) (*PrivateKey, error) {
	var (
		s   crypto.Signer
		err error
	)
	switch alg {
	case ES256:
		s, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		s, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case EdDSA:
		_, s, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("jose: no keys are created for algorithm %q", alg)
	}
	if err != nil {
		return nil, fmt.Errorf("jose: %w", err)
	}
	return newPrivateKey(alg, s)
}

// ParsePrivateKey reads a key that Marshal wrote.
func ParsePrivateKey(alg Algorithm, der []byte) (*PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("jose: %w", err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("jose: a %T cannot sign", k)
	}
	return newPrivateKey(alg, s)
}

func newPrivateKey(alg Algorithm, s crypto.Signer) (*PrivateKey, error) {
	jwk := jose.JSONWebKey{Key: s.Public(), Algorithm: string(alg), Use: "sig"}
	if algs, err := algorithmsOf(jwk); err != nil || !slices.Contains(algs, alg) {
		return nil, fmt.Errorf("jose: the key does not fit %s", alg)
	}
	thumb, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("jose: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	return &PrivateKey{signer: s, public: PublicKey{ID: jwk.KeyID, Algorithms: []Algorithm{alg}, jwk: jwk}}, nil
}

// Marshal returns the key as PKCS #8 DER. That is a secret in the clear: seal it at once.
func (k *PrivateKey) Marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, fmt.Errorf("jose: %w", err)
	}
	return der, nil
}

// ID returns the key's kid.
func (k *PrivateKey) ID() string { return k.public.ID }

// algorithm returns the algorithm that the key signs with.
func (k *PrivateKey) algorithm() Algorithm { return k.public.Algorithms[0] }

// Public returns the key's public half.
func (k *PrivateKey) Public() PublicKey { return k.public }

// String keeps the key out of logs.
func (k *PrivateKey) String() string { return "private key " + k.public.ID }

// GoString keeps the key out of logs.
func (k *PrivateKey) GoString() string { return k.String() }

// Set is a JSON Web Key Set (RFC 7517 §5).
type Set []PublicKey

// Marshal returns the set as JSON. It holds nothing private.
func (s Set) Marshal() ([]byte, error) {
	out := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(s))}
	for _, k := range s {
		out.Keys = append(out.Keys, k.jwk)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("jose: %w", err)
	}
	return b, nil
}

// Limits on foreign key sets.
const (
	maxSetBytes = 64 << 10
	maxSetKeys  = 20
)

// badSet is the fault for a key set that cannot be used.
func badSet(reason string, args ...any) error {
	return fault.New(fault.Invalid, "jose.key_set", reason, args...)
}

// ParseSet reads a foreign JSON Web Key Set of public signature keys. It skips keys for encryption.
// It fails with a fault for a private, symmetric or weak key, and for an algorithm that is not in
// Verifying.
func ParseSet(b []byte) (Set, error) {
	if len(b) > maxSetBytes {
		return nil, badSet("A key set may have at most %d bytes.", maxSetBytes)
	}
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &raw); err != nil || raw.Keys == nil {
		return nil, badSet(`A key set is a JSON object with a list named "keys" (RFC 7517 §5).`)
	}
	if len(raw.Keys) > maxSetKeys {
		return nil, badSet("A key set may have at most %d keys.", maxSetKeys)
	}
	var set Set
	for i, r := range raw.Keys {
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(r, &jwk); err != nil {
			return nil, badSet("Key %d cannot be read: %v.", i+1, err)
		}
		if jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		algs, err := algorithmsOf(jwk)
		if err != nil {
			return nil, badSet("Key %d cannot be used: %v.", i+1, err)
		}
		if jwk.KeyID != "" && slices.ContainsFunc(set, func(k PublicKey) bool { return k.ID == jwk.KeyID }) {
			return nil, badSet("Key %d has the same kid as another one.", i+1)
		}
		// Certificates are not verified, and Marshal must not pass them on as if they were.
		jwk.Certificates, jwk.CertificatesURL = nil, nil
		jwk.CertificateThumbprintSHA1, jwk.CertificateThumbprintSHA256 = nil, nil
		set = append(set, PublicKey{ID: jwk.KeyID, Algorithms: algs, jwk: jwk})
	}
	if len(set) == 0 {
		return nil, badSet("The key set has no key for signatures.")
	}
	return set, nil
}

// algorithmsOf returns the algorithms of a public key: those of its type, narrowed by its alg
// member.
func algorithmsOf(jwk jose.JSONWebKey) ([]Algorithm, error) {
	var algs []Algorithm
	switch k := jwk.Key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("elliptic-curve keys must be on P-256")
		}
		algs = []Algorithm{ES256}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < rsaBits || n > maxRSABits {
			return nil, fmt.Errorf("an RSA key must have %d to %d bits", rsaBits, maxRSABits)
		}
		algs = []Algorithm{RS256, PS256}
	case ed25519.PublicKey:
		algs = []Algorithm{EdDSA}
	default:
		return nil, fmt.Errorf("only public keys of type EC, RSA and OKP are accepted")
	}
	if jwk.Algorithm == "" {
		return algs, nil
	}
	if a := Algorithm(jwk.Algorithm); slices.Contains(algs, a) {
		return []Algorithm{a}, nil
	}
	return nil, fmt.Errorf("its alg is not one of %v", algs)
}
