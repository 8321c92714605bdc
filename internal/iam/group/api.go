package group

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// View is a group as the API shows it.
type View struct {
	ID          id.ID          `json:"id" format:"uuid"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Attributes  map[string]any `json:"attributes" doc:"The tenant's own fields; policies see them."`
	CreatedAt   time.Time      `json:"created_at"`
	UpdatedAt   time.Time      `json:"updated_at"`
}

func view(g Group) View { return View(g) }

// MemberView is a user in a group as the API shows it.
type MemberView struct {
	UserID  id.ID       `json:"user_id" format:"uuid"`
	Login   string      `json:"login" doc:"Email address, or the username of those who have none."`
	Name    string      `json:"name"`
	Status  user.Status `json:"status" enum:"invited,active,locked,deactivated"`
	AddedAt time.Time   `json:"added_at"`
}

func memberView(m Member) MemberView {
	return MemberView{UserID: m.User, Login: m.Login, Name: m.Name, Status: m.Status, AddedAt: m.AddedAt}
}

type listInput struct {
	api.Page
	Search string `query:"search" maxLength:"128" doc:"Only groups whose name begins with this, in any case."`
}

type createInput struct {
	Body struct {
		Name        string         `json:"name" minLength:"1" maxLength:"128" doc:"Unique in the tenant, whatever its case." example:"Finance"`
		Description string         `json:"description,omitempty" maxLength:"256"`
		Attributes  map[string]any `json:"attributes,omitempty" doc:"The tenant's own fields, up to 2 KB."`
	}
}

type patchInput struct {
	api.ByID
	Body struct {
		Name        *string         `json:"name,omitempty" minLength:"1" maxLength:"128" doc:"Policies that name the group must follow."`
		Description *string         `json:"description,omitempty" maxLength:"256"`
		Attributes  *map[string]any `json:"attributes,omitempty" doc:"Replaces all of them."`
	}
}

type pageInput struct {
	api.ByID
	api.Page
}

type addInput struct {
	api.ByID
	Body struct {
		UserID string `json:"user_id" format:"uuid" doc:"Who joins the group. You must hold what the group's roles give."`
	}
}

type memberInput struct {
	api.ByID
	User id.ID `path:"user" format:"uuid" doc:"The user's id."`
}

// Operations returns the management operations on groups and their members.
func Operations(roles Roles) []api.Operation {
	op := api.Tag("Groups").Op
	created := op("POST", "/groups", "create-group", "group.create", "Create a group")
	created.Status = 201
	listed := op("GET", "/groups", "list-groups", "group.read", "List groups",
		"Only the groups that you may see, in the order of their creation.")
	listed.Filtered = true
	return []api.Operation{
		api.Read(listed,
			func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[View], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := List(ctx, tx, req.Filter, in.Search, p)
				return page.Map(l, view), err
			}),
		api.Read(op("GET", "/groups/{id}", "get-group", "group.read", "Get a group"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				g, err := Get(ctx, tx, in.ID)
				return view(g), err
			}),
		api.Write(created, func(ctx context.Context, tx *db.Tx, _ api.Request, in *createInput) (View, error) {
			g, err := Create(ctx, tx, New(in.Body))
			return view(g), err
		}),
		api.Write(op("PATCH", "/groups/{id}", "update-group", "group.update", "Update a group"),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (View, error) {
				if in.Body == (patchInput{}).Body {
					return View{}, fault.New(fault.Invalid, "group.invalid",
						"The request changes nothing. Give at least one field.")
				}
				g, err := Update(ctx, tx, roles, req.Rights, in.ID, Patch(in.Body))
				return view(g), err
			}),
		api.Write(op("DELETE", "/groups/{id}", "delete-group", "group.delete", "Delete a group",
			"Its members stay."),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				return api.None{}, Delete(ctx, tx, roles, req.Rights, in.ID)
			}),
		api.Read(op("GET", "/groups/{id}/members", "list-group-members", "group.read", "List the members of a group"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *pageInput) (page.List[MemberView], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[MemberView]{}, err
				}
				l, err := Members(ctx, tx, in.ID, p)
				return page.Map(l, memberView), err
			}),
		api.Write(op("POST", "/groups/{id}/members", "add-group-member", "group.member", "Add a user to a group"),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *addInput) (api.None, error) {
				member, err := id.Parse(in.Body.UserID)
				if err != nil {
					return api.None{}, fault.InvalidField("group.invalid", "user_id", "This must be the id of a user.")
				}
				return api.None{}, AddMember(ctx, tx, roles, req.Rights, in.ID, member)
			}),
		api.Write(op("DELETE", "/groups/{id}/members/{user}", "remove-group-member", "group.member",
			"Remove a user from a group"),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *memberInput) (api.None, error) {
				return api.None{}, RemoveMember(ctx, tx, roles, req.Rights, in.ID, in.User)
			}),
		api.Read(op("GET", "/users/{id}/groups", "list-user-groups", "group.read", "List the groups of a user"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *pageInput) (page.List[View], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := OfUser(ctx, tx, in.ID, p)
				return page.Map(l, view), err
			}),
	}
}
