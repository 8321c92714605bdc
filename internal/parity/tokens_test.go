package parity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// The one key that signs the JWTs of auxData, and the name its set is known by.
const keySet = "identity"

var key = func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}()

// publicKeys is the JWK set (RFC 7517) of key.
func publicKeys() string {
	point, err := key.PublicKey.Bytes() // 4 ‖ x ‖ y
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"k1","x":%q,"y":%q}]}`,
		b64(point[1:33]), b64(point[33:65]))
}

// sign makes a JWT (RFC 7519) with ES256 that lives for years.
func sign(claims map[string]any) string {
	claims["exp"] = 4102444800 // 2100
	header, err := json.Marshal(map[string]any{"alg": "ES256", "kid": "k1", "typ": "JWT"})
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := append(padded(r), padded(s)...)
	return signed + "." + b64(signature)
}

func padded(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
