package credential

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" //nolint:gosec // imported hashes are replaced at the next sign-in
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// digests are the digests of PBKDF2 by their names.
var digests = map[string]func() hash.Hash{
	"sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
}

// parseForeign reads the hash forms that are not PHC strings: those of Django, LDAP and ASP.NET
// Core Identity. It returns false for a text in none of them.
func parseForeign(s string) (phc, bool, error) {
	var h phc
	var err error
	switch name, rest, _ := strings.Cut(s, "$"); {
	case strings.HasPrefix(s, "{"):
		h, err = parseLDAP(s)
	case strings.HasPrefix(s, "AQAAAA"):
		h, err = parseIdentity(s)
	case name == "pbkdf2_sha256" || name == "pbkdf2_sha1":
		h, err = parseDjangoPBKDF2(strings.TrimPrefix(name, "pbkdf2_"), strings.Split(rest, "$"))
	case name == "scrypt":
		h, err = parseDjangoScrypt(strings.Split(rest, "$"))
	case name == "argon2" || name == "bcrypt": // the name, and a PHC string or what bcrypt writes
		h, err = parsePHC("$" + strings.TrimPrefix(rest, "$"))
		if err == nil && h.scheme != argon2id && h.scheme != argon2i && h.scheme != bcrypted {
			err = unknownForm()
		}
	case name == "bcrypt_sha256":
		h, err = parsePHC(rest)
		if err == nil && h.scheme != bcrypted {
			err = unknownForm()
		}
		h.hexed = true
	default:
		return phc{}, false, nil
	}
	return h, true, err
}

func unknownForm() error {
	return hashFault("The password hash is not in a known form. Accepted: %s.", acceptedHashForms)
}

// parseLDAP reads {SSHA}, {SSHA256} and {SSHA512} (RFC 2307 with a salt): base64 of the digest of
// password and salt, and the salt.
func parseLDAP(s string) (phc, error) {
	name, text, _ := strings.Cut(strings.TrimPrefix(s, "{"), "}")
	digest, ok := map[string]func() hash.Hash{
		"SSHA": sha1.New, "SSHA256": sha256.New, "SSHA512": sha512.New}[strings.ToUpper(name)]
	if !ok {
		return phc{}, unknownForm()
	}
	b, err := decode64(text)
	size := digest().Size()
	if err != nil || len(b) < size+minSaltBytes || len(b) > size+maxSaltBytes {
		return phc{}, hashFault("An LDAP hash reads {SSHA}, and base64 of the digest and a salt of %d to %d bytes.",
			minSaltBytes, maxSaltBytes)
	}
	return phc{scheme: salted, digest: digest, sum: b[:size], salt: b[size:]}, nil
}

// parseIdentity reads version 3 of ASP.NET Core Identity: base64 of the byte 1, PRF, rounds and
// length of the salt as 32 bits each, the salt and the PBKDF2 output.
func parseIdentity(s string) (phc, error) {
	const header = 1 + 3*4
	b, err := decode64(s)
	if err != nil || len(b) < header {
		return phc{}, hashFault("The ASP.NET Identity hash is not base64, or it is cut.")
	}
	prf, rounds := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[5:])
	salt := uint64(binary.BigEndian.Uint32(b[9:]))
	names := []string{"sha1", "sha256", "sha512"}
	if uint64(prf) >= uint64(len(names)) || salt > uint64(len(b)-header) {
		return phc{}, hashFault("The ASP.NET Identity hash has an unknown digest, or it is cut.")
	}
	return pbkdf2Hash(digests[names[prf]], uint64(rounds), b[header:header+salt], b[header+salt:])
}

