package oidc

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/grant"
)

// No mapping replaces a member that a token or an answer of ours has for itself, nor adds one that
// it happens to lack.
func TestEveryMemberOfATokenIsReserved(t *testing.T) {
	var check func(of reflect.Type)
	check = func(of reflect.Type) {
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous:
				check(f.Type)
			case !application.ReservedClaim(name):
				t.Errorf("%s of %v is not reserved", name, of)
			}
		}
	}
	for _, v := range []any{idClaims{}, grant.AccessClaims{}, introspection{}} {
		check(reflect.TypeOf(v))
	}
}
