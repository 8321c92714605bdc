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
//	func Operations() []api.Operation {
//		get := api.Op{Method: "GET", Path: "/users/{id}", ID: "get-user", Action: "user.read",
//			Tag: "Users", Summary: "Get a user"}
//		add := api.Op{Method: "POST", Path: "/users", ID: "create-user", Action: "user.create",
//			Tag: "Users", Summary: "Create a user", Status: 201}
//		return []api.Operation{api.Read(get, show), api.Write(add, create)}
//	}
//
//	func show(ctx context.Context, tx *db.Tx, _ api.Request, in *api.ByID) (View, error) {
//		…
//	}
//
//	func create(ctx context.Context, tx *db.Tx, _ api.Request, in *createInput) (View, error) {
//		…
//	}
//
// It decides what all operations have in common: preconditions (Change), Idempotency-Key, null, and
// what the answer of a change shows (the tag always). Its table is idempotency_keys.
//
// A field of a body without omitempty in its json tag is required. In a patch every field has
// omitempty. It is a pointer, and nil means unchanged, or it is a number, and 0 means unchanged.
// The bodies of users and groups, and the settings of a tenant, are a Changes[T] instead. It knows
// which members were given, and requires none. An undeclared field or query parameter is refused by
// name. So is a member that comes twice.
package api
