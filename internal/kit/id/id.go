// Package id owns the one identifier type of Gatehouse: a UUID version 7.
//
// Ids sort by the time they were created, so lists can page by them. An id never carries other
// meaning, and it is never a secret.
package id

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ID is a UUID (RFC 9562 §5.7). The zero ID means "none"; kit/db stores it as NULL.
type ID [16]byte

// ErrInvalid is returned for text that is not a UUID.
var ErrInvalid = errors.New("not a UUID")

// New returns a fresh version 7 UUID. It is safe for concurrent use.
func New() ID {
	u, err := uuid.NewV7()
	if err != nil { // crypto/rand never fails on supported systems
		panic(fmt.Sprintf("id: no randomness: %v", err))
	}
	return ID(u)
}

// Parse reads the 36-character form only. It rejects urn:, braces and bare hex with ErrInvalid.
func Parse(s string) (ID, error) {
	if len(s) != 36 {
		return ID{}, ErrInvalid
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return ID{}, ErrInvalid
	}
	return ID(u), nil
}

// IsZero reports whether i is the zero ID, "none".
func (i ID) IsZero() bool { return i == ID{} }

// String returns the 36-character form, or "" for the zero ID.
func (i ID) String() string {
	if i.IsZero() {
		return ""
	}
	return uuid.UUID(i).String()
}

// MarshalText implements encoding.TextMarshaler. The zero ID is the empty text.
func (i ID) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The empty text is the zero ID.
func (i *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*i = ID{}
		return nil
	}
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*i = v
	return nil
}

// Scan implements sql.Scanner for 16 bytes, the text form and NULL.
func (i *ID) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*i = ID{}
		return nil
	case []byte:
		if len(v) == 16 {
			copy(i[:], v)
			return nil
		}
		return i.UnmarshalText(v)
	case string:
		return i.UnmarshalText([]byte(v))
	}
	return fmt.Errorf("id: cannot scan %T", src)
}

// maxNth is the highest number that Nth tells apart. It fills 22 bits.
const maxNth = 1<<22 - 1

// At returns a fresh ID that sorts by the time t, to the microsecond. The fraction of the
// millisecond takes the place of rand_a (RFC 9562 §6.2, method 3).
func At(t time.Time) ID {
	i := New()
	us := t.UnixMicro()
	ms, frac := us/1000, us%1000
	for b := range 6 {
		i[b] = byte(ms >> (40 - 8*b))
	}
	i[6] = 0x70 | byte(frac>>8)
	i[7] = byte(frac)
	return i
}

// Nth returns a fresh ID that sorts by the time t as At does, and among those of one t by n. The
// number takes the first 22 bits of rand_b (RFC 9562 §6.2, method 1), and 40 stay random. Numbers
// over 2^22-1 count as that one.
func Nth(t time.Time, n int) ID {
	i := At(t)
	n = max(0, min(n, maxNth))
	i[8] = 0x80 | byte(n>>16)
	i[9], i[10] = byte(n>>8), byte(n)
	return i
}

// Time returns the time that At encoded. For an ID of New it is exact to the millisecond only.
func (i ID) Time() time.Time {
	var ms int64
	for b := range 6 {
		ms = ms<<8 | int64(i[b])
	}
	frac := int64(i[6]&0x0f)<<8 | int64(i[7])
	return time.UnixMicro(ms*1000 + min(frac, 999)).UTC()
}
