package resourceserver

import (
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// TwoFactors is the class of sign-ins that an API may demand. It equals signin.TwoFactors, which
// stands above this package.
const TwoFactors = "aal2"

// Limits on the demand of an API, in seconds.
const (
	minAge = 60
	maxAge = 365 * 24 * 3600
)

// Demand is what APIs ask of the sign-in that a token comes from. The zero Demand asks nothing.
type Demand struct {
	TwoFactors bool
	MaxAge     *time.Duration // nil: any age
}

// DemandOf returns the strongest demand of some APIs. nil stands for the tenant itself, which has
// its own rules of signing in.
func DemandOf(apis ...*API) Demand {
	var d Demand
	for _, a := range apis {
		if a == nil {
			continue
		}
		d.TwoFactors = d.TwoFactors || a.ACR == TwoFactors
		if age := time.Duration(a.MaxAge) * time.Second; age > 0 && (d.MaxAge == nil || age < *d.MaxAge) {
			d.MaxAge = &age
		}
	}
	return d
}

// Meets reports whether a sign-in of a class and an age is enough.
func (d Demand) Meets(acr string, age time.Duration) bool {
	return (!d.TwoFactors || acr == TwoFactors) && (d.MaxAge == nil || age <= *d.MaxAge)
}

func (p *Profile) checkDemand(wrong *fault.Fields) {
	if p.ACR != "" && p.ACR != TwoFactors {
		wrong.Add("acr", "The acr must be %s, or empty.", TwoFactors)
	}
	if p.MaxAge != 0 && (p.MaxAge < minAge || p.MaxAge > maxAge) {
		wrong.Add("max_age_seconds", "This must be from %d to %d seconds, or 0 for any age.", minAge, maxAge)
	}
}
