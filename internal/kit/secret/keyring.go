package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// KeyRing seals secrets that must be stored and read again, such as signing keys and TOTP secrets.
// It also derives secrets that need no storage. The first key is the current one; the others only
// open. It is safe for concurrent use.
type KeyRing struct {
	current string
	keys    map[string][]byte
}

const (
	maxKeys  = 32
	maxKeyID = 32
	keyBytes = 32
	sealForm = 1 // first byte of everything sealed
)

// ErrOpen is returned for bytes that this ring did not seal for this tenant and purpose. They were
// changed, cut or moved from another row, or their key has left the ring.
var ErrOpen = errors.New(
	"secret: cannot be opened: it was changed, belongs elsewhere, or its key is no longer in the key ring")

// NewKey returns a line of a key ring: id, colon, base64 of 32 random bytes.
func NewKey(keyID string) String {
	var b [keyBytes]byte
	rand.Read(b[:])
	return String(keyID + ":" + base64.StdEncoding.EncodeToString(b[:]))
}

// ParseKeyRing reads lines of "id:base64(32 bytes)"; the first is the current key. It skips empty
// lines and lines that start with #. Its errors name the line, never its content.
func ParseKeyRing(text String) (*KeyRing, error) {
	k := &KeyRing{keys: map[string][]byte{}}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		keyID, b64, ok := strings.Cut(line, ":")
		key, err := base64.StdEncoding.DecodeString(b64)
		switch {
		case !ok, !validKeyID(keyID):
			return nil,
				fmt.Errorf(
					"key ring, line %d: want id:key, the id 1 to %d letters, digits, dots, dashes or underscores", i+1,
					maxKeyID)
		case err != nil || len(key) != keyBytes:
			return nil,
				fmt.Errorf("key ring, line %d: want the key as base64 of %d random bytes (openssl rand -base64 %d)",
					i+1, keyBytes, keyBytes)
		case k.keys[keyID] != nil:
			return nil,
				fmt.Errorf("key ring, line %d: a key of the same id stands above; every key needs an id of its own",
					i+1)
		case len(k.keys) == maxKeys:
			return nil,
				fmt.Errorf("key ring, line %d: more than %d keys; remove those that no longer seal anything",
					i+1, maxKeys)
		}
		if k.current == "" {
			k.current = keyID
		}
		k.keys[keyID] = key
	}
	if k.current == "" {
		return nil,
			errors.New(
				"key ring: there is no key; add a line id:key with base64 of 32 random bytes (openssl rand -base64 32)")
	}
	return k, nil
}

func validKeyID(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxKeyID
}

// Current returns the id of the key that Seal uses now.
func (k *KeyRing) Current() string { return k.current }

// Seal encrypts plain with AES-256-GCM. Only Open with the same tenant and purpose, such as "totp",
// returns it. So a sealed value is worthless in another row, column or tenant. The zero tenant
// stands for the deployment.
//
// Each tenant and purpose has its own key, derived from the ring's. So the bound on random nonces
// under one AES-GCM key (2^32, NIST SP 800-38D §8.3) is out of reach.
func (k *KeyRing) Seal(tenant id.ID, purpose string, plain []byte) ([]byte, error) {
	gcm, err := k.aead(k.current, tenant, purpose)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 2+len(k.current)+gcm.NonceSize()+len(plain)+gcm.Overhead())
	out = append(out, sealForm, byte(len(k.current)))
	out = append(out, k.current...)
	nonce := out[len(out) : len(out)+gcm.NonceSize()]
	rand.Read(nonce)
	out = out[:len(out)+gcm.NonceSize()]
	return gcm.Seal(out, nonce, plain, aad(tenant, purpose)), nil
}

// Open returns the plain bytes that Seal received for the same tenant and purpose, or ErrOpen.
func (k *KeyRing) Open(tenant id.ID, purpose string, sealed []byte) ([]byte, error) {
	keyID, rest, ok := sealedBy(sealed)
	if !ok {
		return nil, ErrOpen
	}
	gcm, err := k.aead(keyID, tenant, purpose)
	if err != nil || len(rest) < gcm.NonceSize() {
		return nil, ErrOpen
	}
	n := gcm.NonceSize()
	plain, err := gcm.Open(nil, rest[:n], rest[n:], aad(tenant, purpose))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// sealedBy splits sealed bytes into the id of their key and the rest.
func sealedBy(sealed []byte) (string, []byte, bool) {
	if len(sealed) < 2 || sealed[0] != sealForm || len(sealed) < 2+int(sealed[1]) {
		return "", nil, false
	}
	n := 2 + int(sealed[1])
	return string(sealed[2:n]), sealed[n:], true
}

// MAC returns the HMAC-SHA-256 of data under a key of the ring, for this tenant and purpose only.
// It derives secrets that need no storage. keyID is Current, or the id stored beside an earlier
// result. It fails with ErrOpen if the ring no longer has the key.
func (k *KeyRing) MAC(keyID string, tenant id.ID, purpose string, data []byte) ([32]byte, error) {
	key, err := k.derive(keyID, "gatehouse mac v1", tenant, purpose)
	if err != nil {
		return [32]byte{}, err
	}
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return [32]byte(m.Sum(nil)), nil
}

// Made reports whether mac is what MAC returns under any key of the ring. mac may be the beginning
// of it, of 16 bytes or more.
func (k *KeyRing) Made(tenant id.ID, purpose string, data, mac []byte) bool {
	if len(mac) < 16 {
		return false
	}
	made := func(keyID string) bool {
		m, err := k.MAC(keyID, tenant, purpose, data)
		return err == nil && hmac.Equal(m[:min(len(mac), len(m))], mac)
	}
	if made(k.current) {
		return true
	}
	for keyID := range k.keys {
		if keyID != k.current && made(keyID) {
			return true
		}
	}
	return false
}

func (k *KeyRing) aead(keyID string, tenant id.ID, purpose string) (cipher.AEAD, error) {
	key, err := k.derive(keyID, "gatehouse seal v1", tenant, purpose)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return gcm, nil
}

// derive is HKDF-Expand (RFC 5869). The keys of the ring are uniformly random, so HKDF-Extract is
// not needed.
func (k *KeyRing) derive(keyID, use string, tenant id.ID, purpose string) ([]byte, error) {
	key, ok := k.keys[keyID]
	if !ok {
		return nil, ErrOpen
	}
	return hkdf.Expand(sha256.New, key, use+"\x00"+string(tenant[:])+purpose, keyBytes)
}

// aad binds the ciphertext to its place. The tenant has a fixed length, so no two pairs of tenant
// and purpose give the same bytes.
func aad(tenant id.ID, purpose string) []byte {
	return append(append(make([]byte, 0, len(tenant)+len(purpose)), tenant[:]...), purpose...)
}
