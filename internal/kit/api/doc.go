// Package api lets a feature declare its management operations: method, path, the action that
// guards it, and a function. The function gets a transaction, the Request and a validated input.
// The admin door mounts them.
//
// It owns decoding, validation against the schema of the Go types, the problem documents (RFC 9457)
// and the OpenAPI 3.1 description. All of them come from the same declaration. It wraps
// danielgtaylor/huma so that no feature imports it. The struct tags are huma's (path, query, json,
// doc, minLength, enum …).
//
// It never decides who may do what: that is the door's Gate.
//
// A feature's api.go:
//
//	type createInput struct {
//		Body struct {
//			Email string `json:"email" maxLength:"254" doc:"Unique in the tenant."`
//		}
//	}
//
// func Operations() []api.Operation { get := api.Op{Method: "GET", Path: "/users/{id}", ID:
// "get-user", Action: "user.read"} create := api.Op{Method: "POST", Path: "/users", ID:
// "create-user", Action: "user.create"} return []api.Operation{ api.Read(get, func(ctx
// context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) { … }), api.Write(create,
// func(ctx context.Context, tx *db.Tx, req api.Request, in *createInput) (View, error) { … }), } }
//
// A field without omitempty in its json tag is required. In a patch every field is a pointer with
// omitempty: nil means unchanged. An undeclared field or query parameter is refused by name.
package api
