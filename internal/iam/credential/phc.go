package credential

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // imported PBKDF2-HMAC-SHA1 strings are replaced at the next sign-in
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// Limits on imported hashes. A caller who creates a user chooses the parameters, and every later
// sign-in attempt pays for them. So the limits bound each scheme to about a second of one core of
// 2026.
const (
	maxPHCBytes       = 512
	maxMemoryKiB      = 256 << 10 // argon2id and scrypt: 256 MiB
	maxArgon2Passes   = 1 << 20   // argon2id: memory in KiB × passes (1 GiB in one pass)
	maxArgon2Lanes    = 16
	maxScryptBlocks   = 1 << 22 // scrypt: N × r × p
	maxBcryptCost     = 14
	maxPBKDF2Rounds   = 2_000_000
	maxPBKDF2Bytes    = 512 // of output; only the first block counts
	minSaltBytes      = 4
	maxSaltBytes      = 64
	minSumBytes       = 16 // a shorter sum could match by chance
	maxSumBytes       = 64
	acceptedHashForms = "$argon2id$v=19$… and $argon2i$…, $2b$… (bcrypt), $scrypt$ln=…,r=…,p=…$…, $firescrypt$…, " +
		"$pbkdf2-sha256$… (also sha1, sha224, sha384, sha512), {SSHA}… (also SSHA256, SSHA512), Django's own text, " +
		"ASP.NET Identity v3"
)

// errHash is returned for a password hash that cannot be imported.
var errHash = fault.New(fault.Invalid, "credential.hash_invalid", "The password hash cannot be used.")

func hashFault(format string, args ...any) error {
	return fault.InvalidField(errHash.Code, "password_hash", format, args...)
}

type scheme uint8

const (
	argon2id scheme = iota + 1
	bcrypted
	scrypted
	pbkdf2ed
	argon2i
	firebase // scrypt and AES, as Firebase Authentication has it
	salted   // one digest of password and salt, as LDAP has it
)

// phc is a parsed PHC string (https://github.com/P-H-C/phc-string-format), or an older
// modular-crypt form with the same meaning.
type phc struct {
	scheme scheme
	memory uint32 // argon2id: KiB
	passes uint32 // argon2id: t; PBKDF2: rounds
	lanes  uint8  // argon2id: p
	ln     uint8  // scrypt: log2 N
	r, p   int    // scrypt
	digest func() hash.Hash
	key    []byte // firebase: the signer key
	hexed  bool   // bcrypt: of the SHA-256 in hexadecimal digits, as Django has it
	salt   []byte
	sum    []byte
	text   string // bcrypt: the whole string
}

// parseHash checks that s is a password hash within the limits, and returns the form to store.
func parseHash(s string) (string, error) {
	if _, err := parsePHC(s); err != nil {
		return "", err
	}
	return s, nil
}

func parsePHC(s string) (phc, error) {
	if len(s) > maxPHCBytes {
		return phc{}, hashFault("The password hash is longer than %d bytes.", maxPHCBytes)
	}
	if h, ok, err := parseForeign(s); ok {
		return h, err
	}
	parts := strings.Split(s, "$")
	if len(parts) < 4 || parts[0] != "" {
		return phc{}, unknownForm()
	}
	switch name, rest := parts[1], parts[2:]; name {
	case "argon2id":
		return parseArgon2(argon2id, rest)
	case "argon2i":
		return parseArgon2(argon2i, rest)
	case "firescrypt":
		return parseFirebase(rest)
	case "2a", "2b", "2y":
		return parseBcrypt(s, rest)
	case "scrypt":
		return parseScrypt(rest)
	case "pbkdf2": // passlib's name of SHA-1
		return parsePBKDF2(rest, sha1.New)
	default:
		if digest, ok := digests[strings.TrimPrefix(name, "pbkdf2-")]; ok && strings.HasPrefix(name, "pbkdf2-") {
			return parsePBKDF2(rest, digest)
		}
	}
	return phc{}, hashFault("The password hash has an unknown scheme. Accepted: %s.", acceptedHashForms)
}

