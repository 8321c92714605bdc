package tenant

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/audit"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/job"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
)

// SettingsView is a tenant's settings as the API shows them.
type SettingsView Settings

// TenantLimits is a tenant's limits as the API shows them.
type TenantLimits Limits

// View is a tenant as the API shows it.
type View struct {
	ID        id.ID        `json:"id" always:"true" format:"uuid"`
	Slug      string       `json:"slug" always:"true" doc:"Part of the issuer. Never changes."`
	Name      string       `json:"name"`
	Status    string       `json:"status" always:"true" enum:"active,suspended,deleting"`
	Issuer    string       `json:"issuer" always:"true" doc:"The tenant's base on the public host. Each of its domains is a further base, with an issuer of its own."`
	Domains   []string     `json:"domains"`
	Settings  SettingsView `json:"settings"`
	Limits    TenantLimits `json:"limits"`
	CreatedAt time.Time    `json:"created_at" always:"true"`
	UpdatedAt time.Time    `json:"updated_at" always:"true"`
}

type listInput struct {
	api.Page
	Status string `query:"status" enum:"active,suspended,deleting" doc:"Only tenants with this status."`
	Search string `query:"search" maxLength:"128" doc:"Only tenants whose name, slug or domain contains this, in any case."`
	Sort   string `query:"sort" enum:"created_at,-created_at,name,-name,slug,-slug" doc:"The order, with a hyphen to reverse it. Left out: created_at."`
}

