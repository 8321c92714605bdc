package claim

import (
	"context"

	"github.com/gatehouse-iam/gatehouse/internal/iam/application"
	"github.com/gatehouse-iam/gatehouse/internal/iam/subject"
	"github.com/gatehouse-iam/gatehouse/internal/iam/user"
	"github.com/gatehouse-iam/gatehouse/internal/kit/api"
	"github.com/gatehouse-iam/gatehouse/internal/kit/db"
	"github.com/gatehouse-iam/gatehouse/internal/kit/id"
)

type previewInput struct {
	api.ByID
	Body struct {
		UserID   id.ID                  `json:"user_id" format:"uuid" doc:"The person whose claims to return."`
		Scopes   *[]string              `json:"scopes,omitempty" maxItems:"100" doc:"Of the token. Default: all that the application may request."`
		Mappings *[]application.Mapping `json:"mappings,omitempty" maxItems:"32" doc:"Instead of those of the application, to try them before they are saved."`
	}
}

// MappingPreview has the claims about a person that an application would get.
type MappingPreview struct {
	Sub         string          `json:"sub" doc:"The user's id that the application gets: another one for each sector if it is pairwise."`
	IDToken     map[string]any  `json:"id_token" doc:"The claims about the person in the ID token."`
	Userinfo    map[string]any  `json:"userinfo" doc:"The claims about the person at userinfo."`
	AccessToken map[string]any  `json:"access_token" doc:"The claims about the person in an access token and its introspection."`
	Mappings    []MappingResult `json:"mappings"`
}

// MappingResult is what became of one mapping.
type MappingResult struct {
	Claim string `json:"claim"`
	Value any    `json:"value" doc:"Its value, null if there is none."`
	Error string `json:"error,omitempty" doc:"Why there is no value. The claim would be missing."`
	Cost  uint64 `json:"cost" doc:"What the evaluation cost, in the units of CEL. One expression may cost 50,000, and all of an application 200,000."`
}

// Operations are the management operations on claims.
func Operations(subjects *subject.Keys) []api.Operation {
	return []api.Operation{
		api.Call(api.Op{Method: "POST", Path: "/applications/{id}/mappings/preview", ID: "preview-mappings",
			Action: "application.read", Tag: "Applications", Summary: "Preview the claims of a user",
			Description: "Returns the claims about a user that the application would get, with its mappings or with " +
				"others. Nothing is changed. Needs user.read, group.read and role.read too."},
			func(ctx context.Context, d *db.DB, req api.Request, in *previewInput) (MappingPreview, error) {
				var app *application.Application
				about, err := db.Read(ctx, d, req.Caller, func(tx *db.Tx) (*About, error) {
					a, err := application.Get(ctx, tx, in.ID)
					if err != nil {
						return nil, err
					}
					for _, action := range []string{"user.read", "group.read", "role.read"} {
						if err := req.Require(action); err != nil {
							return nil, err
						}
					}
					app = &a
					if in.Body.Mappings != nil {
						if app, err = a.WithMappings(*in.Body.Mappings); err != nil {
							return nil, err
						}
					}
					if _, err := user.Get(ctx, tx, in.Body.UserID); err != nil {
						return nil, err
					}
					scopes := app.Scopes
					if in.Body.Scopes != nil {
						scopes = *in.Body.Scopes
					}
					return Read(tx, Ask{Application: app, User: in.Body.UserID, Scopes: scopes}, IDToken, Userinfo,
						AccessToken), nil
				})
				if err == nil {
					err = Compile(app.Mappings)
				}
				if err != nil {
					return MappingPreview{}, err
				}
				key, err := subjects.For(ctx, req.Caller, app)
				if err != nil {
					return MappingPreview{}, err
				}
				p := about.preview()
				p.Sub = key.Of(in.Body.UserID)
				return p, nil
			}),
	}
}

// preview evaluates the mappings without the cache, which is for those that are saved.
func (a *About) preview() MappingPreview {
	a.compile = language.Compile
	const userinfo = "/oauth2/userinfo" // the end of its address: a preview has no issuer
	p := MappingPreview{IDToken: a.Claims(IDToken, userinfo), Userinfo: a.Claims(Userinfo, userinfo),
		AccessToken: a.Claims(AccessToken, userinfo), Mappings: []MappingResult{}}
	for _, m := range a.Mapped() {
		shown := MappingResult{Claim: m.Claim, Value: m.Value, Cost: m.Cost}
		if m.Err != nil {
			shown.Error = reason(m.Err)
		}
		p.Mappings = append(p.Mappings, shown)
	}
	return p
}