func parseArgon2(s scheme, parts []string) (phc, error) {
	// A string without v= is of Argon2 version 1.0, which computes another hash.
	if len(parts) != 4 || parts[0] != "v=19" {
		return phc{}, hashFault("An argon2 hash reads $argon2id$v=19$m=…,t=…,p=…$salt$hash.")
	}
	v, err := params(parts[1], "m", "t", "p")
	if err != nil {
		return phc{}, err
	}
	m, t, p := v[0], v[1], v[2]
	if p < 1 || p > maxArgon2Lanes || t < 1 || m < 8*p || m > maxMemoryKiB || m*t > maxArgon2Passes {
		return phc{}, hashFault(
			"The argon2 parameters are out of range: m from 8·p to %d, p from 1 to %d, m·t at most %d.", maxMemoryKiB,
			maxArgon2Lanes, maxArgon2Passes)
	}
	h := phc{scheme: s, memory: uint32(m), passes: uint32(t), lanes: uint8(p)}
	return h.saltAndSum(parts[2], parts[3])
}

func parseBcrypt(whole string, parts []string) (phc, error) {
	if len(whole) != 60 || len(parts) != 2 || len(parts[0]) != 2 {
		return phc{}, hashFault("A bcrypt hash reads $2b$cost$ and 53 characters.")
	}
	cost, err := strconv.ParseUint(parts[0], 10, 8)
	if err != nil || cost < uint64(bcrypt.MinCost) || cost > maxBcryptCost {
		return phc{}, hashFault("The bcrypt cost must be from %02d to %d.", bcrypt.MinCost, maxBcryptCost)
	}
	for _, c := range []byte(parts[1]) {
		if c != '.' && c != '/' && !alphanumeric(c) {
			return phc{}, hashFault("The bcrypt hash has a character outside its alphabet.")
		}
	}
	return phc{scheme: bcrypted, passes: uint32(cost), text: whole}, nil
}

func parseScrypt(parts []string) (phc, error) {
	if len(parts) != 3 {
		return phc{}, hashFault("A scrypt hash reads $scrypt$ln=…,r=…,p=…$salt$hash.")
	}
	v, err := params(parts[0], "ln", "r", "p")
	if err != nil {
		return phc{}, err
	}
	r, p := v[1], v[2]
	ln, power := logOfN(v[0])
	if !power || ln < 1 || ln > 22 || r < 1 || r > 1<<10 || p < 1 || p > 1<<10 ||
		(1<<ln)*r*128 > maxMemoryKiB<<10 || (1<<ln)*r*p > maxScryptBlocks {
		return phc{}, hashFault(
			"The scrypt parameters are out of range: 2^ln·r·128 at most %d MiB and 2^ln·r·p at most %d.",
			maxMemoryKiB>>10, maxScryptBlocks)
	}
	h := phc{scheme: scrypted, ln: uint8(ln), r: int(r), p: int(p)}
	return h.saltAndSum(parts[1], parts[2])
}

func parsePBKDF2(parts []string, digest func() hash.Hash) (phc, error) {
	if len(parts) != 3 {
		return phc{}, hashFault(
			"A PBKDF2 hash reads $pbkdf2-sha256$rounds$salt$hash or $pbkdf2-sha256$i=rounds$salt$hash.")
	}
	var rounds, length uint64
	var err error
	switch {
	case !strings.Contains(parts[0], "="):
		rounds, err = number(parts[0])
	case strings.Contains(parts[0], ",l="):
		var v []uint64
		if v, err = params(parts[0], "i", "l"); err == nil {
			rounds, length = v[0], v[1]
		}
	default:
		var v []uint64
		if v, err = params(parts[0], "i"); err == nil {
			rounds = v[0]
		}
	}
	if err != nil {
		return phc{}, err
	}
	salt, err := decode64(parts[1])
	if err != nil {
		return phc{}, hashFault("The salt must be base64.")
	}
	sum, err := decode64(parts[2])
	if err != nil {
		return phc{}, hashFault("The hash must be base64.")
	}
	if length != 0 && length != uint64(len(sum)) {
		return phc{}, hashFault("The PBKDF2 hash does not have the length that l= says.")
	}
	return pbkdf2Hash(digest, rounds, salt, sum)
}

