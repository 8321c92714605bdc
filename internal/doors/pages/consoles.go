package pages

import (
	"net/http"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/iam/tenant"
	"github.com/gatehouse-iam/gatehouse/internal/kit/typed"
	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// consolesPath is on the public host, outside of any tenant.
const consolesPath = "/console/"

// RegisterRoot adds the pages of the public host outside of any tenant.
func (d *Door) RegisterRoot(routes *web.Routes) {
	mux := routes.Group(web.Page, nil)
	mux.HandleFunc("GET /console", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, consolesPath, http.StatusSeeOther)
	})
	mux.HandleFunc("GET "+consolesPath+"{$}", d.showConsoles)
}

// showConsoles asks for the tenant whose admin console the person looks for. It does not say
// whether there is such a tenant: it redirects to every name that one could have.
func (d *Door) showConsoles(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r, site: web.Site{Name: "Gatehouse"}, caller: web.CallerOf(r)}
	v.choose(d, nil)
	v.look.Here, v.look.Alone = nil, true // no tenant's address has its style sheet
	given := r.URL.Query().Get("tenant")
	slug := strings.ToLower(typed.Text(given))
	if tenant.ValidSlug(slug) {
		http.Redirect(w, r, "/t/"+slug+consolesPath, http.StatusSeeOther)
		return
	}
	p := &consolesPage{frame: frame{Title: say("consoles.title")}, Action: consolesPath,
		Platform: "/t/" + tenant.PlatformSlug + consolesPath, Tenant: tenantField(given)}
	status := http.StatusOK
	var problems []problem
	if r.URL.Query().Has("tenant") {
		status, problems = refused, []problem{{"tenant", say("consoles.wrong")}}
	}
	tell(&p.frame, problems, &p.Tenant)
	if err := d.render(v, status, p); err != nil {
		web.NoteError(r.Context(), err)
	}
}

// maxTenant is how many characters of a tenant's name in addresses a form takes.
const maxTenant = 63

func tenantField(value string) field {
	if len(value) > maxTenant {
		value = ""
	}
	hint := say("consoles.hint")
	return field{Name: "tenant", Label: say("consoles.tenant"), Hint: &hint, Type: "text", Value: value,
		Autocomplete: "organization", MaxLength: maxTenant, Plain: true}
}
