package wire

//lint:file-ignore SA1019 Clients still send what Cerbos has deprecated.

import (
	enginev1 "github.com/cerbos/cerbos/api/genpb/cerbos/engine/v1"
	requestv1 "github.com/cerbos/cerbos/api/genpb/cerbos/request/v1"
)

func readCheckResources(r *reader, m *requestv1.CheckResourcesRequest) {
	var seen uint
	r.object(func(name string) {
		switch name {
		case "requestId", "request_id":
			r.once(&seen, 0)
			m.RequestId = r.str()
		case "includeMeta", "include_meta":
			r.once(&seen, 1)
			m.IncludeMeta = r.boolean()
		case "principal":
			r.once(&seen, 2)
			m.Principal = r.principal()
		case "resources":
			r.once(&seen, 3)
			r.list(func() { m.Resources = append(m.Resources, r.resourceEntry()) })
		case "auxData", "aux_data":
			r.once(&seen, 4)
			m.AuxData = r.auxData()
		default:
			r.fallBack()
		}
	})
}

func readPlanResources(r *reader, m *requestv1.PlanResourcesRequest) {
	var seen uint
	r.object(func(name string) {
		switch name {
		case "requestId", "request_id":
			r.once(&seen, 0)
			m.RequestId = r.str()
		case "includeMeta", "include_meta":
			r.once(&seen, 1)
			m.IncludeMeta = r.boolean()
		case "principal":
			r.once(&seen, 2)
			m.Principal = r.principal()
		case "resource":
			r.once(&seen, 3)
			m.Resource = r.planResource()
		case "auxData", "aux_data":
			r.once(&seen, 4)
			m.AuxData = r.auxData()
		case "action":
			r.once(&seen, 5)
			m.Action = r.str() //nolint:staticcheck // still served
		case "actions":
			r.once(&seen, 6)
			r.list(func() { m.Actions = append(m.Actions, r.str()) })
		default:
			r.fallBack()
		}
	})
}

func (r *reader) principal() *enginev1.Principal {
	var seen uint
	p := &enginev1.Principal{}
	r.object(func(name string) {
		switch name {
		case "id":
			r.once(&seen, 0)
			p.Id = r.str()
		case "policyVersion", "policy_version":
			r.once(&seen, 1)
			p.PolicyVersion = r.str()
		case "roles":
			r.once(&seen, 2)
			r.list(func() { p.Roles = append(p.Roles, r.str()) })
		case "attr":
			r.once(&seen, 3)
			p.Attr = r.attributes()
		case "scope":
			r.once(&seen, 4)
			p.Scope = r.str()
		default:
			r.fallBack()
		}
	})
	return p
}

func (r *reader) resourceEntry() *requestv1.CheckResourcesRequest_ResourceEntry {
	var seen uint
	e := &requestv1.CheckResourcesRequest_ResourceEntry{}
	r.object(func(name string) {
		switch name {
		case "actions":
			r.once(&seen, 0)
			r.list(func() { e.Actions = append(e.Actions, r.str()) })
		case "resource":
			r.once(&seen, 1)
			e.Resource = r.resource()
		default:
			r.fallBack()
		}
	})
	return e
}

func (r *reader) resource() *enginev1.Resource {
	var seen uint
	out := &enginev1.Resource{}
	r.object(func(name string) {
		switch name {
		case "kind":
			r.once(&seen, 0)
			out.Kind = r.str()
		case "policyVersion", "policy_version":
			r.once(&seen, 1)
			out.PolicyVersion = r.str()
		case "id":
			r.once(&seen, 2)
			out.Id = r.str()
		case "attr":
			r.once(&seen, 3)
			out.Attr = r.attributes()
		case "scope":
			r.once(&seen, 4)
			out.Scope = r.str()
		default:
			r.fallBack()
		}
	})
	return out
}

func (r *reader) planResource() *enginev1.PlanResourcesInput_Resource {
	var seen uint
	out := &enginev1.PlanResourcesInput_Resource{}
	r.object(func(name string) {
		switch name {
		case "kind":
			r.once(&seen, 0)
			out.Kind = r.str()
		case "policyVersion", "policy_version":
			r.once(&seen, 1)
			out.PolicyVersion = r.str()
		case "attr":
			r.once(&seen, 2)
			out.Attr = r.attributes()
		case "scope":
			r.once(&seen, 3)
			out.Scope = r.str()
		default:
			r.fallBack()
		}
	})
	return out
}

func (r *reader) auxData() *requestv1.AuxData {
	var seen uint
	a := &requestv1.AuxData{}
	r.object(func(name string) {
		if name != "jwt" {
			r.fallBack()
		}
		r.once(&seen, 0)
		a.Jwt = &requestv1.AuxData_JWT{}
		var inner uint
		r.object(func(name string) {
			switch name {
			case "token":
				r.once(&inner, 0)
				a.Jwt.Token = r.str()
			case "keySetId", "key_set_id":
				r.once(&inner, 1)
				a.Jwt.KeySetId = r.str()
			default:
				r.fallBack()
			}
		})
	})
	return a
}
