package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// signer returns a JWK set, and a function that returns JWTs signed with its key.
func signer(t *testing.T, kid string) (string, func(expires time.Time) string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.Import(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(key.Set(jwk.KeyIDKey, kid), key.Set(jwk.AlgorithmKey, jwa.ES256())); err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"keys":[%s]}`, b), func(expires time.Time) string {
		token, err := jwt.NewBuilder().Subject("ada").Audience([]string{"a", "b"}).Expiration(expires).Claim("level",
			7).Claim("teams", []string{"x"}).Build()
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jwt.Sign(token, jwt.WithKey(jwa.ES256(), key))
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
}

func TestAuxDataIsVerified(t *testing.T) {
	set, sign := signer(t, "k1")
	_, other := signer(t, "k1")
	later := time.Date(2090, 1, 2, 3, 4, 5, 0, time.UTC)
	tenant, two, none := id.New(), id.New(), id.New()
	s := DefaultSettings()
	s.KeySets = []KeySet{{ID: "main", Keys: set}}
	both := s
	both.KeySets = append(both.KeySets, KeySet{ID: "far", URL: "https://127.0.0.1:1/keys", Refresh: time.Hour})
	e := New(&shelf{of: map[id.ID]Published{tenant: {Settings: s}, two: {Settings: both}}}, base)
	jwtOf := func(token, set string) *requestv1.AuxData {
		return &requestv1.AuxData{Jwt: &requestv1.AuxData_JWT{Token: token, KeySetId: set}}
	}
	for name, c := range map[string]struct {
		tenant id.ID
		in     *requestv1.AuxData
		good   bool
	}{
		"the only set":  {tenant, jwtOf(sign(later), ""), true},
		"named":         {tenant, jwtOf(sign(later), "main"), true},
		"one of two":    {two, jwtOf(sign(later), "main"), true},
		"which of two":  {two, jwtOf(sign(later), ""), false},
		"no such set":   {tenant, jwtOf(sign(later), "other"), false},
		"another's key": {tenant, jwtOf(other(later), ""), false},
		"expired":       {tenant, jwtOf(sign(time.Unix(1, 0)), ""), false},
		"no set at all": {none, jwtOf(sign(later), ""), false},
		"no JWT":        {tenant, jwtOf("abc", ""), false},
		"alg none":      {tenant, jwtOf("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", ""), false},
		"not public":    {two, jwtOf(sign(later), "far"), false},
		"one of several is": {tenant,
			&requestv1.AuxData{Jwts: map[string]*requestv1.AuxData_JWT{"a": {Token: sign(later)},
				"b": {Token: other(later)}}}, false},
	} {
		got, err := e.AuxData(t.Context(), as(c.tenant), c.in)
		if c.good != (err == nil) || err != nil && !errors.Is(err, errAuxData) {
			t.Errorf("%s: %v %v", name, got, err)
		}
		if !c.good {
			continue
		}
		claims := map[string]any{}
		for name, v := range got.GetJwt() {
			claims[name] = v.AsInterface()
		}
		want := map[string]any{"sub": "ada", "aud": []any{"a", "b"}, "exp": "2090-01-02T03:04:05Z", "level": 7.0,
			"teams": []any{"x"}}
		if d := cmp.Diff(want, claims); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	got, err := e.AuxData(t.Context(), as(tenant),
		&requestv1.AuxData{Jwts: map[string]*requestv1.AuxData_JWT{"a": {Token: sign(later)}}})
	if err != nil || got.GetJwts()["a"].GetClaims()["sub"].GetStringValue() != "ada" {
		t.Error(got, err)
	}
	if got, err := e.AuxData(t.Context(), as(none), nil); got != nil || err != nil {
		t.Error(got, err)
	}
}

func TestKeySetsAreFetchedFromPublicAddressesOnly(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.1.1",
		"0.0.0.0", "224.0.0.1", "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
		"64:ff9b:1::1", "2002:a00:1::",
		"::10.0.0.1", "fec0::1", "fec0::1%eth0", "2001::1", "2001:db8::1",
		"198.18.0.1", "240.0.0.1", "192.0.2.1"} {
		if public(netip.MustParseAddr(a).Unmap()) {
			t.Error(a)
		}
	}
	if !public(netip.MustParseAddr("93.184.216.34")) || !public(netip.MustParseAddr("2606:2800:220:1::1")) {
		t.Error("a public address is refused")
	}
}
