package application

import (
	"testing"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// The sector is the host of the redirect URIs, if there is one that belongs to someone.
func TestCheckSubject(t *testing.T) {
	const a, b = "https://a.example/x", "https://b.example/x"
	for name, c := range map[string]struct {
		app    Application
		sector string
		wrong  string
	}{
		"one host":   {Application{RedirectURIs: []string{a, "https://A.example:8443/y"}}, "a.example", ""},
		"two hosts":  {Application{RedirectURIs: []string{a, b}}, "", "sector_identifier"},
		"localhost":  {Application{RedirectURIs: []string{"http://localhost/x"}}, "", "sector_identifier"},
		"loopback":   {Application{RedirectURIs: []string{"http://127.0.0.1/x"}}, "", "sector_identifier"},
		"loopback 6": {Application{RedirectURIs: []string{"http://[::1]/x"}}, "", "sector_identifier"},
		"a scheme":   {Application{RedirectURIs: []string{"com.example:/x"}}, "", "sector_identifier"},
		"named": {Application{RedirectURIs: []string{a, b},
			SectorIdentifier: "Group.example"}, "group.example", ""},
		"an address": {Application{SectorIdentifier: "https://a.example"}, "https://a.example", "sector_identifier"},
		"a port":     {Application{SectorIdentifier: "a.example:443"}, "a.example:443", "sector_identifier"},
		"a document": {Application{RedirectURIs: []string{a, b},
			SectorIdentifierURI: "https://Group.example:8443/s.json"}, "group.example", ""},
		"another sector": {Application{SectorIdentifierURI: "https://a.example/", SectorIdentifier: "b.example"},
			"b.example", "sector_identifier"},
		"plain http": {Application{SectorIdentifierURI: "http://a.example/", SectorIdentifier: "a.example"},
			"a.example", "sector_identifier_uri"},
		"no name": {Application{SectorIdentifierURI: "https://[2606::1]/", SectorIdentifier: "a.example"},
			"a.example", "sector_identifier_uri"},
		"a machine": {Application{Type: Machine}, "", "subject_type"},
		"another type": {Application{SubjectType: "private", SectorIdentifier: "a.example"}, "a.example",
			"subject_type"},
	} {
		if c.app.SubjectType == "" {
			c.app.SubjectType = Pairwise
		}
		var wrong fault.Fields
		c.app.checkSubject(&wrong)
		f := fault.As(wrong.Err("x"))
		if (f == nil || len(f.Fields) == 0) != (c.wrong == "") || c.wrong != "" && f.Fields[0].Name != c.wrong ||
			c.app.SectorIdentifier != c.sector {
			t.Errorf("%s: %q %v", name, c.app.SectorIdentifier, f)
		}
	}
}
