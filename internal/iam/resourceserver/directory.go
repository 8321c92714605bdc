package resourceserver

import (
	"context"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/cache"
	"github.com/gatehouse-iam/gatehouse/internal/kit/caller"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

// copiesOfAPIs bounds a replica's copies. An API has up to some 40 KB, and usually 1 KB.
const copiesOfAPIs = 10_000

// Directory caches the APIs of all tenants on a replica. It is safe for concurrent use. Pass Drop
// to tenant.Directory.Watch. Otherwise the replica never learns of a change on another one.
type Directory struct {
	db    *db.DB
	apis  *cache.Cache[string, *API] // by identifier
	exist *cache.Cache[struct{}, bool]
	byID  *cache.Cache[id.ID, *API]
}

// NewDirectory returns the directory of the APIs of d.
func NewDirectory(d *db.DB) *Directory {
	dir := &Directory{db: d, apis: cache.New[string](cache.Options[*API]{Max: copiesOfAPIs}),
		exist: cache.New[struct{}](cache.Options[bool]{Max: copiesOfAPIs}),
		byID:  cache.New[id.ID](cache.Options[*API]{Max: copiesOfAPIs})}
	d.Watch(dir.Drop)
	return dir
}

// Drop forgets the APIs of a tenant, or for the zero id those of all tenants.
func (d *Directory) Drop(tenant id.ID) {
	d.apis.Drop(tenant)
	d.exist.Drop(tenant)
	d.byID.Drop(tenant)
}

// ByIdentifier returns an API of the caller's tenant by either spelling of its identifier, or
// ErrNotFound.
func (d *Directory) ByIdentifier(ctx context.Context, c caller.Caller, identifier string) (*API, error) {
	if !ValidIdentifier(identifier) {
		return nil, ErrNotFound
	}
	if a, ok := d.apis.Lookup(c.Tenant, identifier); ok {
		return a, nil
	}
	identifier = strings.Clone(identifier) // the cache keeps it, and must not keep the request with it
	return d.apis.Get(ctx, c.Tenant, identifier, func(ctx context.Context) (*API, error) {
		a, err := db.Read(ctx, d.db, c, func(tx *db.Tx) (API, error) { return ByIdentifier(ctx, tx, identifier) })
		return &a, err
	})
}

// ByID returns an API of the caller's tenant that is not built in, or ErrNotFound.
func (d *Directory) ByID(ctx context.Context, c caller.Caller, api id.ID) (*API, error) {
	return d.byID.Get(ctx, c.Tenant, api, func(ctx context.Context) (*API, error) {
		a, err := db.Read(ctx, d.db, c, func(tx *db.Tx) (API, error) { return Get(ctx, tx, api) })
		return &a, err
	})
}

// Within is ByIdentifier in a transaction of the caller's tenant. It opens none of its own.
func (d *Directory) Within(ctx context.Context, tx *db.Tx, identifier string) (*API, error) {
	if a, ok := d.apis.Lookup(tx.Tenant(), identifier); ok {
		return a, nil
	}
	a, err := ByIdentifier(ctx, tx, identifier)
	return &a, err
}

// Exist reports whether the caller's tenant has registered APIs.
func (d *Directory) Exist(ctx context.Context, c caller.Caller) (bool, error) {
	return d.exist.Get(ctx, c.Tenant, struct{}{}, func(ctx context.Context) (bool, error) {
		return db.Read(ctx, d.db, c, func(tx *db.Tx) (bool, error) { return Exist(ctx, tx) })
	})
}
