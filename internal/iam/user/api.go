package user

import (
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

// Roles are the rules on roles that the operations need; role.ForUsers returns them. by is
// what the caller of the operation may do. They fail with a Denied fault.
type Roles struct {
	Give      func(ctx context.Context, tx *db.Tx, by api.Rights, user id.ID, name string) error
	MayManage func(ctx context.Context, tx *db.Tx, by api.Rights, user id.ID) error
}

// Passwords is what the operations need of iam/credential; credential.Intake is it.
type Passwords interface {
	// Prepare checks a password and hashes it, or checks an imported hash; it is slow.
	// With neither it returns "".
	Prepare(ctx context.Context, c caller.Caller, password secret.String, hash string, not ...string) (phc string, err error)
	// Set stores what Prepare returned.
	Set(ctx context.Context, tx *db.Tx, user id.ID, phc string) error
}

// View is a user as the API shows it.
type View struct {
	ID            id.ID          `json:"id" format:"uuid"`
	Email         string         `json:"email"`
	EmailVerified bool           `json:"email_verified"`
	Username      string         `json:"username"`
	Status        Status         `json:"status" enum:"invited,active,locked,deactivated"`
	GivenName     string         `json:"given_name"`
	FamilyName    string         `json:"family_name"`
	Locale        string         `json:"locale"`
	Attributes    map[string]any `json:"attributes" doc:"The tenant's own fields."`
	CreatedAt     time.Time      `json:"created_at"`
	UpdatedAt     time.Time      `json:"updated_at"`
	LastSignIn    *time.Time     `json:"last_sign_in,omitempty" doc:"Absent when there was none."`
}

func view(u User) View {
	v := View{
		ID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified, Username: u.Username, Status: u.Status,
		GivenName: u.GivenName, FamilyName: u.FamilyName, Locale: u.Locale, Attributes: u.Attributes,
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
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
	Body struct {
		Email         string         `json:"email,omitempty" maxLength:"254" doc:"Unique in the tenant. A user needs this or a username." example:"ada@example.com"`
		EmailVerified bool           `json:"email_verified,omitempty" doc:"Whether the user is known to receive mail there."`
		Username      string         `json:"username,omitempty" maxLength:"256" doc:"Unique in the tenant."`
		Status        string         `json:"status,omitempty" enum:"invited,active" doc:"Left out: active with a password, invited without one."`
		GivenName     string         `json:"given_name,omitempty" maxLength:"128"`
		FamilyName    string         `json:"family_name,omitempty" maxLength:"128"`
		Locale        string         `json:"locale,omitempty" maxLength:"35" doc:"BCP 47." example:"de-CH"`
		Attributes    map[string]any `json:"attributes,omitempty" doc:"The tenant's own fields, up to 8 KB."`
		Password      secret.String  `json:"password,omitempty" maxLength:"1024" doc:"Eight characters or more, as the tenant's settings ask."`
		PasswordHash  secret.String  `json:"password_hash,omitempty" maxLength:"512" doc:"Instead of password: a PHC string of argon2id, bcrypt, scrypt or PBKDF2, for users who bring theirs. It is replaced at the next sign-in."`
		Roles         []string       `json:"roles,omitempty" maxItems:"50" doc:"Names of roles to give, each within what you may do yourself."`
	}
}

type patchInput struct {
	api.ByID
	Body struct {
		Email         *string         `json:"email,omitempty" maxLength:"254" doc:"A changed address is unverified unless the same request says otherwise."`
		EmailVerified *bool           `json:"email_verified,omitempty"`
		Username      *string         `json:"username,omitempty" maxLength:"256"`
		Status        *string         `json:"status,omitempty" enum:"active,locked,deactivated" doc:"From the moment it is not active, sessions and tokens of the user count no more."`
		GivenName     *string         `json:"given_name,omitempty" maxLength:"128"`
		FamilyName    *string         `json:"family_name,omitempty" maxLength:"128"`
		Locale        *string         `json:"locale,omitempty" maxLength:"35"`
		Attributes    *map[string]any `json:"attributes,omitempty" doc:"Replaces all of them."`
	}
}

// Operations returns the management operations on users.
func Operations(roles Roles, passwords Passwords) []api.Operation {
	op := func(method, path, name, action, summary string) api.Op {
		return api.Op{Method: method, Path: path, ID: name, Action: action, Tag: "Users", Summary: summary}
	}
	add := op("POST", "/users", "create-user", "user.create", "Add a user")
	add.Status = 201
	listed := op("GET", "/users", "list-users", "user.read", "List the users that you may see, in the order they were made")
	listed.Filtered = true
	return []api.Operation{
		api.Read(listed, func(ctx context.Context, tx *db.Tx, req api.Request, in *listInput) (page.List[View], error) {
			p, err := in.Request()
			if err != nil {
				return page.List[View]{}, err
			}
			l, err := List(ctx, tx, req.Filter, Filter{Status: Status(in.Status), Email: in.Email, Search: in.Search}, p)
			return page.Map(l, view), err
		}),
		api.Read(op("GET", "/users/{id}", "get-user", "user.read", "Get a user"), func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
			u, err := Get(ctx, tx, in.ID)
			return view(u), err
		}),
		api.WriteAfter(add, func(ctx context.Context, req api.Request, in *createInput) (string, error) {
			b := &in.Body
			return passwords.Prepare(ctx, req.Caller, b.Password, b.PasswordHash.Reveal(), b.Email, b.Username, b.GivenName, b.FamilyName)
		}, func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput, phc string) (View, error) {
			b := &in.Body
			status := Status(b.Status)
			if status == "" && phc == "" {
				status = Invited
			}
			u, err := Create(ctx, tx, New{
				Email: b.Email, EmailVerified: b.EmailVerified, Username: b.Username, Status: status,
				GivenName: b.GivenName, FamilyName: b.FamilyName, Locale: b.Locale, Attributes: b.Attributes,
			})
			if err != nil {
				return View{}, err
			}
			if phc != "" {
				if err := passwords.Set(ctx, tx, u.ID, phc); err != nil {
					return View{}, err
				}
			}
			for _, name := range b.Roles {
				if err := roles.Give(ctx, tx, req.Rights, u.ID, name); err != nil {
					return View{}, err
				}
			}
			return view(u), nil
		}),
		api.Write(op("PATCH", "/users/{id}", "update-user", "user.update", "Change a user"), func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (View, error) {
			b := &in.Body
			u, err := Get(ctx, tx, in.ID)
			if err != nil {
				return View{}, err
			}
			if err := roles.MayManage(ctx, tx, req.Rights, in.ID); err != nil {
				return View{}, err
			}
			p := Patch{Email: b.Email, EmailVerified: b.EmailVerified, Username: b.Username, GivenName: b.GivenName, FamilyName: b.FamilyName, Locale: b.Locale, Attributes: b.Attributes}
			if p != (Patch{}) {
				if u, err = Update(ctx, tx, in.ID, p); err != nil {
					return View{}, err
				}
			} else if b.Status == nil {
				return View{}, fault.New(fault.Invalid, "user.invalid", "The request changes nothing. Give at least one field.")
			}
			if b.Status != nil {
				if u, err = SetStatus(ctx, tx, in.ID, Status(*b.Status)); err != nil {
					return View{}, err
				}
			}
			return view(u), nil
		}),
		api.Write(op("DELETE", "/users/{id}", "delete-user", "user.delete", "Delete a user and all that exists only through it"), func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
			if _, err := Get(ctx, tx, in.ID); err != nil {
				return api.None{}, err
			}
			if err := roles.MayManage(ctx, tx, req.Rights, in.ID); err != nil {
				return api.None{}, err
			}
			return api.None{}, Delete(ctx, tx, in.ID)
		}),
	}
}
