package tenant

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Status says whether a tenant answers requests.
type Status string

// The statuses.
const (
	Active    Status = "active"
	Suspended Status = "suspended" // no user signs in and no token counts, until it is resumed
	Deleting  Status = "deleting"  // being deleted, which cannot be undone
)

// PlatformSlug is the slug of the built-in tenant whose users operate the deployment.
const PlatformSlug = "platform"

// Tenant is one tenant. A value from a Directory is shared: do not change it.
type Tenant struct {
	ID        id.ID
	Slug      string
	Name      string
	Status    Status
	Domains   []string // its own domains, sorted
	Settings  Settings
	Limits    Limits
	Version   int64 // of its configuration; grows with each change that replicas must see
	CreatedAt time.Time
	UpdatedAt time.Time

	// SignedOutAt is when everybody was signed out, or zero. Sessions and grants from that moment
	// or before do not count.
	SignedOutAt time.Time
}

func (t *Tenant) target() audit.Target {
	return audit.Target{Kind: "tenant", ID: t.ID.String(), Name: t.Slug}
}

// Faults of this package.
var (
	ErrNotFound  = fault.New(fault.NotFound, "tenant.not_found", "There is no such tenant.")
	ErrSuspended = fault.New(fault.Denied, "tenant.suspended", "This tenant is suspended. Ask its operator.")
	ErrSlugTaken = &fault.Fault{Kind: fault.Conflict, Code: "tenant.slug_taken",
		Reason: "Another tenant has this slug. Choose another.",
		Fields: []fault.Field{{Name: "slug", Reason: "Another tenant has this slug."}}}
	ErrDomainTaken = fault.New(fault.Conflict, "tenant.domain_taken", "Another tenant has this domain.")
	ErrPlatform    = fault.New(fault.Conflict, "tenant.platform",
		"The platform tenant can be neither suspended nor deleted.")
	ErrDeleting = fault.New(fault.Conflict, "tenant.deleting",
		"This tenant is being deleted. It can no longer be changed.")
	errChanged = fault.New(fault.Conflict, "tenant.changed",
		"This tenant was changed at the same moment. Read it again and repeat your change.")
)

const (
	maxName    = 100 // code points
	maxDomains = 20
)

// ValidSlug reports whether s has the form of a slug: 1 to 63 lower-case letters, digits and inner
// hyphens, as a label of a host name. Every request calls it.
func ValidSlug(s string) bool {
	if len(s) < 1 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// checkName trims a name and notes what is wrong with it.
func checkName(name *string, wrong *fault.Fields) {
	*name = strings.TrimSpace(*name)
	switch {
	case *name == "":
		wrong.Add("name", "A tenant needs a name. People see it when they sign in.")
	case !utf8.ValidString(*name) || utf8.RuneCountInString(*name) > maxName ||
		strings.ContainsFunc(*name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		wrong.Add("name", "A name has at most %d characters and no line breaks.", maxName)
	}
}

// validDomain reports whether s is a host name with at least two labels, in lower case.
func validDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(s) > 253 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if !ValidSlug(l) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.ContainsFunc(last, func(r rune) bool { return r >= 'a' }) // not an IPv4 address
}
