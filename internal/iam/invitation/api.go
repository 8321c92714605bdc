package invitation

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Deps are what the operations need besides a transaction.
type Deps struct {
	Tenants interface {
		ByID(ctx context.Context, tenant id.ID) (*tenant.Tenant, error)
	}
	Mail Mail
}

// InviterView says who invited.
type InviterView struct {
	Kind     string `json:"kind" enum:"user,application,system"`
	ID       *id.ID `json:"id,omitempty" format:"uuid"`
	TenantID *id.ID `json:"tenant_id,omitempty" format:"uuid" doc:"The inviter's own tenant: the platform, if one of its operators invited."`
	Name     string `json:"name,omitempty" doc:"The login of a user, or the name of an application, at that time."`
}

// View is an invitation as the API shows it.
type View struct {
	ID          id.ID       `json:"id" format:"uuid" always:"true"`
	Email       string      `json:"email"`
	GivenName   string      `json:"given_name"`
	FamilyName  string      `json:"family_name"`
	Locale      string      `json:"locale"`
	Roles       []string    `json:"roles"`
	Groups      []id.ID     `json:"groups"`
	Status      Status      `json:"status" enum:"pending,accepted,withdrawn,expired" always:"true"`
	InvitedBy   InviterView `json:"invited_by"`
	CreatedAt   time.Time   `json:"created_at"`
	ExpiresAt   time.Time   `json:"expires_at" always:"true" doc:"When the link ends."`
	AcceptedAt  *time.Time  `json:"accepted_at,omitempty"`
	WithdrawnAt *time.Time  `json:"withdrawn_at,omitempty" doc:"When it was withdrawn, or replaced by the next invitation of the address."`
	UserID      *id.ID      `json:"user_id,omitempty" format:"uuid" doc:"The user that the invited person became."`
}

func view(i Invitation, now time.Time) View {
	v := View{ID: i.ID, Email: i.Email, GivenName: i.GivenName, FamilyName: i.FamilyName, Locale: i.Locale,
		Roles: i.RoleNames(), Groups: i.Groups, Status: i.StatusAt(now),
		InvitedBy: InviterView{Kind: string(i.By.Kind), Name: i.By.Name}, CreatedAt: i.CreatedAt,
		ExpiresAt: i.ExpiresAt}
	if !i.By.ID.IsZero() {
		v.InvitedBy.ID, v.InvitedBy.TenantID = &i.By.ID, &i.By.Tenant
	}
	if !i.AcceptedAt.IsZero() {
		v.AcceptedAt = &i.AcceptedAt
	}
	if !i.WithdrawnAt.IsZero() {
		v.WithdrawnAt = &i.WithdrawnAt
	}
	if !i.User.IsZero() {
		v.UserID = &i.User
	}
	return v
}

// MadeInvitation is the answer to a caller who made a link.
type MadeInvitation struct {
	ID        id.ID     `json:"id" format:"uuid"`
	Status    Status    `json:"status" enum:"pending,accepted,withdrawn,expired"`
	ExpiresAt time.Time `json:"expires_at"`
	Link      string    `json:"link,omitempty" doc:"Only with send false, and only in this answer. It works once."`
}

func made(i Invitation, link string, send bool, now time.Time) MadeInvitation {
	m := MadeInvitation{ID: i.ID, Status: i.StatusAt(now), ExpiresAt: i.ExpiresAt}
	if !send {
		m.Link = link
	}
	return m
}

type newInvitation struct {
	Email      string   `json:"email" minLength:"1" maxLength:"254" example:"ada@example.com"`
	GivenName  string   `json:"given_name,omitempty" maxLength:"128" doc:"Shown in the form, where the person can change it."`
	FamilyName string   `json:"family_name,omitempty" maxLength:"128" doc:"Shown in the form, where the person can change it."`
	Locale     string   `json:"locale,omitempty" maxLength:"35" doc:"A BCP 47 language tag. The mail is in this language, or in the tenant's." example:"de-CH"`
	Roles      []string `json:"roles,omitempty" maxItems:"50" uniqueItems:"true" doc:"Names of roles to give, each within what you may do yourself." example:"[\"developer\"]"`
	Groups     []id.ID  `json:"groups,omitempty" maxItems:"50" uniqueItems:"true" doc:"Ids of groups that the person joins. You must hold what their roles give."`
	Expires    int64    `json:"expires_in_seconds,omitempty" minimum:"300" maximum:"2592000" doc:"How long the link works. Left out: a week."`
	Send       *bool    `json:"send,omitempty" doc:"Left out or true: the link is mailed. false: you get it in the answer, and pass it on. That needs the action user.create too, because you vouch for the address."`
}

