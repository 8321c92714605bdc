package resourceserver

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/role"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/page"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

type createInput struct {
	Body api.Changes[createBody]
}

type createBody struct {
	Identifier string `json:"identifier" limit:"255" doc:"An absolute URI without a fragment, unique in the tenant (RFC 8707). Usually the API's address. It never changes." example:"https://invoices.example.com"`
	Profile
}

type patchInput struct {
	api.ByID
	Body api.Changes[patchBody]
}

type patchBody struct{ Profile }

// Deps are what the operations on APIs need of other packages.
type Deps struct {
	// Ours reports whether Gatehouse itself answers at a URI.
	Ours func(ctx context.Context, uri string) (bool, error)
	// Publish creates the keys of an algorithm that are missing.
	Publish func(ctx context.Context, tx *db.Tx, alg string) error
}

const ofServers = "To add or to remove a server changes how that application works. So it needs the action " +
	"application.update and what a change of that application needs."

// Operations returns the management operations on APIs.
func Operations(deps Deps) []api.Operation {
	op := api.Tag("APIs").Op
	created := op("POST", "/apis", "create-api", "api.create", "Register an API",
		"An API is a service that accepts access tokens of the tenant. Applications get tokens for it by naming its",
		"identifier as resource. The management and decision APIs are built in.", ofServers)
	created.Status = 201
	listed := op("GET", "/apis", "list-apis", "api.read", "List APIs",
		"The built-in ones come first: a caller sees them who may see every API. The others are those that you may",
		"see, in the order of their creation.")
	listed.Filtered = true
	return []api.Operation{
		api.Read(listed, func(ctx context.Context, tx *db.Tx, req api.Request, in *api.Page) (page.List[API], error) {
			p, err := in.Request()
			if err != nil {
				return page.List[API]{}, err
			}
			l, err := List(ctx, tx, req.Filter, p)
			return withBuiltIn(l, req.Filter, p, web.SiteIn(ctx).Base), err
		}),
		api.Read(op("GET", "/apis/{id}", "get-api", "api.read", "Get an API"),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (API, error) {
				if a := builtInWith(in.ID, web.SiteIn(ctx).Base); a != nil {
					return *a, nil
				}
				return Get(ctx, tx, in.ID)
			}),
		api.WriteAfter(created,
			func(ctx context.Context, _ api.Request, in *createInput) (bool, error) {
				return deps.Ours(ctx, in.Body.Value().Identifier)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput, ours bool) (API, error) {
				n := in.Body.Value()
				if ours {
					return API{}, fault.InvalidField("api.invalid", "identifier", "Gatehouse itself answers at this "+
						"address, and the APIs there are built in. Use the address of your own service.")
				}
				a, err := Create(ctx, tx, role.Of(req.Rights), n.Identifier, n.Profile)
				if err == nil {
					err = deps.Publish(ctx, tx, a.SigningAlg)
				}
				return a, err
			}),
		api.Change(op("PATCH", "/apis/{id}", "update-api", "api.update", "Update an API",
			"Tokens that were issued before stay as they are.", ofServers),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *patchInput) (API, error) {
				return hold(ctx, tx, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, req api.Request, in *patchInput) (API, error) {
				if in.Body.Len() == 0 {
					return API{}, fault.New(fault.Invalid, "api.invalid",
						"The request changes nothing. Give at least one field.")
				}
				a, err := Update(ctx, tx, role.Of(req.Rights), in.ID, func(p *Profile) {
					now := patchBody{*p}
					in.Body.Apply(&now)
					*p = now.Profile
				})
				if err == nil {
					err = deps.Publish(ctx, tx, a.SigningAlg)
				}
				return a, err
			}),
		api.Change(op("DELETE", "/apis/{id}", "delete-api", "api.delete", "Delete an API",
			"Nothing new is issued for it. JWTs that were issued before are good until they expire."),
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (API, error) {
				return hold(ctx, tx, in.ID)
			},
			func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (api.None, error) {
				return api.None{}, Delete(ctx, tx, in.ID)
			}),
	}
}
