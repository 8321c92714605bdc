package secret

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

func TestStringIsNeverStored(t *testing.T) {
	if v, err := driver.DefaultParameterConverter.ConvertValue(String("hunter2")); err == nil {
		t.Errorf("a secret can be bound to a statement: %v", v)
	}
}

func TestToken(t *testing.T) {
	tenant := id.New()
	s, hash := NewToken(AccessToken, tenant)
	text := s.Reveal()
	tok, err := ParseToken(text)
	if err != nil || tok.Kind != AccessToken || tok.Tenant != tenant || !bytes.Equal(tok.Hash, hash) ||
		!bytes.Equal(hash, HashOf(s)) {
		t.Fatalf("ParseToken(%q) = %+v, %v", text, tok, err)
	}
	if other, _ := NewToken(AccessToken, tenant); other == s {
		t.Error("two tokens are the same")
	}
	for i := range text { // any one changed character is noticed
		c := byte('a')
		if text[i] == 'a' {
			c = 'b'
		}
		if _, err := ParseToken(text[:i] + string(c) + text[i+1:]); err == nil {
			t.Errorf("changed at %d: accepted", i)
		}
	}
	for _, bad := range []string{"", text[1:], text + "a", strings.ToUpper(text), strings.Repeat("a", tokenLen),
		strings.Repeat("_", tokenLen), "gh_at_" + strings.Repeat("a", 1<<16)} {
		if _, err := ParseToken(bad); !errors.Is(err, errToken) {
			t.Errorf("accepted %.120q", bad)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	s, _ := NewToken(RefreshToken, id.New())
	f.Add(s.Reveal())
	f.Add("gh_at_")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		var bits [32]byte
		if !decode(bits[:], s[6+tenantLen+1:bodyLen-1]) {
			t.Fatal("accepted, but cannot be decoded")
		}
		back, hash := TokenFrom(tok.Kind, tok.Tenant, bits)
		if back.Reveal() != s || !bytes.Equal(hash, tok.Hash) {
			t.Fatalf("%q is not the canonical form %q", s, back.Reveal())
		}
	})
}

func ring(t *testing.T, lines ...string) *KeyRing {
	t.Helper()
	k, err := ParseKeyRing(String(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyRing(t *testing.T) {
	one, two := NewKey("one").Reveal(), NewKey("two").Reveal()
	old, both, gone := ring(t, one), ring(t, "# keys", "", two, one), ring(t, two)
	acme, globex := id.New(), id.New()
	sealed, err := old.Seal(acme, "totp", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("plain")) {
		t.Fatal("not encrypted")
	}
	again, _ := old.Seal(acme, "totp", []byte("plain"))
	if bytes.Equal(again, sealed) {
		t.Error("sealing twice gives the same bytes: the nonce repeats")
	}
	for _, k := range []*KeyRing{old, both} {
		if got, err := k.Open(acme, "totp", sealed); err != nil || string(got) != "plain" {
			t.Errorf("Open = %q, %v", got, err)
		}
	}
	refused := func(what string, k *KeyRing, tenant id.ID, purpose string, b []byte) {
		t.Helper()
		if got, err := k.Open(tenant, purpose, b); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: Open = %q, %v", what, got, err)
		}
	}
	refused("another tenant", old, globex, "totp", sealed)
	refused("another purpose", old, acme, "totq", sealed)
	refused("a key that is gone", gone, acme, "totp", sealed)
	for i := range sealed {
		refused("cut", old, acme, "totp", sealed[:i])
		b := bytes.Clone(sealed)
		b[i] ^= 1
		refused("changed", old, acme, "totp", b)
	}

	mac := func(k *KeyRing, keyID string, tenant id.ID, purpose, data string) [32]byte {
		t.Helper()
		m, err := k.MAC(keyID, tenant, purpose, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := mac(old, old.Current(), acme, "refresh", "x")
	if m != mac(both, "one", acme, "refresh", "x") {
		t.Error("a derived secret changes with the current key")
	}
	if m == mac(old, "one", globex, "refresh", "x") || m == mac(old, "one", acme, "other", "x") ||
		m == mac(old, "one", acme, "refresh", "y") || m == mac(both, "two", acme, "refresh", "x") {
		t.Error("two derived secrets are the same")
	}
	for name, c := range map[string]struct {
		k    *KeyRing
		of   id.ID
		data string
		mac  []byte
		made bool
	}{
		"the current key":  {old, acme, "x", m[:], true},
		"the beginning":    {old, acme, "x", m[:16], true},
		"an earlier key":   {both, acme, "x", m[:20], true},
		"too little of it": {old, acme, "x", m[:15], false},
		"nothing":          {old, acme, "x", nil, false},
		"more than it":     {old, acme, "x", append(m[:], 0), false},
		"a key that left":  {gone, acme, "x", m[:], false},
		"another tenant":   {old, globex, "x", m[:], false},
		"other data":       {old, acme, "y", m[:], false},
	} {
		if made := c.k.Made(c.of, "refresh", []byte(c.data), c.mac); made != c.made {
			t.Errorf("%s: Made = %v", name, made)
		}
	}
	if _, err := gone.MAC("one", acme, "refresh", nil); !errors.Is(err, ErrOpen) {
		t.Errorf("a key that is gone: err = %v", err)
	}
}

func TestParseKeyRingRefuses(t *testing.T) {
	good := NewKey("a").Reveal()
	for name, text := range map[string]string{
		"nothing":    "# only words\n\n",
		"no colon":   "abc",
		"no id":      ":" + strings.TrimPrefix(good, "a:"),
		"bad id":     "a b:" + strings.TrimPrefix(good, "a:"),
		"short key":  "a:c2hvcnQ=",
		"no base64":  "a:%%%",
		"same id":    good + "\n" + good,
		"trailing x": good + "x",
	} {
		_, err := ParseKeyRing(String(text))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if len(text) > 40 && strings.Contains(err.Error(), text[3:20]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k, err := ParseKeyRing(NewKey("k"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{1, 1, 'k'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := k.Open(id.ID{}, "p", b); err == nil {
			t.Fatalf("opened %x to %q", b, p)
		}
	})
}
