package parity

//lint:file-ignore SA1019 What Cerbos has marked as deprecated is still sent and read by its clients.

import (
	"cmp"
	"slices"
	"testing"

	effectv1 "github.com/cerbos/cerbos/api/genpb/cerbos/effect/v1"
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
	responsev1 "github.com/cerbos/cerbos/api/genpb/cerbos/response/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/engine"
)

// ofOwnPolicies reports whether the principal of a plan has policies of its own. Cerbos' planner
// combines those wrongly, so our plan may differ. TestNoFilterShowsWhatACheckDenies compares it
// with checks.
func ofOwnPolicies(in *requestv1.PlanResourcesRequest) bool {
	return slices.Contains(principals[:4], in.GetPrincipal().GetId())
}

// ofTwoVersions reports whether the principal of a request has policies of their own, and names
// another version than a resource. Cerbos then takes the policies of the resource's version, so the
// answers differ.
func (c *comparison) ofTwoVersions(p *enginev1.Principal, resources ...string) bool {
	return p.GetPolicyVersion() != "" && slices.Contains(principals[:4], p.GetId()) &&
		slices.ContainsFunc(resources, func(version string) bool {
			return cmp.Or(version, c.w.settings.DefaultVersion, "default") != p.GetPolicyVersion()
		})
}

// sound reports whether Cerbos' own checks allow each resource that our filter shows and Cerbos'
// filter hides. Cerbos takes has() for true, "in" an empty list for false, and arithmetic of a
// double and an int for possible. It knows no errors of strict evaluation. There our filters show
// less. Cerbos loses a has() that is true within an "or", or panics. There ours may show more.
func (c *comparison) sound(t *testing.T, in *requestv1.PlanResourcesRequest, theirs,
	ours *enginev1.PlanResourcesFilter, rows []*enginev1.Resource) bool {
	wide, err := newFilter(theirs)
	if err != nil {
		return false
	}
	narrow, err := newFilter(ours)
	if err != nil {
		return false
	}
	check := &requestv1.CheckResourcesRequest{RequestId: in.GetRequestId(), Principal: in.GetPrincipal(),
		AuxData: in.GetAuxData()}
	actions := in.GetActions()
	if len(actions) == 0 {
		actions = []string{in.GetAction()}
	}
	for _, r := range rows {
		if narrow.shows(in.GetPrincipal(), r) && !wide.shows(in.GetPrincipal(), r) {
			check.Resources = append(check.Resources, &requestv1.CheckResourcesRequest_ResourceEntry{Actions: actions,
				Resource: r})
		}
	}
	if len(check.Resources) == 0 {
		return true
	}
	out, err := c.theirs.check(t.Context(), check)
	return err == nil && !slices.ContainsFunc(out.GetResults(), func(
		r *responsev1.CheckResourcesResponse_ResultEntry) bool {
		if c.w.settings.SchemaEnforcement == engine.SchemaReject && len(r.GetValidationErrors()) > 0 {
			return false // no filter follows a schema
		}
		for _, effect := range r.GetActions() {
			if effect != effectv1.Effect_EFFECT_ALLOW {
				return true
			}
		}
		return false
	})
}