func (h phc) saltAndSum(salt, sum string) (phc, error) {
	var err error
	if h.salt, err = decode64(salt); err != nil || len(h.salt) < minSaltBytes || len(h.salt) > maxSaltBytes {
		return phc{}, hashFault("The salt must be base64 of %d to %d bytes.", minSaltBytes, maxSaltBytes)
	}
	if h.sum, err = decode64(sum); err != nil || len(h.sum) < minSumBytes || len(h.sum) > maxSumBytes {
		return phc{}, hashFault("The hash must be base64 of %d to %d bytes.", minSumBytes, maxSumBytes)
	}
	return h, nil
}

// params reads "a=1,b=2" with exactly the names given, in their order.
func params(s string, names ...string) ([]uint64, error) {
	fields := strings.Split(s, ",")
	if len(fields) != len(names) {
		return nil, hashFault("The hash parameters must be %s, in this order.", strings.Join(names, ", "))
	}
	out := make([]uint64, len(names))
	for i, f := range fields {
		v, ok := strings.CutPrefix(f, names[i]+"=")
		if !ok {
			return nil, hashFault("The hash parameters must be %s, in this order.", strings.Join(names, ", "))
		}
		n, err := number(v)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// number reads an unsigned decimal below 2^32 without sign or leading zero. So the product of two
// cannot overflow.
func number(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, hashFault("The hash has a parameter that is not a plain number.")
	}
	return n, nil
}

// alphabets turns passlib's "." and the "-" and "_" of URLs (RFC 4648 §5) into standard base64.
var alphabets = strings.NewReplacer(".", "+", "-", "+", "_", "/")

// decode64 reads base64 in the forms that exist: with or without padding, and in each alphabet.
func decode64(s string) ([]byte, error) {
	s = alphabets.Replace(strings.TrimRight(s, "="))
	if strings.ContainsAny(s, "\r\n") { // the decoder would skip them
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawStdEncoding.DecodeString(s)
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// memoryKiB is the peak memory of verifying.
func (h phc) memoryKiB() int64 {
	switch h.scheme {
	case argon2id, argon2i:
		return int64(h.memory)
	case scrypted, firebase:
		return int64(1) << h.ln * int64(h.r) / 8
	}
	return 8
}

// matches computes the hash of password and compares in constant time. It is as slow as the
// parameters demand: call it only with a place in the Hasher.
func (h phc) matches(password string) (bool, error) {
	var sum []byte
	switch h.scheme {
	case argon2id:
		sum = argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	case argon2i:
		sum = argon2.Key([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	case bcrypted:
		if h.hexed {
			digest := sha256.Sum256([]byte(password))
			password = hex.EncodeToString(digest[:])
		}
		// bcrypt reads 72 bytes and ignores the rest, as it did when the hash was computed.
		err := bcrypt.CompareHashAndPassword([]byte(h.text), []byte(password))
		if err != nil && err != bcrypt.ErrMismatchedHashAndPassword {
			return false, fmt.Errorf("bcrypt: %w", err)
		}
		return err == nil, nil
	case scrypted:
		var err error
		if sum, err = scrypt.Key([]byte(password), h.salt, 1<<h.ln, h.r, h.p, len(h.sum)); err != nil {
			return false, fmt.Errorf("scrypt: %w", err)
		}
	case firebase:
		var err error
		if sum, err = h.firebaseSum(password); err != nil {
			return false, err
		}
	case salted:
		d := h.digest()
		d.Write([]byte(password))
		d.Write(h.salt)
		sum = d.Sum(nil)
	case pbkdf2ed:
		var err error
		if sum, err = pbkdf2.Key(h.digest, password, h.salt, int(h.passes), len(h.sum)); err != nil {
			return false, fmt.Errorf("pbkdf2: %w", err)
		}
	}
	return subtle.ConstantTimeCompare(sum, h.sum) == 1, nil
}
