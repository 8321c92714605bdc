package jose

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	exact "github.com/go-jose/go-jose/v4/json"
)

// maxToken is the longest token that Verify accepts, in bytes.
const maxToken = 16 << 10

// ErrToken is wrapped by every error of Verify: the token is not authentic.
var ErrToken = errors.New("jose: token refused")

// ErrType is the ErrToken of a token whose typ is not one of those that Verify was given.
var ErrType = fmt.Errorf("%w: it has another type", ErrToken)

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrToken, fmt.Sprintf(format, args...))
}

// Verify checks the signature of a compact JWS and returns its payload.
//
// types lists the accepted typ headers; "" stands for an absent one. keys returns the keys with a
// kid, of the one issuer that the token may come from. For an absent kid ("") it may return the
// only key of that issuer. See Set.Find.
func Verify(token string, types []string, keys func(kid string) []PublicKey) ([]byte, error) {
	if len(token) > maxToken {
		return nil, refuse("longer than %d bytes", maxToken)
	}
	jws, err := jose.ParseSignedCompact(token, joseAlgorithms)
	if err != nil {
		return nil, refuse("%.200v", err) // it may quote the token
	}
	h := jws.Signatures[0].Protected
	if _, crit := h.ExtraHeaders["crit"]; crit {
		return nil, refuse("critical headers are not supported")
	}
	if _, b64 := h.ExtraHeaders["b64"]; b64 {
		return nil, refuse("unencoded payloads are not supported")
	}
	if !typeIn(h.ExtraHeaders[jose.HeaderType], types) {
		return nil, fmt.Errorf("%w than %q", ErrType, types)
	}
	alg := Algorithm(h.Algorithm)
	for _, k := range keys(h.KeyID) {
		if !slices.Contains(k.Algorithms, alg) {
			continue
		}
		if payload, err := jws.Verify(k.jwk.Key); err == nil {
			return payload, nil
		}
	}
	return nil, refuse("the signature is not from a key of its issuer with this kid and algorithm")
}

var joseAlgorithms = func() []jose.SignatureAlgorithm {
	out := make([]jose.SignatureAlgorithm, len(Verifying))
	for i, a := range Verifying {
		out[i] = jose.SignatureAlgorithm(a)
	}
	return out
}()

// typeIn reports whether types has the media type header. It ignores case, and the prefix
// "application/" if no other slash follows (RFC 7515 §4.1.9).
func typeIn(header any, types []string) bool {
	typ, ok := header.(string)
	if header != nil && !ok {
		return false
	}
	typ = strings.ToLower(typ)
	if rest, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(rest, "/") {
		typ = rest
	}
	return slices.ContainsFunc(types, func(t string) bool { return strings.ToLower(t) == typ })
}

// Find returns the keys of s with a kid. For an absent kid ("") it returns the only key, if s has
// one key.
func (s Set) Find(kid string) []PublicKey {
	if kid == "" {
		if len(s) == 1 {
			return s
		}
		return nil
	}
	for i := range s {
		if s[i].ID == kid {
			return s[i : i+1]
		}
	}
	return nil
}

// Claims are the registered claims (RFC 7519 §4.1).
type Claims struct {
	Issuer    string   `json:"iss,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  Audience `json:"aud,omitempty"`
	Expiry    Time     `json:"exp,omitempty"`
	NotBefore Time     `json:"nbf,omitempty"`
	IssuedAt  Time     `json:"iat,omitempty"`
	ID        string   `json:"jti,omitempty"`
}

// Skew is how far the clock of a token's issuer may be ahead of ours. FAPI 2.0 requires us to
// accept 10 s and to refuse more than 60 s.
const Skew = 30 * time.Second

// Current reports whether a token with these claims is valid at now. It has not expired, and
// neither nbf nor iat is more than Skew ahead. A token without exp is never valid.
func (c Claims) Current(now time.Time) bool {
	limit := now.Add(Skew).Unix()
	return now.Unix() < int64(c.Expiry) && int64(c.NotBefore) <= limit && int64(c.IssuedAt) <= limit
}

// Peek returns the claims of a token without verifying it, or none if they cannot be read. Use it
// only to choose the keys for Verify.
func Peek(token string) Claims {
	var c Claims
	parts := strings.SplitN(token, ".", 4)
	if len(token) > maxToken || len(parts) != 3 {
		return c
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || ReadClaims(payload, &c) != nil {
		return Claims{}
	}
	return c
}

// ReadClaims reads the payload of a token into a struct. Names are compared exactly, and none may
// stand twice (RFC 7519 §4). encoding/json takes Scope, and even ſcope, for scope, so that a claim
// about a user could pass for one about the token.
func ReadClaims(payload []byte, into any) error { return exact.Unmarshal(payload, into) }

// Time is a NumericDate: seconds since 1970 UTC (RFC 7519 §2). Zero means absent.
type Time int64

// At returns t, truncated to seconds.
func At(t time.Time) Time { return Time(t.Unix()) }

// Time returns t as a time.Time in UTC.
func (t Time) Time() time.Time { return time.Unix(int64(t), 0).UTC() }

// UnmarshalJSON implements json.Unmarshaler. It drops fractions of a second.
func (t *Time) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil || f < 0 || f > 1<<50 {
		return errors.New("a time is a number of seconds since 1970")
	}
	*t = Time(f)
	return nil
}

// Audience is one string or a list of them (RFC 7519 §4.1.3).
type Audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return errors.New("an audience is a string or a list of strings")
	}
	*a = many
	return nil
}

// MarshalJSON implements json.Marshaler. It writes a single audience as a string.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}
