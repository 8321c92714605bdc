package application

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/outbound"
)

// Sector is what a sector_identifier_uri answered (OpenID Connect Core §8.1). The zero Sector is
// that of an application without one.
type Sector struct {
	URI   string
	Lists []string // redirect URIs
}

// checkSectorURI adds what is wrong with the address of a sector's document. Its host is the
// sector.
func (a *Application) checkSectorURI(wrong *fault.Fields) {
	if a.SectorIdentifierURI == "" {
		return
	}
	if err := outbound.CheckURL(a.SectorIdentifierURI); err != nil {
		wrong.Add("sector_identifier_uri", "%s", fault.As(err).Reason)
		return
	}
	u, _ := url.Parse(a.SectorIdentifierURI) // CheckURL has parsed it
	host := strings.ToLower(u.Hostname())
	switch {
	case !validHost(host):
		wrong.Add("sector_identifier_uri", "The host of this address is the sector, so it must be a name such as "+
			"example.com.")
	case a.SectorIdentifier == "":
		a.SectorIdentifier = host
	case a.SectorIdentifier != host:
		wrong.Add("sector_identifier", "The sector is %s, the host of sector_identifier_uri. Leave this out.", host)
	}
}

// ownsSector reports whether the sector follows from the addresses that get the subs. Each is at
// the host of the sector, or in its document. Otherwise the application could learn the subs of
// another one's users. On a device they go to no host.
func (a *Application) ownsSector() bool {
	if a.SubjectType != Pairwise {
		return true
	}
	if a.DeviceAuthorization {
		return false
	}
	if a.SectorIdentifierURI != "" {
		return !slices.ContainsFunc(a.RedirectURIs, func(uri string) bool { return hostOf([]string{uri}) == "" })
	}
	return a.SectorIdentifier == "" || strings.EqualFold(a.SectorIdentifier, hostOf(a.RedirectURIs))
}

// namesOtherURIs reports whether the document of the sector must be read again after a change.
func (a *Application) namesOtherURIs(before *Application) bool {
	return a.SectorIdentifierURI != before.SectorIdentifierURI || !slices.Equal(a.RedirectURIs, before.RedirectURIs)
}

// shows fails with a fault that names the redirect URIs which the sector's document does not list.
// It fails with errChanged if the document of another address was read.
func (s Sector) shows(a *Application) error {
	if s.URI != a.SectorIdentifierURI {
		return errChanged
	}
	var wrong fault.Fields
	for i, uri := range a.RedirectURIs {
		if s.URI != "" && !slices.Contains(s.Lists, uri) {
			wrong.Add(fmt.Sprintf("redirect_uris[%d]", i), "The document at sector_identifier_uri does not list this "+
				"address. Add it there first.")
		}
	}
	return wrong.Err("application.invalid")
}
