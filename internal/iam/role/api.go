package role

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/iam/group"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// View is a role as the API shows it.
type View struct {
	Name        string     `json:"name" always:"true" doc:"Assignments refer to it. It cannot be changed."`
	Description string     `json:"description"`
	Builtin     bool       `json:"builtin" doc:"Built-in roles are the same in every tenant and cannot be changed."`
	Actions     []string   `json:"actions" doc:"What the role allows, sorted."`
	Limits      *Limits    `json:"limits,omitempty" doc:"What the role is limited to. Absent: it has no limit."`
	CreatedAt   *time.Time `json:"created_at,omitempty" always:"true" doc:"Absent for a built-in role."`
	UpdatedAt   *time.Time `json:"updated_at,omitempty" always:"true" doc:"Absent for a built-in role."`
}

func view(r Role) View {
	v := View{Name: r.Name, Description: r.Description, Builtin: r.Builtin,
		Actions: append([]string{}, slices.Sorted(slices.Values(r.Actions))...)}
	if !r.Limits.none() {
		v.Limits = &r.Limits
	}
	if !r.Builtin {
		v.CreatedAt, v.UpdatedAt = &r.CreatedAt, &r.UpdatedAt
	}
	return v
}

// AssignmentView is an Assignment as the API shows it.
type AssignmentView struct {
	Role      string     `json:"role"`
	Until     *time.Time `json:"until,omitempty" doc:"When the assignment ends. Absent: it does not."`
	GrantedAt time.Time  `json:"granted_at"`
}

func assignmentView(g Assignment) AssignmentView {
	v := AssignmentView{Role: g.Role, GrantedAt: g.GrantedAt}
	if !g.Until.IsZero() {
		v.Until = &g.Until
	}
	return v
}

// ByName is the input of an operation on one role.
type ByName struct {
	Name string `path:"name" maxLength:"63" doc:"The role's name."`
}

type createInput struct {
	Body struct {
		Name        string   `json:"name" minLength:"1" maxLength:"63" doc:"Lower-case letters, digits and hyphens, first a letter." example:"support"`
		Description string   `json:"description,omitempty" maxLength:"256"`
		Actions     []string `json:"actions" maxItems:"100" doc:"What the role allows here: only what you may do yourself. A role with none counts in the tenant's own policies." example:"[\"user.read\"]"`
		Limits      *Limits  `json:"limits,omitempty" doc:"What the role is limited to. Left out: it has no limit."`
	}
}

type patchInput struct {
	ByName
	Body struct {
		Description *string   `json:"description,omitempty" maxLength:"256"`
		Actions     *[]string `json:"actions,omitempty" maxItems:"100"`
		Limits      *Limits   `json:"limits,omitempty" doc:"Replaces all of them; {} for none."`
	}
}

type assignInput struct {
	api.ByID
	Body struct {
		Role  string     `json:"role" minLength:"1" maxLength:"63" doc:"The name of a role that you have, or any role within your own rights if you may update roles."`
		Until *time.Time `json:"until,omitempty" doc:"When the assignment ends. Leave it out for one without an end."`
	}
}

type revokeInput struct {
	api.ByID
	Role string `path:"role" maxLength:"63" doc:"The role's name."`
}

