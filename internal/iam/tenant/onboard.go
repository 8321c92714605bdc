package tenant

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// Owner is the person who is invited as the owner of a new tenant.
type Owner struct {
	Email      string `json:"email" minLength:"1" maxLength:"254" example:"ada@acme.com"`
	GivenName  string `json:"given_name,omitempty" maxLength:"128"`
	FamilyName string `json:"family_name,omitempty" maxLength:"128"`
	Locale     string `json:"locale,omitempty" maxLength:"35" doc:"A BCP 47 language tag. The mail is in this language, or in the tenant's." example:"de-CH"`
	Expires    int64  `json:"expires_in_seconds,omitempty" minimum:"300" maximum:"2592000" doc:"How long the link works. Left out: a week."`
	Send       *bool  `json:"send,omitempty" doc:"Left out or true: the link is mailed. false: you get it in the answer, and pass it on."`
}

// OwnerInvited is the invitation of a new tenant's owner.
type OwnerInvited struct {
	ID        id.ID     `json:"id" format:"uuid" doc:"The invitation's id, in the new tenant."`
	Status    string    `json:"status" enum:"pending"`
	ExpiresAt time.Time `json:"expires_at"`
	Link      string    `json:"link,omitempty" doc:"Only with send false, and only in this answer. It works once."`
}

// CreatedView is a new tenant as the API shows it.
type CreatedView struct {
	View
	Owner *OwnerInvited `json:"owner,omitempty" always:"true" doc:"The invitation of the owner, if the request named one."`
}

type createInput struct {
	Body struct {
		Slug     string                 `json:"slug" minLength:"1" maxLength:"63" doc:"Lower-case letters, digits and inner hyphens. It becomes part of the issuer and never changes." example:"acme"`
		Name     string                 `json:"name" minLength:"1" maxLength:"100" doc:"Shown to people who sign in." example:"Acme"`
		Settings *api.Changes[Settings] `json:"settings,omitempty" doc:"Settings that differ from the defaults."`
		Limits   *api.Changes[Limits]   `json:"limits,omitempty" doc:"What the tenant may have. None, if absent."`
		Domains  []string               `json:"domains,omitempty" maxItems:"20" doc:"The tenant's own domains." example:"[\"login.acme.com\"]"`
		Owner    *Owner                 `json:"owner,omitempty" doc:"A person to invite as the tenant's owner. Without one, operators of the platform add the first user."`
	}
}

// create adds a tenant and invites its owner, in one transaction: a wrong field creates nothing.
func (d Deps) create(ctx context.Context, database *db.DB, req api.Request, in *createInput) (CreatedView, error) {
	n := New{Slug: in.Body.Slug, Name: in.Body.Name, Domains: in.Body.Domains}
	if in.Body.Settings != nil {
		s := DefaultSettings()
		in.Body.Settings.Apply(&s)
		n.Settings = &s
	}
	if in.Body.Limits != nil {
		n.Limits = in.Body.Limits.Value()
	}
	return db.SystemWrite(ctx, database, req.Caller, "the platform adds a tenant",
		func(st *db.SystemTx) (CreatedView, error) {
			t, err := Create(ctx, st, n)
			if err != nil {
				return CreatedView{}, err
			}
			v := CreatedView{View: d.view(t)}
			changed := audit.Changed(nil, t.fields())
			if in.Body.Owner != nil {
				made, err := d.InviteOwner(ctx, st.For(t.ID), t, *in.Body.Owner)
				if err != nil {
					return CreatedView{}, err
				}
				v.Owner = &made
				changed = changed.With("owner", nil, in.Body.Owner.Email)
			}
			at := st.For(req.Caller.Tenant)
			audit.Write(at, audit.Event{Action: "tenant.create", Target: t.target(), Changed: changed})
			return v, req.Keep(ctx, at, v)
		})
}
