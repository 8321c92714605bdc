package admin

import (
	"net/http"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
)

// Prefix is where the API is below a tenant's base.
const Prefix = "/api/v1"

const about = `Everything an administrator or a script does to a tenant.

Get an access token with the scope ` + "`gatehouse:manage`" + ` and send it as a bearer token; for a machine application that is the client credentials grant at the tenant's token endpoint.
Lists are paged by ` + "`limit`" + ` and ` + "`cursor`" + ` and keep a stable order. Failures are problem documents (RFC 9457) with a stable ` + "`code`" + `.`

// Mount puts the operations of all features on a tenant's mux, with their OpenAPI
// description beside them, and returns that description.
func Mount(mux *http.ServeMux, gate *Gate, operations ...[]api.Operation) []byte {
	m := api.Mount{Mux: mux, Prefix: Prefix, Title: "Gatehouse management API", About: about, DB: gate.DB, Gate: gate, Answer: answer}
	doc := m.Operations(slices.Concat(operations...))
	mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(doc)
	})
	return doc
}