// Operations returns the management operations on roles and their grants.
// application returns the subject for an application, or a NotFound fault. target names an
// application in an audit event.
func Operations(application func(ctx context.Context, tx *db.Tx, application id.ID) (Subject, error),
	target func(application id.ID) audit.Target,
) []api.Operation {
	op := api.Tag("Roles").Op
	create := op("POST", "/roles", "create-role", "role.create", "Create a role")
	create.Status = 201
	ops := []api.Operation{
		api.Read(op("GET", "/roles", "list-roles", "role.read", "List roles",
			"The built-in roles come first."), list),
		api.Read(op("GET", "/roles/{name}", "get-role", "role.read", "Get a role"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *ByName) (View, error) {
				r, err := Get(ctx, tx, in.Name)
				return view(r), err
			}),
		api.Write(create, func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput) (View, error) {
			d := Definition{Name: in.Body.Name, Description: in.Body.Description, Actions: in.Body.Actions}
			if in.Body.Limits != nil {
				d.Limits = *in.Body.Limits
			}
			if err := d.Limits.exist(ctx, tx, application); err != nil {
				return View{}, err
			}
			r, err := Create(ctx, tx, Of(req.Rights), d)
			return view(r), err
		}),
		api.Change(op("PATCH", "/roles/{name}", "update-role", "role.update", "Update a custom role"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *patchInput) (View, error) {
				r, err := lock(ctx, tx, in.Name)
				return view(r), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (View, error) {
				p := Patch{Description: in.Body.Description, Limits: in.Body.Limits}
				if in.Body.Actions != nil {
					p.Actions = append([]string{}, *in.Body.Actions...)
				}
				if p.Limits != nil {
					if err := p.Limits.exist(ctx, tx, application); err != nil {
						return View{}, err
					}
				}
				r, err := Update(ctx, tx, Of(req.Rights), in.Name, p)
				return view(r), err
			}),
		api.Change(op("DELETE", "/roles/{name}", "delete-role", "role.delete", "Delete a custom role",
			"Its assignments end with it."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *ByName) (View, error) {
				r, err := lock(ctx, tx, in.Name)
				return view(r), err
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *ByName) (api.None, error) {
				return api.None{}, Delete(ctx, tx, Of(req.Rights), in.Name, target)
			}),
	}
	ops = append(ops, grants("user", "/users/{id}/roles",
		func(ctx context.Context, tx *db.Tx, u id.ID) (Subject, error) {
			_, err := user.Get(ctx, tx, u)
			return OfUser(u), err
		})...)
	ops = append(ops, grants("group", "/groups/{id}/roles",
		func(ctx context.Context, tx *db.Tx, g id.ID) (Subject, error) {
			_, err := group.Get(ctx, tx, g)
			return OfGroup(g), err
		})...)
	return append(ops, grants("application", "/applications/{id}/roles",
		func(ctx context.Context, tx *db.Tx, a id.ID) (Subject, error) {
			return application(ctx, tx, a)
		})...)
}

func list(ctx context.Context, tx *db.Tx, _ api.Request, in *api.Page) (page.List[View], error) {
	p, err := in.Request()
	if err != nil {
		return page.List[View]{}, err
	}
	all, err := List(ctx, tx)
	if err != nil {
		return page.List[View]{}, err
	}
	// Built-in roles have no ids; these stand for their places in a cursor, before any made one.
	for i := range len(builtins) {
		all[i].ID = id.ID{15: byte(i + 1)}
	}
	all = slices.DeleteFunc(all, func(r Role) bool { return slices.Compare(r.ID[:], p.After[:]) <= 0 })
	return page.Map(page.Of(p, all[:min(len(all), p.Fetch())], func(r Role) id.ID { return r.ID }), view), nil
}

