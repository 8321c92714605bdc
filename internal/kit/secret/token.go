package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Kinds of token.
const (
	AccessToken  = "at"
	RefreshToken = "rt"
	Code         = "ac" // authorization code
	DeviceCode   = "dc" // device authorization
	Session      = "ss" // session cookie
	Console      = "cn" // cookie of the admin console
	ClientSecret = "cs"
	MailedLink   = "ml"
	SetupLink    = "su"
	Invitation   = "iv"
)

// A token is gh_{kind}_{tenant}_{secret}_{checksum}. The kind is two letters. Lower-case base32
// follows: of the tenant's 16 bytes, of 32 random bytes, and of the CRC-32 of all before it. The
// fixed form lets secret scanners find leaked tokens. The checksum lets us reject mistyped ones
// without a query.
const (
	tenantLen = 26
	secretLen = 52
	sumLen    = 7
	bodyLen   = len("gh_kk_") + tenantLen + 1 + secretLen + 1
	tokenLen  = bodyLen + sumLen
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// errToken is returned for text that does not have the form of a token.
var errToken = errors.New("not a token of the form gh_kind_tenant_secret_checksum")

// Token holds what the text of a token says. Only its Hash in the database proves that it is valid.
type Token struct {
	Kind   string
	Tenant id.ID
	Hash   []byte // HashOf the whole text: 32 bytes
	bits   [32]byte
}

// Bits returns the secret bits, as TokenFrom received them. The sender of the text chose them.
func (t Token) Bits() [32]byte { return t.bits }

// NewToken returns a new token with 256 random bits, and the hash to store. kind is two lower-case
// letters.
func NewToken(kind string, tenant id.ID) (String, []byte) {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return TokenFrom(kind, tenant, b)
}

// TokenFrom is NewToken with given secret bits, for tokens that KeyRing.MAC derives.
func TokenFrom(kind string, tenant id.ID, bits [32]byte) (String, []byte) {
	if !validKind(kind) {
		panic("secret: a token's kind is two lower-case letters")
	}
	b := make([]byte, 0, tokenLen)
	b = append(b, "gh_"...)
	b = append(b, kind...)
	b = append(b, '_')
	b = encoding.AppendEncode(b, tenant[:])
	b = append(b, '_')
	b = encoding.AppendEncode(b, bits[:])
	b = append(b, '_')
	b = appendSum(b)
	sum := sha256.Sum256(b)
	return String(b), sum[:]
}

// appendSum appends the checksum of b, which includes the trailing underscore.
func appendSum(b []byte) []byte {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(b))
	return encoding.AppendEncode(b, sum[:])
}

// ParseToken reads a token and checks its form, length and checksum. It fails if one is wrong. Only
// the database says whether the token is valid.
func ParseToken(s string) (Token, error) {
	if len(s) != tokenLen || s[:3] != "gh_" || s[5] != '_' || s[6+tenantLen] != '_' || s[bodyLen-1] != '_' ||
		!validKind(s[3:5]) {
		return Token{}, errToken
	}
	var buf [tokenLen]byte
	copy(buf[:], s)
	if string(appendSum(buf[:bodyLen:bodyLen])[bodyLen:]) != s[bodyLen:] {
		return Token{}, errToken
	}
	t := Token{Kind: s[3:5]}
	if !decode(t.Tenant[:], s[6:6+tenantLen]) || !decode(t.bits[:], s[6+tenantLen+1:bodyLen-1]) {
		return Token{}, errToken
	}
	h := sha256.Sum256(buf[:])
	t.Hash = h[:]
	return t, nil
}

// HasKind reports whether s starts like a token of the kind. Only ParseToken checks the rest.
func HasKind(s, kind string) bool { return len(s) == tokenLen && s[:3] == "gh_" && s[3:5] == kind }

// decode reads exactly len(dst) bytes in their canonical form. It rejects texts whose unused base32
// bits are not zero.
func decode(dst []byte, s string) bool {
	var raw, back [secretLen]byte
	n, err := encoding.Decode(raw[:], []byte(s))
	if err != nil || n != len(dst) {
		return false
	}
	encoding.Encode(back[:], raw[:n])
	if string(back[:len(s)]) != s {
		return false
	}
	copy(dst, raw[:n])
	return true
}

func validKind(k string) bool {
	return len(k) == 2 && k[0] >= 'a' && k[0] <= 'z' && k[1] >= 'a' && k[1] <= 'z'
}

// HashOf returns the SHA-256 to store for a secret with at least 256 random bits.
func HashOf(s String) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
