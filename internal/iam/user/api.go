package user

import (
	"cmp"
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// Roles are the rules on roles that the operations need; role.ForUsers returns them. by is what the
// caller of the operation may do. They fail with a Denied fault.
type Roles struct {
	Assign    func(ctx context.Context, tx *db.Tx, by api.Rights, user id.ID, name string) error
	MayManage func(ctx context.Context, tx *db.Tx, by api.Rights, user id.ID) error
	KeepOwner KeepOwner
	// Held returns the names of a user's groups, and of the user's own roles.
	Held func(ctx context.Context, tx *db.Tx, user id.ID) (groups, roles []string, err error)
}

// Passwords is what the operations need of iam/credential; credential.PasswordPreparer implements
// it.
type Passwords interface {
	// Prepare checks a password and hashes it, or checks an imported hash. It is slow. It returns
	// "" for neither.
	Prepare(ctx context.Context, c caller.Caller, password secret.String, hash string, not ...string) (phc string,
		err error)
	// Set stores what Prepare returned.
	Set(ctx context.Context, tx *db.Tx, user id.ID, phc string) error
}

// View is a user as the API shows it.
type View struct {
	ID id.ID `json:"id" format:"uuid" always:"true"`
	Profile
	Status     Status     `json:"status" enum:"invited,active,locked,deactivated" always:"true"`
	CreatedAt  time.Time  `json:"created_at" always:"true"`
	UpdatedAt  time.Time  `json:"updated_at" always:"true"`
	LastSignIn *time.Time `json:"last_sign_in,omitempty" version:"-" doc:"Absent when there was none."`
}

func view(u User) View {
	v := View{ID: u.ID, Profile: u.Profile, Status: u.Status, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt}
	if !u.LastSignIn.IsZero() {
		v.LastSignIn = &u.LastSignIn
	}
	return v
}

type listInput struct {
	api.Page
	Status string `query:"status" enum:"invited,active,locked,deactivated" doc:"Only users with this status."`
	Email  string `query:"email" maxLength:"254" doc:"Only the user with this email address, in any case."`
	Search string `query:"search" maxLength:"256" doc:"Only users one of whose names, email address or username begins with this."`
}

type createInput struct {
	Body api.Changes[createBody]
}

type createBody struct {
	Profile
	Status       Status        `json:"status" enum:"invited,active" doc:"Left out: active with a password, invited without one."`
	Password     secret.String `json:"password" limit:"1024" doc:"Eight characters or more, as the tenant's settings ask."`
	PasswordHash secret.String `json:"password_hash" limit:"512" doc:"Instead of password: a PHC string of argon2, bcrypt, scrypt or PBKDF2, or a hash as LDAP, Django, Firebase or ASP.NET Identity has it. It is replaced at the next sign-in."`
	Roles        []string      `json:"roles" maxItems:"50" doc:"Names of roles to give, each within what you may do yourself."`
}

// adder returns Create or Invite, as the status asks. The schema has checked the status before, but
// only this check is beside its use.
func (b createBody) adder(hasPassword bool) (func(context.Context, *db.Tx, Profile) (User, error), error) {
	switch {
	case b.Status == Invited, b.Status == "" && !hasPassword:
		return Invite, nil
	case b.Status == Active, b.Status == "":
		return Create, nil
	}
	var wrong fault.Fields
	wrong.Add("status", "A new user is invited or active.")
	return nil, wrong.Err("user.invalid")
}

type patchInput struct {
	api.ByID
	Body api.Changes[patchBody]
}

type patchBody struct {
	Profile
	Status Status `json:"status" enum:"active,locked,deactivated" doc:"From the moment it is not active, sessions and tokens of the user count no more."`
}

// Operations returns the management operations on users. ended ends what a new status ends.
func Operations(roles Roles, passwords Passwords,
	ended func(ctx context.Context, tx *db.Tx, user id.ID, status Status) error,
	deleted func(ctx context.Context, tx *db.Tx, user id.ID) error) []api.Operation {
	op := api.Tag("Users").Op
	add := op("POST", "/users", "create-user", "user.create", "Create a user")
	add.Status = 201
	held := func(ctx context.Context, tx *db.Tx, req api.Request, user id.ID) (View, error) {
		u, err := Hold(ctx, tx, user)
		return view(u), err
	}
	listed := op("GET", "/users", "list-users", "user.read", "List users",
		"Only the users that you may see, in the order of their creation.")
	listed.Filtered = true
	return []api.Operation{
		api.Read(listed, func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[View], error) {
			p, err := in.Request()
			if err != nil {
				return page.List[View]{}, err
			}
			l, err := List(ctx, tx, req.Filter, Filter{Status: Status(in.Status), Email: in.Email, Search: in.Search},
				p)
			return page.Map(l, view), err
		}),
		api.Read(op("GET", "/users/{id}", "get-user", "user.read", "Get a user"),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (View, error) {
				u, err := Get(ctx, tx, in.ID)
				return view(u), err
			}),
		api.WriteAfter(add, func(ctx context.Context, req api.Request, in *createInput) (string, error) {
			b := in.Body.Value()
			return passwords.Prepare(ctx, req.Caller, b.Password, b.PasswordHash.Reveal(), b.Email, b.Username,
				b.GivenName, b.FamilyName)
		}, func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput, phc string) (View, error) {
			b := in.Body.Value()
			add, err := b.adder(phc != "")
			if err != nil {
				return View{}, err
			}
			by, err := editorOf(ctx, tx, req, id.ID{})
			if err != nil {
				return View{}, err
			}
			if err := by.mayEdit(nil, b.Attributes); err != nil {
				return View{}, err
			}
			u, err := add(ctx, tx, b.Profile)
			if err != nil {
				return View{}, err
			}
			if phc != "" {
				if err := passwords.Set(ctx, tx, u.ID, phc); err != nil {
					return View{}, err
				}
			}
			for _, name := range b.Roles {
				if err := roles.Assign(ctx, tx, req.Rights, u.ID, name); err != nil {
					return View{}, err
				}
			}
			return view(u), nil
		}),
		api.Change(op("PATCH", "/users/{id}", "update-user", "user.update", "Update a user"),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (View, error) {
				return held(ctx, tx, req, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (View, error) {
				u, err := Get(ctx, tx, in.ID)
				if err != nil {
					return View{}, err
				}
				if err := roles.MayManage(ctx, tx, req.Rights, in.ID); err != nil {
					return View{}, err
				}
				by, err := editorOf(ctx, tx, req, in.ID)
				if err != nil {
					return View{}, err
				}
				b := in.Body.Value()
				var denied error
				edit := func(p *Profile) {
					now := patchBody{Profile: *p}
					in.Body.Apply(&now)
					denied = by.mayEdit(p.Attributes, now.Attributes)
					*p = now.Profile
				}
				move := in.Body.Has("status")
				switch {
				case in.Body.Len() == 0:
					return View{}, fault.New(fault.Invalid, "user.invalid",
						"The request changes nothing. Give at least one field.")
				case in.Body.Len() > 1 || !move:
					if u, err = Update(ctx, tx, in.ID, edit); err != nil || denied != nil {
						return View{}, cmp.Or(denied, err)
					}
				}
				if move {
					was := u.Status
					if u, err = SetStatus(ctx, tx, roles.KeepOwner, in.ID, b.Status); err != nil {
						return View{}, err
					}
					if u.Status != was {
						if err := ended(ctx, tx, u.ID, u.Status); err != nil {
							return View{}, err
						}
					}
				}
				return view(u), nil
			}),
		api.Change(op("DELETE", "/users/{id}", "delete-user", "user.delete", "Delete a user",
			"Deletes everything that exists only through the user, such as credentials and sessions."),
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (View, error) {
				return held(ctx, tx, req, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				if _, err := Get(ctx, tx, in.ID); err != nil {
					return api.None{}, err
				}
				if err := roles.MayManage(ctx, tx, req.Rights, in.ID); err != nil {
					return api.None{}, err
				}
				if err := deleted(ctx, tx, in.ID); err != nil {
					return api.None{}, err
				}
				return api.None{}, Delete(ctx, tx, roles, in.ID)
			}),
	}
}
