// Package api is how a feature declares its management operations: method, path,
// the action that guards it, and a function that gets a decoded, validated input and
// an open transaction. The admin door mounts them.
//
// It owns decoding, validation against the schema that the Go types give, the
// problem documents (RFC 9457) and the OpenAPI 3.1 description; all of them come
// from the same declaration. It wraps danielgtaylor/huma so that no feature imports
// it; the struct tags are huma's (path, query, json, doc, minLength, enum …).
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
//	func Operations() []api.Operation {
//		return []api.Operation{
//			api.Read(api.Op{Method: "GET", Path: "/users/{id}", ID: "get-user", Action: "user.read", Tag: "Users", Summary: "Get a user"},
//				func(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) { … }),
//			api.Write(api.Op{Method: "POST", Path: "/users", ID: "create-user", Action: "user.create", Tag: "Users", Summary: "Create a user", Status: 201},
//				func(ctx context.Context, tx *db.Tx, _ api.Request, in *createInput) (View, error) { … }),
//		}
//	}
//
// A field without omitempty in its json tag is required. In a patch every field is a
// pointer with omitempty: nil means unchanged. Fields and query parameters that are
// not declared are refused by name.
package api
