package application

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func TestCheckMappings(t *testing.T) {
	mapping := func(claim string) Mapping { return Mapping{Claim: claim, Expression: "1"} }
	many := make([]Mapping, maxMappings+1)
	for i := range many {
		many[i] = mapping(strings.Repeat("c", i+1))
	}
	for name, c := range map[string]struct {
		of    []Mapping
		wrong []string
	}{
		"none": {nil, nil}, "32": {many[:maxMappings], nil}, "33": {many, []string{"mappings"}},
		"a name with a host": {[]Mapping{mapping("https://hasura.io/jwt/claims")}, nil},
		"claims of scopes":   {[]Mapping{mapping("groups"), mapping("preferred_username")}, nil},
		"a long name":        {[]Mapping{mapping(strings.Repeat("c", 201))}, []string{"mappings[0].claim"}},
		"a space":            {[]Mapping{mapping("a b")}, []string{"mappings[0].claim"}},
		"no name":            {[]Mapping{mapping("")}, []string{"mappings[0].claim"}},
		"claims of tokens of others": {[]Mapping{mapping("azp"), mapping("c_hash"), mapping("events"), mapping("act")},
			[]string{"mappings[0].claim", "mappings[1].claim", "mappings[2].claim", "mappings[3].claim"}},
		"the token's": {[]Mapping{mapping("x"), mapping("sub"), mapping("cnf")},
			[]string{"mappings[1].claim", "mappings[2].claim"}},
		"a verified address": {[]Mapping{mapping("email"), mapping("email_verified")},
			[]string{"mappings[0].claim", "mappings[1].claim"}},
		"the token's, as programs in Go read it": {
			[]Mapping{mapping("Scope"), mapping("\u017fid"), mapping("TOKEN_USE"), mapping("Email"),
				mapping("ro\u200ble"), mapping("ｓub")},
			[]string{"mappings[0].claim", "mappings[1].claim", "mappings[2].claim", "mappings[3].claim",
				"mappings[4].claim", "mappings[5].claim"}},
		"twice": {[]Mapping{mapping("x"), mapping("x"), mapping("X")},
			[]string{"mappings[1].claim", "mappings[2].claim"}},
		"no expression": {[]Mapping{{Claim: "x"}}, []string{"mappings[0].expression"}},
		"a long expression": {[]Mapping{{Claim: "x", Expression: strings.Repeat("1", 4097)}},
			[]string{"mappings[0].expression"}},
		"a place": {[]Mapping{{Claim: "x", Expression: "1", In: []string{"id_token", "header", "id_token"}}},
			[]string{"mappings[0].in[1]", "mappings[0].in[2]"}},
	} {
		got, err := (&Application{Type: Web}).WithMappings(c.of)
		var wrong []string
		for _, f := range fault.As(err).Fields {
			wrong = append(wrong, f.Name)
		}
		if !slices.Equal(wrong, c.wrong) {
			t.Errorf("%s: %v, want %v", name, wrong, c.wrong)
		}
		for _, m := range got.Mappings {
			if err == nil && len(m.In) != 2 {
				t.Errorf("%s: told in %v", name, m.In)
			}
		}
	}
	if _, err := (&Application{Type: Machine}).WithMappings(many[:1]); err == nil {
		t.Error("a machine has no person to tell of")
	}
}