func (b newInvitation) describes() New {
	return New{Email: b.Email, GivenName: b.GivenName, FamilyName: b.FamilyName, Locale: b.Locale, Roles: b.Roles,
		Groups: b.Groups, Lifetime: time.Duration(b.Expires) * time.Second}
}

func sends(send *bool) bool { return send == nil || *send }

type createInput struct{ Body newInvitation }

type listInput struct {
	api.Page
	Status string `query:"status" enum:"pending,accepted,withdrawn,expired" doc:"Only invitations with this status."`
	Email  string `query:"email" maxLength:"254" doc:"Only invitations of this email address, in any case."`
}

type resendInput struct {
	api.ByID
	Body struct {
		Expires int64 `json:"expires_in_seconds,omitempty" minimum:"300" maximum:"2592000" doc:"How long the new link works. Left out: as long as the one before."`
		Send    *bool `json:"send,omitempty" doc:"Left out or true: the link is mailed. false: you get it in the answer."`
	}
}

// Operations returns the management operations on invitations.
func Operations(d Deps) []api.Operation {
	op := api.Tag("Invitations").Op
	created := op("POST", "/invitations", "create-invitation", "invitation.create", "Invite a person",
		"Replaces the invitation that the address has. An address that a user has is refused.")
	created.Status, created.Reads = 201, created.Action
	bulk := op("POST", "/invitations/bulk", "create-invitations", "invitation.create", "Invite many people",
		"Up to 1,000 addresses. Each is invited or not, and the answer says which.")
	bulk.Reads, bulk.AtOnce = bulk.Action, 1
	resent := op("POST", "/invitations/{id}/resend", "resend-invitation", "invitation.resend",
		"Send an invitation again", "With a new link: the one before no longer works. It must be pending or expired.")
	resent.Reads = resent.Action
	shown := func(ctx context.Context, tx *db.Tx, get func(context.Context, *db.Tx, id.ID) (Invitation, error),
		in *api.ByID) (View, error) {
		i, err := get(ctx, tx, in.ID)
		if err != nil {
			return View{}, err
		}
		return view(i, tx.Now()), nil
	}
	return []api.Operation{
		api.Read(op("GET", "/invitations", "list-invitations", "invitation.read", "List invitations",
			"The latest first. One that has ended is deleted 30 days later."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *listInput) (page.List[View], error) {
				p, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				l, err := List(ctx, tx, Filter{Status: Status(in.Status), Email: in.Email}, p)
				return page.Map(l, func(i Invitation) View { return view(i, tx.Now()) }), err
			}),
		api.Read(op("GET", "/invitations/{id}", "get-invitation", "invitation.read", "Get an invitation"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				return shown(ctx, tx, Get, in)
			}),
		api.Write(created, func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput) (MadeInvitation,
			error) {
			desk, err := d.desk(ctx, req, sends(in.Body.Send))
			if err != nil {
				return MadeInvitation{}, err
			}
			i, link, err := desk.invite(ctx, tx, in.Body.describes())
			return made(i, link, sends(in.Body.Send), tx.Now()), err
		}),
		api.Call(bulk, d.bulk),
		api.Write(resent, func(ctx context.Context, tx *db.Tx, req api.Request, in *resendInput) (MadeInvitation,
			error) {
			desk, err := d.desk(ctx, req, sends(in.Body.Send))
			if err != nil {
				return MadeInvitation{}, err
			}
			i, link, err := desk.resend(ctx, tx, in.ID, time.Duration(in.Body.Expires)*time.Second)
			return made(i, link, sends(in.Body.Send), tx.Now()), err
		}),
		api.Change(op("DELETE", "/invitations/{id}", "withdraw-invitation", "invitation.withdraw",
			"Withdraw an invitation", "Its link no longer works."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
				return shown(ctx, tx, hold, in)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *api.ByID) (api.None, error) {
				return api.None{}, newDesk(req.Rights, Site{}, nil).end(ctx, tx, in.ID)
			}),
	}
}

// desk returns the desk of a caller. Without a mail the caller gets the link, and so vouches for
// the address.
func (d Deps) desk(ctx context.Context, req api.Request, send bool) (*desk, error) {
	if !send {
		if err := req.Require("user.create"); err != nil {
			return nil, err
		}
	}
	t, err := d.Tenants.ByID(ctx, req.Caller.Tenant)
	if err != nil {
		return nil, err
	}
	mail := d.Mail
	if !send {
		mail = nil
	}
	return newDesk(req.Rights, Site{Tenant: t, Base: web.SiteIn(ctx).Base}, mail), nil
}
