package user

import (
	"strings"
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

func TestStandardClaims(t *testing.T) {
	for _, good := range []Profile{
		{Birthdate: "1815-12-10"}, {Birthdate: "1815"}, {Birthdate: "0000-02-29"}, {Zoneinfo: "Europe/Zurich"},
		{Zoneinfo: "America/Argentina/Buenos_Aires"}, {Zoneinfo: "Etc/GMT+1"}, {Zoneinfo: "UTC"},
		{Page: "https://example.com/ada"}, {Picture: "http://example.com/a.jpg"}, {Website: " https://example.com "},
	} {
		good.Username = "ada"
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, c := range []struct {
		field string
		bad   Profile
	}{
		{"birthdate", Profile{Birthdate: "1815-13-10"}}, {"birthdate", Profile{Birthdate: "10.12.1815"}},
		{"birthdate", Profile{Birthdate: "0000"}}, {"zoneinfo", Profile{Zoneinfo: "Europe/../../etc"}},
		{"zoneinfo", Profile{Zoneinfo: "a b"}}, {"zoneinfo", Profile{Zoneinfo: strings.Repeat("a", 65)}},
		{"profile", Profile{Page: "javascript:alert(1)"}}, {"picture", Profile{Picture: "data:image/png;base64,AA=="}},
		{"website", Profile{Website: "https://"}}, {"website", Profile{Website: "https://a:b@example.com"}},
		{"website", Profile{Website: "https://example.com/" + strings.Repeat("a", 512)}},
		{"nickname", Profile{Nickname: "a\nb"}}, {"middle_name", Profile{MiddleName: strings.Repeat("a", 129)}},
		{"gender", Profile{Gender: strings.Repeat("a", 33)}},
	} {
		c.bad.Username = "ada"
		f := fault.As(c.bad.Check())
		if len(f.Fields) != 1 || f.Fields[0].Name != c.field {
			t.Errorf("%+v: %v, want a problem of %s", c.bad, f.Fields, c.field)
		}
	}
}
