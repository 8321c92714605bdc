package application

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// directorySize is how many applications a replica keeps copies of.
const directorySize = 50_000

// Directory is a replica's copy of applications. It is safe for concurrent use and
// bounded; the database stays the only truth.
type Directory struct {
	db   *db.DB
	apps *cache.Cache[*Application]
}

// NewDirectory returns the directory of the applications of all tenants. Its Drop
// is to be called with each tenant whose configuration changed.
func NewDirectory(d *db.DB) *Directory {
	return &Directory{db: d, apps: cache.New[*Application](directorySize)}
}

// Drop forgets the copies of a tenant's applications, of all tenants' for the zero id.
func (d *Directory) Drop(tenant id.ID) {
	if tenant.IsZero() {
		d.apps.DropAll()
		return
	}
	d.apps.Drop(tenant)
}

// ByClientID returns the application of the caller's tenant, whatever its status,
// or ErrNotFound. What is returned is shared and must not be changed.
func (d *Directory) ByClientID(ctx context.Context, c caller.Caller, clientID string) (*Application, error) {
	if !clientIDRE.MatchString(clientID) {
		return nil, ErrNotFound
	}
	return d.get(ctx, c, "client "+clientID, func(ctx context.Context, tx *db.Tx) (Application, error) {
		return ByClientID(ctx, tx, clientID)
	})
}

// ByID is ByClientID for the application's id.
func (d *Directory) ByID(ctx context.Context, c caller.Caller, application id.ID) (*Application, error) {
	return d.get(ctx, c, "id "+application.String(), func(ctx context.Context, tx *db.Tx) (Application, error) {
		return Get(ctx, tx, application)
	})
}

func (d *Directory) get(ctx context.Context, c caller.Caller, name string, find func(context.Context, *db.Tx) (Application, error)) (*Application, error) {
	return d.apps.Get(ctx, c.Tenant, name, func(ctx context.Context) (*Application, error) {
		var a Application
		err := d.db.View(ctx, c, func(tx *db.Tx) (err error) {
			a, err = find(ctx, tx)
			return err
		})
		if err != nil {
			return nil, err
		}
		return &a, nil
	})
}
