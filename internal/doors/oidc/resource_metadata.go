package oidc

import (
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/claim"
	"github.com/gatehouse-iam/gatehouse/internal/iam/resourceserver"
	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// registeredPath begins the path of the metadata of a registered API, before its id. The service
// has an address of its own, so it names this one in its challenges (RFC 9728 §5.1).
const registeredPath = "/apis/"

// resourceMetadata describes a protected resource to clients (RFC 9728 §2).
type resourceMetadata struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	Scopes        []string `json:"scopes_supported,omitempty"`
	BearerMethods []string `json:"bearer_methods_supported,omitempty"`
	Name          string   `json:"resource_name"`
}

// describeResource answers the metadata of userinfo, of a built-in API, or of a registered one.
func (d *Door) describeResource(w http.ResponseWriter, r *http.Request) error {
	issuer, path := web.SiteOf(r).Base, "/"+r.PathValue("path")
	m := resourceMetadata{Resource: issuer + path, Servers: []string{issuer}}
	if path == userinfoPath {
		m.Name, m.BearerMethods = "Userinfo", []string{"header", "body"}
		m.Scopes = []string{scopeOpenID, claim.ScopeProfile, claim.ScopeEmail, claim.ScopeGroups, claim.ScopeRoles}
		writePublic(w, jsonBody(m))
		return nil
	}
	api := resourceserver.BuiltInAs(resourceserver.Tenant+path, issuer)
	if api != nil {
		m.BearerMethods = []string{"header"}
	} else if text, ok := strings.CutPrefix(path, registeredPath); ok {
		a, err := d.registered(r, text)
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		if err == nil {
			api, m.Resource = a, a.Identifier
		}
	}
	if api == nil { // a client that tries an address is refused nothing that the audit log should have
		writeJSON(w, http.StatusNotFound, jsonBody(errorBody{codeInvalidRequest,
			"There is no protected resource at this address.", web.RequestIDOf(r.Context())}))
		return nil
	}
	m.Name = api.Name
	for _, s := range api.Scopes {
		m.Scopes = append(m.Scopes, s.Name)
	}
	writePublic(w, jsonBody(m))
	return nil
}

// registered returns the API with the id in a path, or resourceserver.ErrNotFound.
func (d *Door) registered(r *http.Request, text string) (*resourceserver.API, error) {
	api, err := id.Parse(text)
	if err != nil {
		return nil, resourceserver.ErrNotFound
	}
	return d.APIs.ByID(r.Context(), web.CallerOf(r), api)
}
