package application

import (
	"net"
	"net/url"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// SubjectType is what an application is told as a user's sub (OpenID Connect Core §8).
type SubjectType string

// The subject types.
const (
	Public   SubjectType = "public"   // the user's id, the same for every application
	Pairwise SubjectType = "pairwise" // another text for each sector: see iam/subject
)

// maxHost is the length of a host name (RFC 1035 §2.3.4).
const maxHost = 253

// checkSubject adds what is wrong with the subject type. An application that becomes pairwise keeps
// its sector when its redirect URIs change, because the subs would change with it.
func (a *Application) checkSubject(wrong *fault.Fields) {
	a.SectorIdentifier = strings.ToLower(a.SectorIdentifier)
	if s := a.SectorIdentifier; s != "" && !validHost(s) {
		wrong.Add("sector_identifier", "A sector is the name of a host, such as example.com.")
	}
	a.checkSectorURI(wrong)
	switch {
	case a.SubjectType != Public && a.SubjectType != Pairwise:
		wrong.Add("subject_type", "The subject type must be public or pairwise.")
	case a.SubjectType == Pairwise && a.Type == Machine:
		wrong.Add("subject_type", "A machine application is public, because users do not sign in to it.")
	case a.SubjectType == Pairwise && a.SectorIdentifier == "":
		if a.SectorIdentifier = hostOf(a.RedirectURIs); a.SectorIdentifier == "" {
			wrong.Add("sector_identifier", "The redirect URIs have no host in common that is a name of the internet. "+
				"Set sector_identifier_uri, or name the host for which the users' subs shall be the same.")
		}
	}
}

// hostOf returns the one host of some addresses. It returns "" if there are several, or if it
// belongs to no one: on a device every application is at localhost.
func hostOf(uris []string) string {
	host := ""
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil {
			return ""
		}
		of := strings.ToLower(u.Hostname())
		ip := net.ParseIP(of)
		if of == "" || of == localhost || ip != nil && ip.IsLoopback() || !validHost(of) || host != "" && of != host {
			return ""
		}
		host = of
	}
	return host
}

func validHost(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
		}) {
			return false
		}
	}
	return len(s) <= maxHost
}

// changedSubjects is the warning of a change after which the application is told other subs.
func changedSubjects(before, after *Application) []Warning {
	if before.SubjectType == after.SubjectType &&
		(after.SubjectType == Public || before.SectorIdentifier == after.SectorIdentifier) {
		return nil
	}
	return []Warning{{Name: "subject_type", Code: "application.subjects_changed", Reason: "From now on the " +
		"application is told another sub of each user. It takes its users for new ones unless it maps them itself."}}
}
