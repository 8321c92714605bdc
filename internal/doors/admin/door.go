package admin

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Prefix is the path of the API below a tenant's base.
var Prefix = resourceserver.Management.Path

const about = `Everything an administrator or a script does to a tenant.

Get an access token with the scope ` + "`gatehouse:manage`" +
	` and send it as a bearer token; for a machine application that is the client credentials grant at the tenant's token endpoint.
Lists are paged by ` + "`limit`" + ` and ` + "`cursor`" +
	` and keep a stable order. Failures are problem documents (RFC 9457) with a stable ` + "`code`" + `.`

// Mount registers the operations of all features and their OpenAPI description.
func Mount(routes *web.Routes, gate *Gate, operations ...[]api.Operation) {
	programs := routes.Group(web.Program, nil)
	programs.Below(Prefix + "/")
	m := api.Mount{Mux: programs, Prefix: Prefix, Title: "Gatehouse management API", About: about, DB: gate.DB,
		Ring: gate.Ring, Gate: gate, Answer: answer}
	describe := m.Operations(append(slices.Concat(operations...), gate.operations()...))
	routes.Group(web.Script, nil).HandleFunc("GET "+Prefix+"/openapi.json",
		func(w http.ResponseWriter, r *http.Request) {
			here := bytes.Replace(describe(), []byte(api.ExampleIssuer), []byte(web.SiteOf(r).Base), 1)
			web.WriteJSON(w, http.StatusOK, here)
		})
}
