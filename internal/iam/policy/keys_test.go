package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/compiler"
	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Every reader of the settings sees the key sets, so they have no key that signs.
func TestKeySetsHavePublicKeysOnly(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	point, text := raw.PublicKey().Bytes(), base64.RawURLEncoding.EncodeToString
	set := func(more map[string]string) string {
		jwk := map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "a", "x": text(point[1:33]),
			"y": text(point[33:])}
		for name, v := range more {
			jwk[name] = v
		}
		b, _ := json.Marshal(map[string]any{"keys": []any{jwk}})
		return string(b)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	for name, c := range map[string]struct {
		set  engine.KeySet
		good bool
	}{
		"public":  {engine.KeySet{ID: "k", Keys: set(nil)}, true},
		"private": {engine.KeySet{ID: "k", Keys: set(map[string]string{"d": text(raw.Bytes())})}, false},
		"symmetric": {engine.KeySet{ID: "k",
			Keys: `{"keys":[{"kty":"oct","alg":"HS256","kid":"a","k":"c2VjcmV0"}]}`}, false},
		"public PEM":  {engine.KeySet{ID: "k", PEM: true, Keys: inPEM("PUBLIC KEY", public)}, true},
		"private PEM": {engine.KeySet{ID: "k", PEM: true, Keys: inPEM("EC PRIVATE KEY", der)}, false},
		"not a set":   {engine.KeySet{ID: "k", Keys: `{"keys":[{"kty":"none"}]}`}, false},
	} {
		var wrong fault.Fields
		validateKeySet(c.set, "key_sets[0].", &wrong)
		if (len(wrong) == 0) != c.good {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestTheChecksumOfATarGzIsRead(t *testing.T) {
	archive := Pack(compiler.Files{"album.yaml": album("view")}, TarGz)
	if _, err := ReadArchive(archive); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{len(archive) - 8, len(archive) - 1} { // CRC-32 and size
		damaged := append([]byte{}, archive...)
		damaged[at] ^= 1
		if _, err := ReadArchive(damaged); fault.Of(err) != fault.Invalid {
			t.Errorf("byte %d is another: %v", at, err)
		}
	}
	if _, err := ReadArchive(archive[:len(archive)-8]); fault.Of(err) != fault.Invalid {
		t.Errorf("without its checksum: %v", err)
	}
}
