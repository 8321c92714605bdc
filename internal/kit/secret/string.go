package secret

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// String is a text that must stay hidden: a password, a token, a key. Printed, logged or marshalled
// it reads [redacted]; only Reveal shows it. JSON and text decode into it as into any string.
type String string

// Reveal returns the text itself.
func (s String) Reveal() string { return string(s) }

// IsZero reports whether the text is empty.
func (s String) IsZero() bool { return s == "" }

// String implements fmt.Stringer.
func (String) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (String) GoString() string { return redacted }

// Format implements fmt.Formatter: no verb shows the text.
func (String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, and with it JSON.
func (String) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler, and with it JSON.
func (s *String) UnmarshalText(b []byte) error {
	*s = String(b)
	return nil
}

// Value implements driver.Valuer by refusing: a secret is stored hashed or sealed.
func (String) Value() (driver.Value, error) {
	return nil, errors.New("secret: a secret is never stored as it is; hash it or seal it")
}
