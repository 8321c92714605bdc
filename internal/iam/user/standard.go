package user

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

const (
	maxAddress = 512 // characters of a page's address
	maxZone    = 64
)

// zoneRE matches the names of the IANA time zone database. They are not looked up: applications
// know newer versions of it, and older ones.
var zoneRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}$`)

// normaliseClaims cleans the fields that have rules of OpenID Connect Core §5.1.
func (p *Profile) normaliseClaims(wrong *fault.Fields) {
	for _, f := range []struct {
		name  string
		value *string
	}{{"profile", &p.Page}, {"picture", &p.Picture}, {"website", &p.Website}} {
		text, ok := cleanLine(*f.value, maxAddress)
		if *f.value = text; !ok || text != "" && !pageAddress(text) {
			wrong.Add(f.name, "Use the address of a page, such as https://example.com, of at most %d characters.",
				maxAddress)
		}
	}
	if p.Birthdate = strings.TrimSpace(p.Birthdate); p.Birthdate != "" && !birthdate(p.Birthdate) {
		wrong.Add("birthdate", "Write the date like 1815-12-10, like 1815, or like 0000-12-10 without the year.")
	}
	if p.Zoneinfo = strings.TrimSpace(p.Zoneinfo); p.Zoneinfo != "" &&
		(len(p.Zoneinfo) > maxZone || !zoneRE.MatchString(p.Zoneinfo)) {
		wrong.Add("zoneinfo", "This is not a time zone. Write it like Europe/Zurich.")
	}
}

// pageAddress reports whether s is the address of a page. A browser that follows it runs no script.
func pageAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// birthdate reports whether s has a form of the claim birthdate.
func birthdate(s string) bool {
	if rest, ok := strings.CutPrefix(s, "0000-"); ok {
		s = "2000-" + rest // a leap year
	}
	for _, form := range []string{time.DateOnly, "2006"} {
		if _, err := time.Parse(form, s); err == nil {
			return s != "0000"
		}
	}
	return false
}
