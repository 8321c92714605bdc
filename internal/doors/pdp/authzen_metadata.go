package pdp

import (
	"encoding/json"
	"net/http"

	authzenv1 "github.com/cerbos/cerbos/api/genpb/authzen/authorization/v1"

	"github.com/gatehouse-iam/gatehouse/internal/kit/web"
)

// Paths of AuthZEN 1.0 (§10.1) below a tenant's base.
const (
	evaluationPath     = "/access/v1/evaluation"
	evaluationsPath    = "/access/v1/evaluations"
	searchSubjectPath  = "/access/v1/search/subject"
	searchResourcePath = "/access/v1/search/resource"
	searchActionPath   = "/access/v1/search/action"
)

// metadata answers the description of the decision point (§9). It names only the endpoints that
// have answers.
func (d *Door) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	base := web.SiteOf(r).Base
	doc := struct {
		*authzenv1.MetadataResponse        // its JSON names are the specification's
		SearchSubject               string `json:"search_subject_endpoint"`
		SearchAction                string `json:"search_action_endpoint"`
	}{metadataOf(base), base + searchSubjectPath, base + searchActionPath}
	body, err := json.Marshal(doc)
	if err != nil {
		refuse(w, r, err)
		return
	}
	d.answer(w, r, body)
}

// metadataOf describes what gRPC serves: everything but the searches.
func metadataOf(base string) *authzenv1.MetadataResponse {
	return &authzenv1.MetadataResponse{
		PolicyDecisionPoint: base, AccessEvaluationEndpoint: base + evaluationPath,
		AccessEvaluationsEndpoint: base + evaluationsPath,
	}
}
