package access_test

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/access"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func TestBearer(t *testing.T) {
	for value, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "Bearer": "", "Bearer ": "", "Basic abc": "", "": "", "abc": "",
	} {
		if got, ok := access.Bearer([]string{value}); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", value, got, ok)
		}
	}
	for _, values := range [][]string{nil, {}, {"Bearer a", "Bearer b"}} {
		if got, ok := access.Bearer(values); ok || got != "" {
			t.Errorf("%q gave the token %q", values, got)
		}
	}
}

// RFC 6750 §3: which error code a challenge has.
func TestChallenge(t *testing.T) {
	for _, tt := range []struct {
		err   error
		scope string
		want  string
	}{
		{access.ErrNoToken, "", `Bearer`},
		{access.ErrNoToken, "a", `Bearer scope="a"`},
		{grant.ErrToken, "", `Bearer error="invalid_token"`},
		{grant.ErrToken, "a", `Bearer error="invalid_token", scope="a"`},
		{access.LacksScope("a"), "a", `Bearer error="insufficient_scope", scope="a"`},
		{fault.New(fault.Denied, "action.denied", "No."), "a", ""},
	} {
		if got := access.Challenge(tt.err, tt.scope); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}
