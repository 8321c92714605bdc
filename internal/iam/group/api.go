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

// MemberView is a user in a group as the API shows it.
type MemberView struct {
	UserID  id.ID       `json:"user_id" format:"uuid"`
	Login   string      `json:"login,omitempty" doc:"Email address, or the username of those who have none. Absent without the action user.read, as are name and status."`
	Name    string      `json:"name,omitempty"`
	Status  user.Status `json:"status,omitempty" enum:"invited,active,locked,deactivated"`
	AddedAt time.Time   `json:"added_at"`
}

// memberView shows a reader no more of a member than the reader may see of users.
func memberView(reader api.Rights) func(Member) MemberView {
	return func(m Member) MemberView {
		if !reader.Allows("user.read") {
			return MemberView{UserID: m.User, AddedAt: m.AddedAt}
		}
		return MemberView{UserID: m.User, Login: m.Login, Name: m.Name, Status: m.Status, AddedAt: m.AddedAt}
	}
}

type listInput struct {
	api.Page
	Search string `query:"search" maxLength:"128" doc:"Only groups whose name begins with this, in any case."`
}

type createInput struct {
	Body api.Changes[createBody]
}

type createBody struct{ Profile }

type patchInput struct {
	api.ByID
	Body api.Changes[patchBody]
}

type patchBody struct{ Profile }

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
			func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[Group], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[Group]{}, err
				}
				return List(ctx, tx, req.Filter, in.Search, p)
			}),
		api.Read(op("GET", "/groups/{id}", "get-group", "group.read", "Get a group"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (Group, error) {
				return Get(ctx, tx, in.ID)
			}),
		api.Write(created, func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput) (Group, error) {
			if len(in.Body.Value().Attributes) > 0 {
				if err := req.Require("group.attributes"); err != nil {
					return Group{}, err
				}
			}
			return Create(ctx, tx, in.Body.Value().Profile)
		}),
		api.Change(op("PATCH", "/groups/{id}", "update-group", "group.update", "Update a group"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *patchInput) (Group, error) {
				return Hold(ctx, tx, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (Group, error) {
				if in.Body.Len() == 0 {
					return Group{}, fault.New(fault.Invalid, "group.invalid",
						"The request changes nothing. Give at least one field.")
				}
				return Update(ctx, tx, roles, req.Rights, in.ID, func(p *Profile) {
					now := patchBody{*p}
					in.Body.Apply(&now)
					*p = now.Profile
				})
			}),
		api.Change(op("DELETE", "/groups/{id}", "delete-group", "group.delete", "Delete a group",
			"Its members stay."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (Group, error) {
				return Hold(ctx, tx, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				return api.None{}, Delete(ctx, tx, roles, req.Rights, in.ID)
			}),
		api.Read(op("GET", "/groups/{id}/members", "list-group-members", "group.read", "List the members of a group"),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *pageInput) (page.List[MemberView], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[MemberView]{}, err
				}
				l, err := Members(ctx, tx, in.ID, p)
				return page.Map(l, memberView(req.Rights)), err
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
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *pageInput) (page.List[Group], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[Group]{}, err
				}
				return OfUser(ctx, tx, in.ID, p)
			}),
	}
}
