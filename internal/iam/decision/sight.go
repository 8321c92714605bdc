package decision

import (
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
)

// ofDirectory reports whether the record has values of the tenant's directory: of its people, or of
// the rights that they hold. Other principals are what an application said of them.
func (r *Record) ofDirectory() bool {
	return r.Mode == application.FromDirectory || r.Kind == SignIn || r.Kind == Admin
}

// hideFrom removes from a record what a reader with these rights could not read in the directory
// itself: attributes of people without user.read, their roles without role.read. It reports whether
// it removed values that policies read.
func (r *Record) hideFrom(reader api.Rights) bool {
	people, roles := reader.Allows("user.read"), reader.Allows("role.read")
	if !people && r.Actor.Kind == caller.User {
		r.Actor.Name = ""
	}
	if !r.ofDirectory() || people && roles {
		return false
	}
	r.Hidden = true
	principals := []*enginev1.Principal{r.PlanInput.GetPrincipal()}
	if r.PlanInput != nil && !people {
		r.PlanInput.AuxData = nil
	}
	for _, in := range r.Inputs {
		principals = append(principals, in.GetPrincipal())
		if !people {
			in.AuxData = nil
		}
	}
	for _, p := range principals {
		if p != nil && !people {
			p.Attr = nil
		}
		if p != nil && !roles {
			p.Roles = nil
		}
	}
	return true
}

// hideValues removes what the expressions read and gave. What remains says which rules counted.
func (x *Explained) hideValues() {
	for i := range x.Steps {
		s := &x.Steps[i]
		s.Values, s.Result, s.Message, s.Error = nil, nil, "", ""
	}
	x.Notes = append(x.Notes,
		"The values that the conditions read are hidden: to see people of the directory needs user.read and role.read.")
}
