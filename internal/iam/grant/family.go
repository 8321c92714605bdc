package grant

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Deriver derives the secret bits of refresh tokens; kit/secret's key ring implements it.
type Deriver interface {
	Current() string // the id of the key for new tokens
	MAC(keyID string, tenant id.ID, purpose string, data []byte) ([32]byte, error)
	// Made reports whether any key of the ring made the beginning of a MAC.
	Made(tenant id.ID, purpose string, data, mac []byte) bool
}

const familyPurpose = "refresh-family"

// place is where a refresh token stands: its family, and how many rotations came before it.
type place struct {
	family int64
	number uint32
}

// The secret bits of a refresh token are its place and a MAC of that under the key ring. RFC 6749
// §10.10 asks that a guess succeeds with 2^-160 at most: the MAC has 160 bits.
const (
	placeBytes = 12
	macBytes   = 32 - placeBytes
)

// newPlace returns the first place of a new family. 64 random bits name it in its tenant.
func newPlace() place {
	var b [8]byte
	rand.Read(b[:])
	return firstOf(b[:])
}

// firstOf returns the first place of the family that 8 random bytes name.
func firstOf(b []byte) place { return place{family: int64(binary.BigEndian.Uint64(b))} }

// placeIn returns the place that the bits of a token name. Anybody can write one.
func placeIn(bits [32]byte) place {
	p := firstOf(bits[:8])
	p.number = binary.BigEndian.Uint32(bits[8:placeBytes])
	return p
}

func (p place) bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, placeBytes), uint64(p.family))
	return binary.BigEndian.AppendUint32(b, p.number)
}

func (p place) next() place { return place{p.family, p.number + 1} }

// token derives the token at the place, and its hash.
func (p place) token(tx *db.Tx, ring Deriver, keyID string) (secret.String, []byte, error) {
	at := p.bytes()
	mac, err := ring.MAC(keyID, tx.Tenant(), familyPurpose, at)
	if err != nil {
		return "", nil, err
	}
	text, hash := secret.TokenFrom(secret.RefreshToken, tx.Tenant(), [32]byte(append(at, mac[:macBytes]...)))
	return text, hash, nil
}

// shownToken is what the text of a refresh token says of itself.
type shownToken struct {
	text  string
	hash  []byte
	place place
	// authentic says that the key ring made the token, so that its place is true. Without that
	// nothing about its family follows from it: anybody could end a family by a guess of its name.
	authentic bool
}

// readRefresh reads a refresh token. It returns false for text that is not one of the tenant.
func readRefresh(tx *db.Tx, ring Deriver, text string) (shownToken, bool) {
	t, err := secret.ParseToken(text)
	if err != nil || t.Kind != secret.RefreshToken || t.Tenant != tx.Tenant() {
		return shownToken{}, false
	}
	bits := t.Bits()
	return shownToken{
		text: text, hash: t.Hash, place: placeIn(bits),
		authentic: ring.Made(tx.Tenant(), familyPurpose, bits[:placeBytes], bits[placeBytes:]),
	}, true
}
