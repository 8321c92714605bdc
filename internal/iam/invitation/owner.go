package invitation

import (
	"context"
	"time"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// OfOwner returns the function that invites the owner of a new tenant (tenant.Deps). A caller who
// may create tenants may do that.
func OfOwner(directory *tenant.Directory, mail Mail) func(ctx context.Context, tx *db.Tx, t tenant.Tenant,
	owner tenant.Owner) (tenant.OwnerInvited, error) {
	return func(ctx context.Context, tx *db.Tx, t tenant.Tenant, owner tenant.Owner) (tenant.OwnerInvited, error) {
		by, site := mail, Site{Tenant: &t, Base: directory.Issuer(t.Slug)}
		if !sends(owner.Send) {
			by = nil
		}
		i, link, err := Invite(ctx, tx, role.Everything(), site, by, New{Email: owner.Email,
			GivenName: owner.GivenName, FamilyName: owner.FamilyName, Locale: owner.Locale, Roles: []string{role.Owner},
			Lifetime: time.Duration(owner.Expires) * time.Second})
		if err != nil {
			return tenant.OwnerInvited{}, below("owner.", err)
		}
		is := made(i, link, sends(owner.Send), tx.Now())
		return tenant.OwnerInvited{ID: is.ID, Status: string(is.Status), ExpiresAt: is.ExpiresAt,
			Link: is.Link}, nil
	}
}

// below puts prefix before the names of a fault's fields.
func below(prefix string, err error) error {
	if fault.Of(err) != fault.Invalid {
		return err
	}
	f := *fault.As(err)
	f.Fields = append([]fault.Field{}, f.Fields...)
	for n := range f.Fields {
		f.Fields[n].Name = prefix + f.Fields[n].Name
	}
	return &f
}
