package application

import (
	"context"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// directorySize is how many applications a replica caches.
const directorySize = 50_000

// Directory caches the applications of all tenants on a replica. It is safe for concurrent use.
// Pass Drop to tenant.Directory.Watch. Otherwise the replica never learns of a change on another
// one.
type Directory struct {
	db   *db.DB
	apps *cache.Cache[copyKey, *Application]
}

// copyKey is an application's client_id, or its id.
type copyKey struct {
	clientID string
	id       id.ID
}

// NewDirectory returns the directory of the applications of d.
func NewDirectory(d *db.DB) *Directory {
	dir := &Directory{db: d, apps: cache.New[copyKey](cache.Options[*Application]{Max: directorySize})}
	d.Watch(dir.Drop)
	return dir
}

// Drop forgets the applications of a tenant, or for the zero id those of all tenants.
func (d *Directory) Drop(tenant id.ID) { d.apps.Drop(tenant) }

// ByClientID returns an application of the caller's tenant, or ErrNotFound.
func (d *Directory) ByClientID(ctx context.Context, c caller.Caller, clientID string) (*Application, error) {
	if !validClientID(clientID) {
		return nil, ErrNotFound
	}
	return d.get(ctx, c, copyKey{clientID: clientID}, func(ctx context.Context, tx *db.Tx) (Application, error) {
		return ByClientID(ctx, tx, clientID)
	})
}

// ByID returns an application of the caller's tenant, or ErrNotFound. Every tenant has the
// application ConsoleID.
func (d *Directory) ByID(ctx context.Context, c caller.Caller, application id.ID) (*Application, error) {
	switch application {
	case id.ID{}:
		return nil, ErrNotFound
	case ConsoleID:
		return console, nil
	}
	return d.get(ctx, c, copyKey{id: application}, func(ctx context.Context, tx *db.Tx) (Application, error) {
		return Get(ctx, tx, application)
	})
}

func (d *Directory) get(
	ctx context.Context, c caller.Caller, key copyKey, load func(context.Context, *db.Tx) (Application, error),
) (*Application, error) {
	if a, ok := d.apps.Lookup(c.Tenant, key); ok {
		return a, nil
	}
	key.clientID = strings.Clone(key.clientID) // the cache keeps it, and must not keep the request with it
	return d.apps.Get(ctx, c.Tenant, key, func(ctx context.Context) (*Application, error) {
		a, err := db.Read(ctx, d.db, c, func(tx *db.Tx) (Application, error) { return load(ctx, tx) })
		return &a, err
	})
}