type patchInput struct {
	api.ByID
	Body struct {
		Name     *string                `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Status   *string                `json:"status,omitempty" enum:"active,suspended" doc:"suspended: at once no user can sign in and no token counts. Needs the action tenant.suspend."`
		SignOut  bool                   `json:"sign_out,omitempty" doc:"With status suspended: also ends all sessions and all that applications hold. Otherwise people are still signed in once the tenant is resumed."`
		Domains  *[]string              `json:"domains,omitempty" maxItems:"20" doc:"All of the tenant's own domains. The tenant loses a domain that is not listed." example:"[\"login.acme.com\"]"`
		Settings *api.Changes[Settings] `json:"settings,omitempty"`
		Limits   *api.Changes[Limits]   `json:"limits,omitempty" doc:"A limit that is not given stays as it is."`
	}
}

type settingsInput struct {
	Body api.Changes[Settings]
}

// Deps are what the operations need besides a transaction.
type Deps struct {
	Directory *Directory
	Queue     *job.Queue
	// InviteOwner invites a person into t as its owner. tx is bound to t.
	InviteOwner func(ctx context.Context, tx *db.Tx, t Tenant, owner Owner) (OwnerInvited, error)
}

func (d Deps) view(t Tenant) View {
	return View{ID: t.ID, Slug: t.Slug, Name: t.Name, Status: string(t.Status), Issuer: d.Directory.Issuer(t.Slug),
		Domains: t.Domains, Settings: SettingsView(t.Settings),
		Limits: TenantLimits(t.Limits), CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt}
}

// held shows the tenant that tx is bound to, and locks it.
func (d Deps) held(ctx context.Context, tx *db.Tx, _ api.Request, _ *api.ByID) (View, error) {
	t, err := hold(ctx, tx)
	return d.view(t), err
}

// Operations returns the management operations on tenants, which only the platform has, and on a
// tenant's own settings.
func Operations(d Deps) []api.Operation {
	op := func(method, path, name, action, summary string) api.Op {
		o := api.Tag("Tenants").Op(method, path, name, action, summary)
		o.Platform = true
		return o
	}
	created := op("POST", "/tenants", "create-tenant", "tenant.create", "Create a tenant")
	created.Status = 201
	deleted := op("DELETE", "/tenants/{id}", "delete-tenant", "tenant.delete", "Delete a tenant")
	deleted.Status, deleted.Versioned = 202, true
	updated := op("PATCH", "/tenants/{id}", "update-tenant", "tenant.update", "Update, suspend or resume a tenant")
	updated.Versioned = true
	deleted.Description = "The tenant is not found from now on. Its rows are erased in batches, and the platform's " +
		"audit log says when that is complete. This cannot be undone. No other tenant ever gets its slug or " +
		"the domains that it has: an issuer is never reassigned."
	own := api.Tag("Settings").Op
	return []api.Operation{
		api.Call(op("GET", "/tenants", "list-tenants", "tenant.read", "List tenants"),
			func(ctx context.Context, database *db.DB, req api.Request, in *listInput) (page.List[View], error) {
				r, err := in.Request()
				if err != nil {
					return page.List[View]{}, err
				}
				return db.SystemRead(ctx, database, req.Caller, "the platform lists tenants",
					func(st *db.SystemTx) (page.List[View], error) {
						tenants, err := List(ctx, st,
							Filter{Status: Status(in.Status), Search: in.Search, Sort: Sort(in.Sort)}, r)
						return page.Map(tenants, d.view), err
					})
			}),
		api.Call(op("GET", "/tenants/{id}", "get-tenant", "tenant.read", "Get a tenant"),
			func(ctx context.Context, database *db.DB, req api.Request, in *api.ByID) (View, error) {
				return db.SystemRead(ctx, database, req.Caller, "the platform reads a tenant",
					func(st *db.SystemTx) (View, error) {
						t, err := Get(ctx, st.For(in.ID))
						return d.view(t), err
					})
			}),
		api.Call(created, d.create),
		api.Call(updated, d.patch),
		api.Call(deleted, func(ctx context.Context, database *db.DB, req api.Request, in *api.ByID) (View, error) {
			return db.SystemWrite(ctx, database, req.Caller, "the platform deletes a tenant",
				func(st *db.SystemTx) (View, error) {
					if err := api.CheckShown(ctx, st.For(in.ID), req, in, d.held); err != nil {
						return View{}, err
					}
					t, err := Delete(ctx, st, d.Queue, req.Caller.Tenant, in.ID)
					return d.view(t), err
				})
		}),
		api.Read(own("GET", "/settings", "get-settings", "settings.read", "Get the tenant's settings"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *struct{}) (SettingsView, error) {
				t, err := Get(ctx, tx)
				return SettingsView(t.Settings), err
			}),
		api.Change(own("PATCH", "/settings", "update-settings", "settings.update", "Update the tenant's settings"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, _ *settingsInput) (SettingsView, error) {
				t, err := hold(ctx, tx)
				return SettingsView(t.Settings), err
			},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *settingsInput) (SettingsView, error) {
				t, err := Update(ctx, tx, Patch{Settings: in.Body.Apply})
				return SettingsView(t.Settings), err
			}),
	}
}

func (d Deps) patch(ctx context.Context, database *db.DB, req api.Request, in *patchInput) (View, error) {
	b := &in.Body
	if b.SignOut && (b.Status == nil || Status(*b.Status) != Suspended) {
		return View{}, fault.InvalidField("tenant.invalid", "sign_out",
			"Only a tenant that is suspended is signed out: send the status suspended too.")
	}
	if b.Status != nil {
		if err := req.Require("tenant.suspend"); err != nil {
			return View{}, err
		}
	}
	return db.SystemWrite(ctx, database, req.Caller, "the platform changes a tenant",
		func(st *db.SystemTx) (View, error) {
			tx, at := st.For(in.ID), st.For(req.Caller.Tenant)
			if err := api.CheckShown(ctx, tx, req, &in.ByID, d.held); err != nil {
				return View{}, err
			}
			t, err := Get(ctx, tx)
			if err == nil && (b.Name != nil || b.Domains != nil || b.Settings != nil || b.Limits != nil) {
				p := Patch{Name: b.Name, Domains: b.Domains}
				if b.Settings != nil {
					p.Settings = b.Settings.Apply
				}
				if b.Limits != nil {
					p.Limits = b.Limits.Apply
				}
				before := t.fields()
				t, err = Update(ctx, tx, p)
				changed := audit.Changed(before, t.fields())
				if err == nil && in.ID != req.Caller.Tenant && len(changed) > 0 {
					audit.Write(at, audit.Event{Action: "tenant.update", Target: t.target(), Changed: changed})
				}
			}
			if err == nil && b.Status != nil {
				before := t.Status
				if t, err = SetStatus(ctx, tx, Status(*b.Status)); err == nil && t.Status != before {
					audit.Write(at, audit.Event{Action: statusAction[t.Status], Target: t.target(),
						Detail:  map[string]any{"sign_out": b.SignOut},
						Changed: audit.Changes{}.With("status", before, t.Status)})
				}
				if err == nil && b.SignOut {
					err = SignOut(ctx, tx)
				}
			}
			return d.view(t), err
		})
}
