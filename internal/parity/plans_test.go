package parity

import (
	"slices"

	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
)

// ofOwnPolicies reports whether the principal of a plan has policies of its own. Cerbos' planner
// combines those wrongly, so our plan may differ. TestNoFilterShowsWhatACheckDenies compares it
// with checks.
func ofOwnPolicies(in *requestv1.PlanResourcesRequest) bool {
	return slices.Contains(principals[:4], in.GetPrincipal().GetId())
}

// narrower reports whether our filter shows none of the resources that Cerbos' filter hides. Cerbos
// takes has() for true, "in" an empty list for false, and knows no errors of strict evaluation.
func narrower(p *enginev1.Principal, theirs, ours *enginev1.PlanResourcesFilter, rows []*enginev1.Resource) bool {
	wide, err := newFilter(theirs)
	if err != nil {
		return false
	}
	narrow, err := newFilter(ours)
	return err == nil && !slices.ContainsFunc(rows, func(r *enginev1.Resource) bool {
		return narrow.shows(p, r) && !wide.shows(p, r)
	})
}