// grants are the operations on the grants of one sort of subject; find fails with
// a NotFound fault when it is not there.
func grants(noun, path string, find func(ctx context.Context, tx *db.Tx, i id.ID) (Subject, error)) []api.Operation {
	description := "Assigning it again changes its end. An earlier end needs the action role.revoke too."
	if noun == "application" {
		description += " A machine application may do what its roles allow. A token that a user gives to another " +
			"application may do what both the user's and the application's roles allow."
	}
	return []api.Operation{
		api.Read(api.Op{Method: "GET", Path: path, ID: "list-" + noun + "-roles", Action: "role.read", Tag: "Roles",
			Summary:     "List the roles of a" + article(noun),
			Description: "At most fifty, all on one page."},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (page.List[AssignmentView], error) {
				s, err := find(ctx, tx, in.ID)
				if err != nil {
					return page.List[AssignmentView]{}, err
				}
				all, err := AssignmentsOf(ctx, tx, s)
				return page.Map(page.List[Assignment]{Items: all}, assignmentView), err
			}),
		api.Write(api.Op{Method: "POST", Path: path, ID: "grant-" + noun + "-role", Action: "role.grant",
			Reads: "role.grant", Tag: "Roles",
			Summary:     "Assign a role to a" + article(noun),
			Description: description, Status: 201},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *assignInput) (AssignmentView, error) {
				s, err := find(ctx, tx, in.ID)
				if err != nil {
					return AssignmentView{}, err
				}
				g := Assignment{Role: in.Body.Role, GrantedAt: tx.Now()}
				if in.Body.Until != nil {
					g.Until = in.Body.Until.UTC().Truncate(time.Microsecond)
				}
				if err := Assign(ctx, tx, Of(req.Rights), s, g.Role, g.Until); err != nil {
					return AssignmentView{}, unknownRole(err, "role")
				}
				return assignmentView(g), nil
			}),
		api.Write(api.Op{Method: "DELETE", Path: path + "/{role}", ID: "revoke-" + noun + "-role",
			Action: "role.revoke", Tag: "Roles", Summary: "Revoke a role from a" + article(noun)},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *revokeInput) (api.None, error) {
				s, err := find(ctx, tx, in.ID)
				if err != nil {
					return api.None{}, err
				}
				return api.None{}, Revoke(ctx, tx, Of(req.Rights), s, in.Role)
			}),
	}
}

func article(noun string) string {
	if noun == "application" {
		return "n " + noun
	}
	return " " + noun
}

// unknownRole turns a role that is not there into a wrong field: the thing the
// request is about does exist.
func unknownRole(err error, field string) error {
	if errors.Is(err, ErrNotFound) {
		return fault.InvalidField("role.invalid", field, "There is no role with this name. GET roles lists them.")
	}
	return err
}

// Of returns the rights of a request as a Set: the empty one when they are not a Set.
func Of(rights api.Rights) Set {
	s, _ := rights.(Set)
	return s
}

// ForUsers returns the rules on roles that the operations of iam/user need.
func ForUsers() user.Roles {
	return user.Roles{
		// A user who is being created gets a role without an end.
		Assign: func(ctx context.Context, tx *db.Tx, by api.Rights, u id.ID, name string) error {
			r, err := Choose(ctx, tx, Of(by), name)
			if err != nil {
				return err
			}
			return assign(ctx, tx, Of(by), OfUser(u), r, time.Time{})
		},
		MayManage: func(ctx context.Context, tx *db.Tx, by api.Rights, u id.ID) error {
			return MayManage(ctx, tx, Of(by), OfUser(u))
		},
		KeepOwner: KeepOwner,
		Held: func(ctx context.Context, tx *db.Tx, u id.ID) ([]string, []string, error) {
			groups, err := db.List(ctx, tx, db.Column[string], `SELECT g.name FROM group_members m
				JOIN groups g ON g.tenant_id = $1 AND g.id = m.group_id
				WHERE m.tenant_id = $1 AND m.user_id = $2 ORDER BY g.name`, u)
			if err != nil {
				return nil, nil, err
			}
			roles, err := NamesOf(ctx, tx, OfUser(u))
			return groups, roles, err
		},
	}
}

// ForGroups returns the rules on roles that the operations of iam/group need.
func ForGroups() group.Roles {
	return group.Roles{
		MayFill: func(ctx context.Context, tx *db.Tx, by api.Rights, g id.ID) error {
			return mayAssignAll(ctx, tx, Of(by), g, "role.grant")
		},
		MayEmpty: func(ctx context.Context, tx *db.Tx, by api.Rights, g id.ID) error {
			return mayAssignAll(ctx, tx, Of(by), g, "role.revoke")
		},
		MayRename: func(ctx context.Context, tx *db.Tx, by api.Rights, g id.ID) error {
			return MayManage(ctx, tx, Of(by), OfGroup(g))
		},
		KeepOwner: KeepOwner,
		Of: func(ctx context.Context, tx *db.Tx, g id.ID) ([]string, error) {
			return NamesOf(ctx, tx, OfGroup(g))
		},
	}
}