// parseDjangoPBKDF2 reads pbkdf2_sha256$rounds$salt$hash, whose salt is text.
func parseDjangoPBKDF2(digest string, parts []string) (phc, error) {
	if len(parts) != 3 {
		return phc{}, hashFault("A PBKDF2 hash of Django reads pbkdf2_sha256$rounds$salt$hash.")
	}
	rounds, err := number(parts[0])
	if err != nil {
		return phc{}, err
	}
	sum, err := decode64(parts[2])
	if err != nil {
		return phc{}, hashFault("The hash must be base64.")
	}
	return pbkdf2Hash(digests[digest], rounds, []byte(parts[1]), sum)
}

// parseDjangoScrypt reads scrypt$N$salt$r$p$hash, whose salt is text.
func parseDjangoScrypt(parts []string) (phc, error) {
	if len(parts) != 5 {
		return phc{}, hashFault("A scrypt hash of Django reads scrypt$N$salt$r$p$hash.")
	}
	costs := strings.Join([]string{"ln=" + parts[0], "r=" + parts[2], "p=" + parts[3]}, ",")
	return parseScrypt([]string{costs, base64.RawStdEncoding.EncodeToString([]byte(parts[1])), parts[4]})
}

// parseFirebase reads what Ory Kratos writes of Firebase's scrypt:
// $firescrypt$ln=14,r=8,p=1$salt$hash$separator$signer key. The hash is the key, encrypted under
// what scrypt derives.
func parseFirebase(parts []string) (phc, error) {
	if len(parts) != 5 {
		return phc{}, hashFault("A Firebase hash reads $firescrypt$ln=…,r=…,p=…$salt$hash$separator$signer key.")
	}
	h, err := parseScrypt(parts[:3])
	if err != nil {
		return phc{}, err
	}
	separator, err := decode64(parts[3])
	if err != nil || len(separator) > maxSaltBytes {
		return phc{}, hashFault("The salt separator must be base64 of at most %d bytes.", maxSaltBytes)
	}
	if h.key, err = decode64(parts[4]); err != nil || len(h.key) != len(h.sum) {
		return phc{}, hashFault("The signer key must be base64, and as long as the hash.")
	}
	h.scheme, h.salt = firebase, append(h.salt, separator...)
	return h, nil
}

// firebaseSum encrypts the signer key with AES-256-CTR under what scrypt derives from the password.
func (h phc) firebaseSum(password string) ([]byte, error) {
	derived, err := scrypt.Key([]byte(password), h.salt, 1<<h.ln, h.r, h.p, 32)
	if err != nil {
		return nil, fmt.Errorf("scrypt: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("firescrypt: %w", err)
	}
	out := make([]byte, len(h.key))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(out, h.key)
	return out, nil
}

// logOfN returns log2 N of scrypt. Ory Kratos and Django write N itself, which is a power of two
// and more than any logarithm in use.
func logOfN(ln uint64) (uint64, bool) {
	if ln < 64 {
		return ln, true
	}
	return uint64(bits.TrailingZeros64(ln)), ln&(ln-1) == 0
}

// pbkdf2Hash checks the limits of PBKDF2. It keeps the first output block only, because each block
// costs all the rounds again (RFC 8018 §5.2) and a guess need not compute more than one.
func pbkdf2Hash(digest func() hash.Hash, rounds uint64, salt, sum []byte) (phc, error) {
	if len(salt) < minSaltBytes || len(salt) > maxSaltBytes {
		return phc{}, hashFault("The salt must have %d to %d bytes.", minSaltBytes, maxSaltBytes)
	}
	if len(sum) < minSumBytes || len(sum) > maxPBKDF2Bytes {
		return phc{}, hashFault("The PBKDF2 hash must have %d to %d bytes.", minSumBytes, maxPBKDF2Bytes)
	}
	if rounds < 1 || rounds > maxPBKDF2Rounds {
		return phc{}, hashFault("The PBKDF2 rounds must be from 1 to %s.", strconv.Itoa(maxPBKDF2Rounds))
	}
	return phc{scheme: pbkdf2ed, passes: uint32(rounds), digest: digest, salt: salt,
		sum: sum[:min(len(sum), digest().Size())]}, nil
}
